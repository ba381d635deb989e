"""A database that began on plain PostgreSQL and whose server has got TimescaleDB since."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db.backends.base.base import BaseDatabaseWrapper

from kalshimm.db import base, plan
from markets.models import BookDelta, Trade
from tests.integration.db.conftest import TIMESCALE, TimescaleServer

pytestmark = pytest.mark.long

BEGIN = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOT_OFFERED = "SELECT 1 WHERE false"


def history() -> tuple[list[BookDelta], list[Trade]]:
    times = [BEGIN + timedelta(hours=hour) for hour in range(60)]
    deltas = [
        BookDelta(time=time, market=1, conn=1, seq=seq, side=0, time_source=0, price_cc=4_200, delta_cx=seq)
        for seq, time in enumerate(times)
    ]
    trades = [
        Trade(time=time, market=1, trade_id=f"t{n}", time_source=0, yes_price_cc=n + 1, count_cx=5, taker_side=0,
              is_block=False)
        for n, time in enumerate(times)
    ]  # fmt: skip
    return deltas, trades


def test_tables_become_hypertables_with_their_rows_and_views_the_same_figures(
    timescale_database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TimescaleServer(timescale_database)
    deltas, trades = history()
    with monkeypatch.context() as patch:
        patch.setattr(base, "AVAILABLE", NOT_OFFERED)
        call_command("migrate", database=TIMESCALE, verbosity=0)
        assert server.storage().server == "plain PostgreSQL"
        BookDelta.objects.using(TIMESCALE).bulk_create(deltas)
        Trade.objects.using(TIMESCALE).bulk_create(trades)
        before = server.rows("SELECT * FROM markets_candle_1m ORDER BY time")
    report = server.storage()
    assert report.server.startswith("TimescaleDB")
    changes = {table.name: table.changes for table in report.tables}
    assert changes["markets_book_delta"][0] == "made a hypertable of 1 day"
    assert changes["markets_candle_1m"][0] == "made a continuous aggregate by 1 minute"
    hypertables = server.rows("SELECT hypertable_name FROM timescaledb_information.hypertables")
    assert {name for (name,) in hypertables} == {table.name for table in plan.HISTORY}
    assert [row.seq for row in BookDelta.objects.using(TIMESCALE).order_by("time")] == list(range(60))
    assert len(server.rows("SELECT show_chunks('markets_book_delta')")) == 3  # 60 hours from noon touch three days
    assert server.rows("SELECT * FROM markets_candle_1m ORDER BY time") == before
    server.refresh("markets_candle_1m")
    assert server.rows("SELECT * FROM markets_candle_1m ORDER BY time") == before
    BookDelta.objects.using(TIMESCALE).bulk_create(deltas, ignore_conflicts=True)
    assert BookDelta.objects.using(TIMESCALE).count() == 60
    assert server.storage().changes == 0
