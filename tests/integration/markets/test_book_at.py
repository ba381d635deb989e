"""`book_at` against a slow replay of its own: plain JSON and dicts, nothing of the code that stored the history."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.conf import LazySettings
from historyrows import History, at
from slowreplay import SlowReplay

from feed import schema
from feed.replay import RECORDING_ENDS, Replay
from feed.sinks.tape import TapeSink
from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import SystemClock
from markets import queries, rows
from markets.core.tape import CONNECTION_BEGAN
from markets.queries import DELTAS_DROPPED, ENDED_UNSEEN, HISTORY_ENDS, book_at
from tests.integration.feed.writerbench import CONN, Bench

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RECORDINGS = (
    "ws_l2_kxbtc15m/rv600_forward_native_shadow_20260513T1640Z.ndjson.zst",
    "ws_l2_kxbtc15m/rv600_forward_native_shadow_20260513T1808Z.ndjson.zst",
)
FEW, MANY = 24, 400


def replay(redis_url: str, database_url: str, path: Path) -> None:
    asyncio.run(Replay(redis_url=redis_url, dsn=database_url, clock=SystemClock()).run([path]))


def compare(path: Path, moments: int) -> int:
    """Compare at random moments and at random stamps of events; return how many."""
    slow, chance, compared = SlowReplay(path), random.Random(4), 0
    assert len(slow.states) == 2
    for ticker, states in slow.states.items():
        first_us, last_us = states[0][0], states[-1][0]
        stamps = [max(time_us, first_us) for time_us, _, _ in chance.sample(states, moments // 4)]
        for time_us in [chance.randint(first_us, last_us) for _ in range(moments // 4)] + stamps:
            found = book_at(ticker, EPOCH + timedelta(microseconds=time_us))
            assert found.book is not None
            assert (found.is_valid, found.reason) == (True, "")
            assert (found.seq, found.book.levels) == slow.at(ticker, time_us)
            compared += 1
    return compared


@pytest.mark.recorded
def test_a_book_at_any_moment_is_what_a_slow_replay_of_the_file_gives(
    redis_url: str, database_url: str, recorded: Path
) -> None:
    replay(redis_url, database_url, recorded / RECORDINGS[0])
    assert compare(recorded / RECORDINGS[0], FEW) == FEW
    slow = SlowReplay(recorded / RECORDINGS[0])
    for ticker, states in slow.states.items():
        long_after = book_at(ticker, EPOCH + timedelta(microseconds=states[-1][0], hours=1))
        assert long_after.reason == RECORDING_ENDS
        assert long_after.book is not None
        assert long_after.book.levels == states[-1][2]


@pytest.mark.recorded
@pytest.mark.long
def test_books_of_two_recordings_at_hundreds_of_moments(redis_url: str, database_url: str, recorded: Path) -> None:
    for name in RECORDINGS:
        replay(redis_url, database_url, recorded / name)
    assert [compare(recorded / name, MANY) for name in RECORDINGS] == [MANY, MANY]


@pytest.fixture
def history(database_url: str, settings: LazySettings) -> History:
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"book_delta": 0}  # whatever the day of the test
    return History(database_url)


def size_and_reason(seconds: float) -> tuple[int | None, str]:
    found = book_at("M-1", at(seconds))
    assert found.is_valid == (not found.reason)
    return None if found.book is None else found.book.size_cx(0, 4_200), found.reason


def test_a_market_nobody_ever_heard_of_has_no_book(history: History) -> None:
    found = book_at("M-2", at(0))
    assert (found.book, found.is_valid, found.reason) == (None, False, "history knows no such market")


def test_before_its_first_snapshot_a_market_has_no_book(history: History) -> None:
    history.snapshot(1, 1)
    assert size_and_reason(0.5) == (None, "there is no snapshot before")


def test_a_moment_without_a_time_zone_is_refused_by_name(history: History) -> None:
    with pytest.raises(ValueError, match="time must have a time zone"):
        book_at("M-1", datetime(2026, 11, 20))  # noqa: DTZ001


def test_it_tells_the_last_event_that_it_contains(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 9)
    found = book_at("M-1", at(3))
    assert (found.as_of, found.conn, found.seq) == (at(2), 101, 9)


def test_deltas_stamped_before_their_snapshot_belong_to_it(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(0.8, 6)
    history.delta(0.9, 4, 5_000)  # before it by its number
    assert size_and_reason(1) == (1_100, "")


@pytest.mark.parametrize("is_ours", [False, pytest.param(True, id="ours, written after a loss")])
def test_B11_deltas_of_a_feed_that_ran_late_belong_to_the_snapshot_before_them(
    history: History, *, is_ours: bool
) -> None:
    history.stored_until(600)
    history.gap(59, CONNECTION_BEGAN)
    history.snapshot(60, 5, is_ours=is_ours)
    history.delta(30, 6)
    assert size_and_reason(61) == (1_100, "")


def test_B1_a_book_of_a_connection_that_was_cut_is_not_believed_until_the_next_snapshot(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 6)
    history.gap(3, "closed by the venue")
    history.gap(4, "connection began", conn=2)
    history.snapshot(5, 1, conn=2)
    assert size_and_reason(2.5) == (1_100, "")
    assert size_and_reason(3.5) == (1_100, "closed by the venue")
    assert size_and_reason(5) == (1_000, "")


def test_A10_after_the_last_sign_of_a_killed_gateway_nothing_is_believed(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 6)
    history.gap(9, "connection began", conn=2)
    history.snapshot(10, 1, conn=2)
    assert size_and_reason(1.5) == (1_000, "")
    assert size_and_reason(2) == (1_100, "")
    assert size_and_reason(3) == (1_100, ENDED_UNSEEN)
    assert size_and_reason(9) == (1_100, "connection began")
    assert size_and_reason(10) == (1_000, "")


def test_A10_a_book_is_not_believed_past_the_end_of_what_is_stored(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 6)
    assert size_and_reason(2) == (1_100, "")
    assert size_and_reason(3) == (1_100, HISTORY_ENDS)
    history.ticker(3.5, 500)  # of any market: the writer came so far
    assert size_and_reason(3) == (1_100, "")
    assert size_and_reason(4) == (1_100, HISTORY_ENDS)
    history.stored_until(5)  # nothing happens, and all of it is stored
    assert size_and_reason(5) == (1_100, "")
    assert size_and_reason(6) == (1_100, HISTORY_ENDS)
    history.gap(9, "connection began", conn=2)
    assert size_and_reason(6) == (1_100, ENDED_UNSEEN)


@pytest.mark.parametrize("is_ours", [True, False])
@pytest.mark.parametrize("kept", [(100, 5), (190, 6)], ids=["one from before", "the very next one"])
def test_a_book_whose_deltas_were_dropped_for_their_age_is_not_believed(
    history: History, settings: LazySettings, kept: tuple[int, int], *, is_ours: bool
) -> None:
    history.stored_until(600)
    history.snapshot(100, 5, is_ours=is_ours)
    history.delta(200, 900)  # of those behind the snapshot the last that are kept
    assert size_and_reason(300) == (1_100, "")
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"book_delta": 1}
    assert size_and_reason(300) == (1_100, DELTAS_DROPPED)
    history.delta(*kept, 0)
    assert size_and_reason(300) == (1_100, ""), "dropped from the oldest on, and that one is there"


def test_B4_a_sequence_gap_spoils_the_book_by_its_number_whatever_the_clocks_say(history: History) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.delta(2, 6)
    history.delta(3, 9, 7_000)
    history.gap(3.2, "sequence gap", received=9)  # stamped by the receiver, later than the delta that showed it
    history.snapshot(3.1, 10)
    assert size_and_reason(2.5) == (1_100, "")
    assert size_and_reason(3) == (1_100, "sequence gap")
    assert size_and_reason(3.3) == (1_000, "")


def test_a_gap_of_another_market_spoils_nothing(history: History) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.gap(2, "unsubscribed", ticker="M-2")
    assert size_and_reason(3) == (1_000, "")
    history.gap(4, "unsubscribed", ticker="M-1")
    assert size_and_reason(5) == (1_000, "unsubscribed")


def test_B10_a_subscription_that_counts_anew_is_not_mixed_with_the_one_before(history: History) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.delta(1.5, 900, 5_000)
    history.gap(2, "not listed", sid=7)
    history.snapshot(2.5, 1)
    history.delta(3, 2)
    assert size_and_reason(4) == (1_100, "")


def test_B10_a_gap_of_a_lost_subscription_does_not_spoil_the_one_after_it(history: History) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.gap(1.8, "sequence gap", received=900)
    history.gap(2, "not listed", sid=7)
    history.snapshot(2.5, 1)
    assert size_and_reason(4) == (1_000, "")


@pytest.mark.parametrize("is_ours", [True, False])
def test_B10_long_after_a_lost_subscription_its_deltas_are_not_mixed_in(history: History, *, is_ours: bool) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.delta(59, 80_000, 5_000)
    history.gap(59.5, "sequence gap", received=79_000)
    history.gap(60, "error 17: out of sync", sid=7)
    history.snapshot(61, 1)
    history.snapshot(100, 500, is_ours=is_ours)
    history.delta(101, 501)
    assert size_and_reason(105) == (1_100, "")


@pytest.mark.parametrize(
    ("reason", "sid"),
    [("3 writes to the streams lost while Redis was away", 0), ("refused by the venue: 16 market_not_found", 7)],
)
def test_B11_after_a_gap_numbers_go_on_unless_the_subscription_was_lost(
    history: History, reason: str, sid: int
) -> None:
    history.stored_until(600)
    history.delta(30, 6)
    history.gap(57, reason, sid=sid)
    history.snapshot(60, 5)
    history.delta(31, 7)
    assert size_and_reason(61) == (1_200, "")


def test_D6_a_gap_of_the_tape_counts_entries_and_not_the_changes_of_a_book(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 900)
    history.gap(3, "kmm:tape:0: 7 entries were trimmed before they were stored", conn=None, received=9)
    assert size_and_reason(4)[0] == 1_100


def test_a_hole_in_another_stream_than_the_tape_spoils_no_book(history: History) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    history.gap(2, "kmm:log: 7 entries were trimmed before they were stored", conn=None, received=9)
    assert size_and_reason(4) == (1_000, "")


def test_D8_a_store_that_began_anew_spoils_every_book_before_it(history: History) -> None:
    history.snapshot(1, 5)
    history.gap(2, "kmm:tape:0: the store began anew; what it held before is lost", conn=None)
    assert "began anew" in size_and_reason(3)[1]


def test_D6_inside_a_hole_of_the_tape_no_book_is_believed(
    redis_client: redis.Redis, redis_url: str, database_url: str
) -> None:
    def put(seconds: float, row: schema.TapeRow) -> None:
        entry = schema.TapeEntry(schema.VERSION, CONN, [row])
        milliseconds = rows.to_us(at(seconds)) // 1_000
        redis_client.xadd(schema.TAPE, {schema.FIELD: schema.encode(entry)}, id=f"{milliseconds}-0")

    def stamped(seconds: float) -> tuple[int, int, str]:
        return rows.to_us(at(seconds)), schema.TimeSource.EXCHANGE, "M-1"

    async def store() -> None:
        bench = Bench(redis_url, database_url)
        await bench.drain(TapeSink(schema.TAPE))
        await bench.client.aclose()

    put(0, schema.SnapshotRow(*stamped(0), 1, [(4_200, 1_000)], []))
    asyncio.run(store())
    put(100, schema.DeltaRow(*stamped(100), 2, 0, 4_200, 100))
    put(300, schema.DeltaRow(*stamped(300), 3, 0, 4_200, 100))
    redis_client.xtrim(schema.TAPE, maxlen=1, approximate=False)
    asyncio.run(store())
    for seconds in (100, 200, 300):
        assert size_and_reason(seconds) == (1_000, "kmm:tape:0: 1 entries were trimmed before they were stored")


def test_what_the_writer_stores_meanwhile_is_not_half_seen(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    history.stored_until(600)
    history.snapshot(1, 5)
    real = queries.every

    def every(statement: str, values: Any) -> list[rows.Row]:
        found = real(statement, values)
        if statement == queries.GAPS_AFTER:
            history.gap(2, "kmm:tape:0: 7 entries were trimmed before they were stored", conn=None)
            history.delta(3, 900)
        return found

    monkeypatch.setattr(queries, "every", every)
    assert size_and_reason(4) == (1_000, "")
    monkeypatch.undo()
    assert "trimmed" in size_and_reason(4)[1]


def test_who_waits_too_long_for_history_is_told(
    history: History, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.snapshot(1, 5)
    monkeypatch.setattr(queries, "READ_MOST_MS", 50)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK markets_book_snapshot")
        with pytest.raises(KalshimmError, match=r"not read within 0\.05 s"):
            book_at("M-1", at(2))
    monkeypatch.undo()
    assert size_and_reason(1) == (1_000, "")


def test_more_taken_than_a_level_holds_is_told(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2, 6, -1_001)
    assert size_and_reason(3) == (1_000, "negative level: YES level 4200 would fall to -1")
