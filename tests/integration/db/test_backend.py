"""The same migrations on whatever server this is: tables, their keys, and buckets of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kalshimm.ops.models import BeatRow, ServiceLog
from markets.models import BookDelta, BookSnapshot, Ticker, Trade
from traders.models import DecisionRow, RateSample, RewardMinute

pytestmark = pytest.mark.django_db

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
def test_a_hypertable_keeps_the_key_that_holds_its_time(model: type[BookDelta]) -> None:
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, model._meta.db_table)
    (key,) = [c["columns"] for c in constraints.values() if c["primary_key"]]
    assert key == KEYS[model]


def a_delta(seq: int) -> BookDelta:
    time = datetime(2026, 11, 22, tzinfo=UTC)
    return BookDelta(time=time, market=1, conn=1, seq=seq, side=0, time_source=0, price_cc=4_200, delta_cx=seq)


def test_a_second_row_of_one_key_is_refused_or_ignored_as_asked() -> None:
    a_delta(1).save(force_insert=True)
    with pytest.raises(IntegrityError), transaction.atomic():
        a_delta(1).save(force_insert=True)
    BookDelta.objects.bulk_create([a_delta(1), a_delta(2)], ignore_conflicts=True)
    assert BookDelta.objects.count() == 2


def test_rows_of_different_connections_share_their_time() -> None:
    first, second = a_delta(1), a_delta(1)
    second.conn = 2
    BookDelta.objects.bulk_create([first, second])
    assert BookDelta.objects.count() == 2


def test_a_snapshot_stored_without_saying_whose_is_the_venues() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO markets_book_snapshot"
            " (time, market, conn, seq, time_source, yes_price_cc, yes_count_cx, no_price_cc, no_count_cx)"
            " VALUES (now(), 1, 1, 1, 0, '{}', '{}', '{}', '{}')"
        )
    assert BookSnapshot.objects.get().is_ours is False


@given(
    time=st.datetimes(datetime(2000, 1, 3), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    width=st.sampled_from(WIDTHS),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_time_buckets_begin_at_whole_widths_from_a_monday(time: datetime, width: timedelta) -> None:
    """The origin TimescaleDB uses, 2000-01-03, holds on plain PostgreSQL too."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT time_bucket(%s, %s)", [width, time])
        (bucket,) = cursor.fetchone()
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    assert bucket == origin + width * ((time - origin) // width)
