"""`tape`: what happened to a market, in the order in which it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from historyrows import History, at
from slowreplay import SlowReplay

from feed.replay import Replay
from kalshimm.runtime.clock import SystemClock
from markets import rows
from markets.core.tape import CONNECTION_BEGAN, Delta, Event, Gap, Snapshot, Ticker, Trade
from markets.queries import book_at, tape

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
RECORDING = "ws_l2_kxbtc15m/rv600_forward_native_shadow_20260513T1640Z.ndjson.zst"


@pytest.fixture
def history(database_url: str) -> History:
    return History(database_url)


def words(events: Iterator[Event]) -> list[str]:
    return [_word(event) for event in events]


def _word(event: Event) -> str:
    """Return `Delta 5`, `Trade a`, `Gap cut` …"""
    match event:
        case Delta() | Snapshot():
            told = str(event.seq)
        case Gap():
            told = event.reason
        case Trade():
            told = event.trade_id
        case Ticker():
            told = ""
    return f"{type(event).__name__} {told}"


def test_at_one_time_the_book_comes_first_then_prints_then_tickers(history: History) -> None:
    history.ticker(1, 500)
    history.trade(1, "b")
    history.trade(1, "a")
    history.delta(1, 6)
    history.snapshot(1, 5)
    history.gap(1, "sequence gap", received=5)
    assert words(tape("M-1", at(0), at(2))) == [
        "Gap sequence gap",
        "Snapshot 5",
        "Delta 6",
        "Trade a",
        "Trade b",
        "Ticker ",
    ]


def test_numbers_go_before_times_within_a_connection(history: History) -> None:
    history.snapshot(1, 5)
    history.delta(2.002, 6)
    history.delta(2.001, 7)
    history.trade(2.0015, "a")
    assert words(tape("M-1", at(0), at(3))) == ["Snapshot 5", "Trade a", "Delta 6", "Delta 7"]


def test_B11_what_came_late_follows_its_snapshot_however_late_it_was(history: History) -> None:
    history.delta(30, 6)
    history.gap(59, CONNECTION_BEGAN)
    history.snapshot(60, 5)
    assert words(tape("M-1", at(0), at(61))) == [f"Gap {CONNECTION_BEGAN}", "Snapshot 5", "Delta 6"]


def test_a_range_holds_its_beginning_and_not_its_end(history: History) -> None:
    history.delta(1, 1)
    history.delta(2, 2)
    assert words(tape("M-1", at(1), at(2))) == ["Delta 1"]


def test_events_carry_what_their_rows_hold(history: History) -> None:
    history.gap(1, "connection began")
    history.snapshot(2, 5, is_ours=True)
    history.delta(3, 6, -250)
    history.trade(4, "a")
    history.ticker(5, None)
    us = [rows.to_us(at(seconds)) for seconds in range(1, 6)]
    assert list(tape("M-1", at(0), at(9))) == [
        Gap(us[0], 101, "", "connection began"),
        Snapshot(us[1], 101, 5, ((4_200, 1_000),), (), True),
        Delta(us[2], 101, 6, 0, 4_200, -250),
        Trade(us[3], "a", 4_200, 300, 1, False),
        Ticker(us[4], 101, None, None, None, None, None, None, None, None),
    ]


def test_batches_lose_and_repeat_nothing_where_times_repeat(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "BATCH_ROWS", 3)
    for number in range(1, 11):
        history.delta(1 + number // 8, number)
    assert words(tape("M-1", at(0), at(3))) == [f"Delta {n}" for n in range(1, 11)]


def test_other_markets_and_their_gaps_stay_out(history: History) -> None:
    history.gap(1, "unsubscribed", ticker="M-2")
    history.gap(1, "unsubscribed", ticker="M-1")
    assert words(tape("M-1", at(0), at(2))) == ["Gap unsubscribed"]
    assert words(tape("M-2", at(0), at(2))) == []


def test_a_wrong_range_is_refused_by_the_name_of_its_argument_before_anything_is_read() -> None:
    naive = datetime(2026, 11, 20)  # noqa: DTZ001
    with pytest.raises(ValueError, match="since must have a time zone"):
        tape("M-1", naive, at(1))
    with pytest.raises(ValueError, match="until must have a time zone"):
        tape("M-1", at(0), naive)
    with pytest.raises(ValueError, match="until must be after since"):
        tape("M-1", at(1), at(1))


@pytest.mark.recorded
def test_the_tape_of_a_recording_is_the_file_in_its_order(redis_url: str, database_url: str, recorded: Path) -> None:
    path = recorded / RECORDING
    asyncio.run(Replay(redis_url=redis_url, dsn=database_url, clock=SystemClock()).run([path]))
    slow = SlowReplay(path)
    for ticker, states in slow.states.items():
        first, last = (EPOCH + timedelta(microseconds=time(s[0] for s in states)) for time in (min, max))
        told = [e for e in tape(ticker, first, last + timedelta(microseconds=1)) if isinstance(e, Delta | Snapshot)]
        assert [e.seq for e in told if not (isinstance(e, Snapshot) and e.is_ours)] == [seq for _, seq, _ in states]
        middle = first + (last - first) / 2
        found = book_at(ticker, middle)
        assert found.book is not None
        for event in tape(ticker, middle, last + timedelta(microseconds=1)):
            if isinstance(event, Delta) and found.seq is not None and event.seq > found.seq:
                found.book.apply(event.side, event.price_cc, event.delta_cx)
            elif isinstance(event, Snapshot) and found.seq is not None and event.seq > found.seq:
                found.book.replace(event.yes, event.no)
        assert found.book.levels == states[-1][2]
