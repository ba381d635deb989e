"""The usual delta goes its own short way through the books; it must lead where the long way leads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.books import DAMAGED, OWN_SNAPSHOT_US, SHARED_DUE_US, Books
from feed.kalshi.channels import BOOK as BOOK_CHANNEL
from feed.kalshi.session import Session
from feed.schema import SnapshotRow

NOW = 1_795_337_400_000_000
TICKERS = ("M-1", "M-2")
MOMENTS_MS = st.sampled_from([None, 1, 2, 2, 3, OWN_SNAPSHOT_US // 1_000 + 2])

DAMAGE = (
    b"", b"{", b"[]", b"\xff", b'{"type":"orderbook_delta","sid":1', b',"seq":2}', b"{}\n{}", b"{} {}",
    b'{"type":"brand_new","sid":1,"seq":3}', b'{"type":"orderbook_delta",\n"sid":1,"seq":4}',
)  # fmt: skip

changes = st.fixed_dictionaries(
    {
        "market_ticker": st.sampled_from([*TICKERS, "M-9"]),
        "price_dollars": st.sampled_from(["0.4200", "0.4100", "0.4500", "0.5500", "0.5800", "oops", "0"]),
        "delta_fp": st.sampled_from(["1.00", "2.50", "-1.00", "-20.00", "-10.00", "many"]),
        "side": st.sampled_from(["yes", "no"]),
        "ts_ms": MOMENTS_MS,
        "client_order_id": st.sampled_from([None, "ours"]),
    }
)
ANSWERS = ("ok", "ok", "ok", "ok", "error", "error", "orderbook_snapshot", "unsubscribed")  # the last ends it all
steps = st.one_of(
    st.tuples(st.just("delta"), changes, st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1])),
    st.tuples(st.just("snapshot"), st.sampled_from(TICKERS), st.sampled_from(["0.5500", "0.5800"])),
    st.tuples(st.just("answer"), st.sampled_from(ANSWERS), st.just({})),
    st.tuples(st.just("lease"), st.sampled_from(TICKERS), st.booleans()),
    st.tuples(st.just("tick"), st.integers(0, 400_000), st.none()),
    st.tuples(st.just("lost"), st.none(), st.none()),
    st.tuples(st.just("take"), st.none(), st.none()),
    st.tuples(st.just("damage"), st.sampled_from(DAMAGE), st.none()),
)


class LongWay(Books):
    def receive_turn(self, turn: Sequence[bytes], received_us: int) -> None:
        for data in turn:
            self._take_in(data, DAMAGED, received_us)


class Both:
    """Two sets of books that are told the same."""

    def __init__(self) -> None:
        self.pair = (Books(7, Session()), LongWay(7, Session()))
        self.seq, self.now_us = 0, NOW
        self.turn: list[bytes] = []
        for books in self.pair:
            books.session.subscribe(BOOK_CHANNEL, TICKERS)
        self.receive(type="subscribed", id=1, msg={"channel": BOOK_CHANNEL, "sid": 1})
        for ticker in TICKERS:
            self.snapshot(ticker, "0.5500")
        self.end_turn()

    def receive(self, **frame: Any) -> None:
        self.turn.append(json.dumps(frame).encode())

    def end_turn(self) -> None:
        turn, self.turn = self.turn, []
        for books in self.pair:
            books.receive_turn(turn, self.now_us)

    def snapshot(self, ticker: str, no: str) -> None:
        self.seq += 1
        msg = {"market_ticker": ticker, "yes_dollars_fp": [["0.4200", "20.00"]], "no_dollars_fp": [[no, "10.00"]]}
        self.receive(type="orderbook_snapshot", sid=1, seq=self.seq, msg=msg)

    def delta(self, msg: dict[str, Any], skip: int) -> None:
        self.seq += 1 + skip
        self.receive(type="orderbook_delta", sid=1, seq=self.seq, msg={k: v for k, v in msg.items() if v is not None})

    def do(self, step: tuple[str, Any, Any]) -> None:
        if step[0] not in ("delta", "snapshot", "damage", "answer"):
            self.end_turn()
        match step:
            case ("damage", data, _):
                self.turn.append(data)
            case ("answer", kind, msg):
                self.seq += 1
                self.receive(type=kind, sid=1, seq=self.seq, msg=msg)
            case ("delta", msg, skip):
                self.delta(msg, skip)
            case ("snapshot", ticker, no):
                self.snapshot(ticker, no)
            case ("lease", ticker, is_leased):
                for books in self.pair:
                    books.lease(ticker, is_leased=is_leased, now_us=self.now_us)
            case ("tick", passed_us, _):
                self.now_us += passed_us
                for books in self.pair:
                    books.tick(self.now_us)
            case ("lost", _, _):
                for books in self.pair:
                    books.lost("lost", self.now_us, since_us=self.now_us)
            case ("take", _, _):
                self.compare()

    def compare(self) -> None:
        self.end_turn()
        short, long = self.pair
        assert short.take() == long.take()
        assert short.take_changed() == long.take_changed()
        assert short.counters == long.counters
        assert short.last_lag_ms == long.last_lag_ms
        assert [m.levels for m in short.markets.values()] == [m.levels for m in long.markets.values()]


@settings(max_examples=400)
@given(st.lists(steps, max_size=40))
def test_B4_B8_B12_the_short_way_leads_where_the_long_way_leads(told: list[tuple[str, Any, Any]]) -> None:
    both = Both()
    for step in told:
        both.do(step)
    both.compare()


def test_the_usual_delta_takes_the_short_way() -> None:
    both = Both()
    both.pair[0]._take_in = None  # type: ignore[method-assign,assignment]  # whoever goes the long way stumbles
    msg = {"market_ticker": "M-1", "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes", "ts_ms": 1}
    both.delta(msg, 0)
    both.turn, turn = [], both.turn
    both.pair[0].receive_turn(turn, NOW)
    assert both.pair[0].market("M-1").size_cx(0, 4_200) == 2_100


def test_no_moment_is_rebuilt_from_more_than_a_minute_of_deltas() -> None:
    both = Both()
    books = both.pair[0]
    books.take()
    msg = {"market_ticker": "M-1", "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes"}
    minute_ms = OWN_SNAPSHOT_US // 1_000
    for ts_ms in (1_000, 1_000 + minute_ms - 1, 1_000 + minute_ms, 1_000 + minute_ms + 5):
        both.delta(msg | {"ts_ms": ts_ms}, 0)
    both.end_turn()
    are_ours = [isinstance(row, SnapshotRow) and row.is_ours for row in books.take().rows]
    assert are_ours == [False, False, True, False, False]


@pytest.mark.parametrize("second_ms", [50_000 + SHARED_DUE_US // 1_000 - 1, 40_000])
def test_markets_that_share_when_a_snapshot_of_ours_is_due_have_it_early_rather_than_late(second_ms: int) -> None:
    both = Both()
    books = both.pair[0]
    books.take()
    minute_ms, early_ms = OWN_SNAPSHOT_US // 1_000, SHARED_DUE_US // 1_000
    msg = {"price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes"}
    first = {"M-1": 50_000, "M-2": second_ms}
    for ticker, ts_ms in first.items():
        both.delta(msg | {"market_ticker": ticker, "ts_ms": ts_ms}, 0)
    for ticker, ts_ms in first.items():
        both.delta(msg | {"market_ticker": ticker, "ts_ms": ts_ms + minute_ms - early_ms}, 0)
        both.delta(msg | {"market_ticker": ticker, "ts_ms": ts_ms + minute_ms}, 0)
    both.end_turn()
    ours = [row.ticker for row in books.take().rows if isinstance(row, SnapshotRow) and row.is_ours]
    assert ours == ["M-1", "M-2"]


def test_a_snapshot_of_ours_stands_at_the_last_event_it_contains() -> None:
    both = Both()
    books = both.pair[0]
    msg = {"market_ticker": "M-1", "price_dollars": "0.4200", "delta_fp": "1.00", "side": "yes"}
    both.delta(msg | {"ts_ms": 1_000}, 0)
    both.end_turn()
    books.take()
    both.delta(msg | {"ts_ms": 1_000 + OWN_SNAPSHOT_US // 1_000}, 0)
    both.end_turn()
    own, _ = books.take().rows
    assert (own.is_ours, own.seq, own.time_us) == (True, 3, 1_000_000)  # type: ignore[union-attr]
    assert own.yes == [(4_200, 2_100)]  # type: ignore[union-attr]


class OnlyShort(Books):
    """Books that say when a frame went the long way."""

    went_long = 0

    def _take_in(self, data: bytes, frame: Any, received_us: int) -> None:
        self.went_long += 1
        super()._take_in(data, frame, received_us)


def test_a_usual_delta_goes_the_short_way() -> None:
    both = Both()
    books = OnlyShort(7, Session())
    both.pair = (books, books)
    books.session.subscribe(BOOK_CHANNEL, TICKERS)
    both.seq = 0
    both.receive(type="subscribed", id=1, msg={"channel": BOOK_CHANNEL, "sid": 1})
    for ticker in TICKERS:
        both.snapshot(ticker, "0.5500")
    books.receive_turn(both.turn, NOW)
    both.turn, books.went_long = [], 0
    usual = {"price_dollars": "0.4100", "delta_fp": "2.50", "side": "yes", "ts_ms": 1}
    for ticker in (*TICKERS, *TICKERS):
        both.delta({"market_ticker": ticker, **usual}, 0)
    books.lease(TICKERS[0], is_leased=True, now_us=NOW)
    books.receive_turn(both.turn, NOW)
    assert books.went_long == 0
    assert books.markets[TICKERS[0]].levels[0] == {4_200: 2_000, 4_100: 500}
