"""The same migrations on whatever server this is: tables, their keys, and buckets of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.db.models import Model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalshimm.ops.models import BeatRow, ServiceLog
from markets.models import BookDelta, BookSnapshot, Ticker, Trade
from tests.integration.db.conftest import Server
from traders.models import DecisionRow, RateSample, RewardMinute

KEYS = {
    BookDelta: ["time", "market", "conn", "seq"],
    BookSnapshot: ["time", "market", "conn", "seq"],
    Ticker: ["time", "market", "conn", "digest"],
    Trade: ["time", "market", "trade_id"],
    DecisionRow: ["time", "trader", "number"],
    ServiceLog: ["time", "entry_id"],
    RateSample: ["time", "trader"],
    RewardMinute: ["time", "market", "account", "program_id"],
    BeatRow: ["time", "role", "name"],
}
WIDTHS = [
    timedelta(milliseconds=250),
    timedelta(seconds=1),
    timedelta(minutes=15),
    timedelta(hours=6),
    timedelta(days=7),
]


@pytest.mark.parametrize("model", KEYS)
def test_a_hypertable_keeps_the_key_that_holds_its_time(server: Server, model: type[Model]) -> None:
    with server.connection.cursor() as cursor:
        constraints = server.connection.introspection.get_constraints(cursor, model._meta.db_table)
    (key,) = [c["columns"] for c in constraints.values() if c["primary_key"]]
    assert key == KEYS[model]


def a_delta(market: int, seq: int, conn: int = 1) -> BookDelta:
    time = datetime(2026, 11, 22, tzinfo=UTC)
    return BookDelta(time=time, market=market, conn=conn, seq=seq, side=0, time_source=0, price_cc=4_200, delta_cx=seq)


def test_a_second_row_of_one_key_is_refused_or_ignored_as_asked(server: Server) -> None:
    market = server.a_market()
    a_delta(market, 1).save(using=server.alias, force_insert=True)
    with pytest.raises(IntegrityError), transaction.atomic(server.alias):
        a_delta(market, 1).save(using=server.alias, force_insert=True)
    deltas = BookDelta.objects.using(server.alias)
    deltas.bulk_create([a_delta(market, 1), a_delta(market, 2)], ignore_conflicts=True)
    assert deltas.filter(market=market).count() == 2


def test_rows_of_different_connections_share_their_time(server: Server) -> None:
    market = server.a_market()
    deltas = BookDelta.objects.using(server.alias)
    deltas.bulk_create([a_delta(market, 1), a_delta(market, 1, conn=2)])
    assert deltas.filter(market=market).count() == 2


def test_a_snapshot_stored_without_saying_whose_is_the_venues(server: Server) -> None:
    market = server.a_market()
    server.rows(
        "INSERT INTO markets_book_snapshot"
        " (time, market, conn, seq, time_source, yes_price_cc, yes_count_cx, no_price_cc, no_count_cx)"
        " VALUES (now(), %s, 1, 1, 0, '{}', '{}', '{}', '{}')",
        market,
    )
    assert BookSnapshot.objects.using(server.alias).get(market=market).is_ours is False


@given(
    time=st.datetimes(datetime(2000, 1, 3), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    width=st.sampled_from(WIDTHS),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_time_buckets_begin_at_whole_widths_from_a_monday(server: Server, time: datetime, width: timedelta) -> None:
    """The origin TimescaleDB uses, 2000-01-03, holds on plain PostgreSQL too."""
    ((bucket,),) = server.rows("SELECT time_bucket(%s, %s)", width, time)
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    assert bucket == origin + width * ((time - origin) // width)


@pytest.mark.long
def test_every_table_with_such_a_time_is_a_hypertable_without_a_second_index(migrated_timescale: Server) -> None:
    hypertables = migrated_timescale.rows("SELECT hypertable_name FROM timescaledb_information.hypertables")
    assert {name for (name,) in hypertables} == {model._meta.db_table for model in KEYS}
    indexes = migrated_timescale.rows("SELECT indexname FROM pg_indexes WHERE tablename = 'markets_book_delta'")
    assert indexes == [("markets_book_delta_pkey",)]
