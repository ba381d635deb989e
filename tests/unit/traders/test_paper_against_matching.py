"""Paper fills against the truth: the same flow of others through a matching engine with our orders in it.

The flow does not react to us, and its takers always find enough: then everything that differs between the market with
us and the one without is our fills and those whom they displaced, and paper must know both exactly.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.schema import BookDelta, BookSnapshot, BookTrade
from markets.core.book import OrderBook
from markets.core.matching import LevelChange, MatchingBook, Outcome, RestingOrder
from markets.core.units import DOLLAR_CC, Side
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PRINT_WAIT_US, PaperBroker, PaperSettings
from traders.core.commands import CancelOrder, PlaceOrder
from traders.core.orders import Fill

US, THEM = "us", "them"
FLOOR_CC = 100
PRICES_CC = (3_800, 3_900, 4_000, 4_100)
CHANNELS = ("book first", "prints first", "in turn")
BLIND = "book alone"
SIZES = 64  # more than there are orders in a test

counts = st.integers(1, 300)
gaps_us = st.sampled_from([1_000, 100_000, PRINT_WAIT_US + 1])
makes = st.tuples(st.just("make"), st.sampled_from(PRICES_CC), counts)
takes = st.tuples(st.just("take"), st.just(0), counts)
ours = st.tuples(st.just("ours"), st.sampled_from(PRICES_CC), counts)
tickers = st.tuples(st.just("ticker"), st.just(0), st.just(0))
gone = st.tuples(st.just("gone"), st.integers(0, 9), st.just(0))


class TwoMarkets:
    """One flow in two matching books, one of them with our orders, and a paper broker told of the other."""

    def __init__(self, side: Side, channels: str, *, ahead_bps: int | None = None, latency_us: int = 0) -> None:
        self.side, self.channels, self.latency_us = side, channels, latency_us
        self.truth, self.without, self.book = MatchingBook(), MatchingBook(), OrderBook()
        numbers = itertools.count(1)
        self.broker = PaperBroker(
            lambda: f"ours-{next(numbers)}",
            PaperSettings(latency_us=latency_us, ambiguous_ahead_bps=ahead_bps, has_prints=channels != BLIND),
        )
        self.on_way: list[tuple[int, Callable[[], None]]] = []
        self.numbers = itertools.count(1)
        self.time_us = 1_000_000
        self.paper_cx: Counter[str] = Counter()
        self.true_cx: Counter[str] = Counter()
        self.theirs: list[str] = []
        self.volume_cx = 0
        self.ticker()
        self.make(FLOOR_CC, 10**9)

    def wait(self, gap_us: int) -> None:
        """Let time pass, and what we sent arrive in the true market before what happens next."""
        self.time_us += gap_us
        while self.on_way and self.on_way[0][0] < self.time_us:
            self.on_way.pop(0)[1]()

    def send(self, arrive: Callable[[], None]) -> None:
        if self.latency_us:
            self.on_way.append((self.time_us + self.latency_us, arrive))
        else:
            arrive()

    def make(self, price_cc: int, count_cx: int) -> None:
        order_id = f"theirs-{next(self.numbers)}"
        self.theirs.append(order_id)
        self.both(lambda: RestingOrder(order_id, THEM, self.side, price_cc, count_cx), post_only=True)

    def take(self, count_cx: int) -> None:
        order_id = f"taker-{next(self.numbers)}"
        self.both(lambda: RestingOrder(order_id, THEM + "2", self.side.other, DOLLAR_CC - FLOOR_CC, count_cx))

    def own_size(self, size_cx: int) -> int:
        """Return a size that no other order has, nor what takers in multiples of SIZES leave of one."""
        return size_cx * SIZES + len(self.theirs)

    def snapshot(self) -> None:
        """Let paper begin with the whole book, as it does on every stream."""
        yes, no = (list(levels.items()) for levels in self.book.levels)
        self.hear(BookSnapshot(1, 1, 1, 1, self.time_us, yes, no))

    def both(self, an_order, *, post_only: bool = False) -> None:
        outcome = self.truth.place(an_order(), post_only=post_only, rest=post_only)
        for match in outcome.matches:
            if match.maker_owner == US:
                self.true_cx[match.maker_order_id] += match.count_cx
        self.tell(self.without.place(an_order(), post_only=post_only, rest=post_only))

    def gone(self, order_id: str) -> None:
        if order_id in self.truth:
            self.truth.cancel(order_id)
        if order_id in self.without:
            self.tell_change(self.without.cancel(order_id))

    def place(self, price_cc: int, count_cx: int) -> str:
        *_, order = self.broker.execute(PlaceOrder(self.side, price_cc, count_cx), book=self.book, time_us=self.time_us)
        ours = RestingOrder(order.client_order_id, US, self.side, price_cc, count_cx)
        self.send(lambda: self.rest(ours))
        return order.client_order_id

    def rest(self, ours: RestingOrder) -> None:
        self.truth.place(ours, post_only=True)

    def pull(self, order_id: str) -> None:
        self.send(lambda: self.truth.cancel(order_id) if order_id in self.truth else None)
        self.broker.execute(CancelOrder(order_id, "test"), book=self.book, time_us=self.time_us)

    def ticker(self) -> None:
        self.count(self.broker.on_volume(self.volume_cx, book=self.book, time_us=self.time_us))

    def tell(self, outcome: Outcome) -> None:
        matches = list(outcome.matches)
        self.volume_cx += outcome.filled_cx
        if self.channels == "prints first":
            for match in matches:
                self.tell_print(match)
        for step in outcome.changes:
            self.tell_change(step)
            if self.channels == "in turn" and matches:
                self.tell_print(matches.pop(0))
        if self.channels == "book first":
            for match in matches:
                self.tell_print(match)

    def tell_change(self, change: LevelChange) -> None:
        self.book.apply(change.side, change.price_cc, change.delta_cx)
        self.hear(BookDelta(0, self.time_us, int(change.side), change.price_cc, change.delta_cx))

    def tell_print(self, match) -> None:
        trade_id = f"trade-{next(self.numbers)}"
        self.hear(BookTrade(trade_id, self.time_us, match.yes_price_cc, match.count_cx, int(self.side.other)))

    def hear(self, event: BookDelta | BookSnapshot | BookTrade) -> None:
        self.count(self.broker.on_event(event, book=self.book, time_us=self.time_us))

    def count(self, events: list[OrderEvent]) -> None:
        for event in events:
            if isinstance(event, Fill):
                self.paper_cx[event.order.client_order_id] += event.count_cx

    def ahead_cx(self, order_id: str) -> int:
        """Return the others' contracts that truly stand before our order at its price."""
        ours, ahead_cx = self.truth.get(order_id), 0
        for order in self.truth.orders():
            if order is ours:
                break
            same_level = (order.side, order.price_cc) == (ours.side, ours.price_cc)
            ahead_cx += order.remaining_cx if same_level and order.owner == THEM else 0
        return ahead_cx

    def check(self) -> None:
        assert self.paper_cx == self.true_cx
        if self.latency_us:
            return  # what is on its way is not in the true market yet
        assert {quote.client_order_id: (quote.remaining_cx, quote.ahead_cx) for quote in self.broker.resting()} == {
            order.order_id: (order.remaining_cx, self.ahead_cx(order.order_id))
            for order in self.truth.orders()
            if order.owner == US
        }


@pytest.mark.parametrize("side", list(Side))
@given(
    channels=st.sampled_from(CHANNELS),
    steps=st.lists(st.tuples(st.one_of(makes, takes, ours), gaps_us), max_size=25),
)
@settings(max_examples=200)
def test_fills_and_places_are_the_true_ones_however_many_orders_we_place(
    side: Side, channels: str, steps: list
) -> None:
    markets = TwoMarkets(side, channels)
    for (kind, price_cc, count_cx), gap_us in steps:
        markets.wait(gap_us)
        if kind == "make":
            markets.make(price_cc, count_cx)
        elif kind == "take":
            markets.take(count_cx)
        else:
            markets.place(price_cc, count_cx)
        markets.check()


@pytest.mark.parametrize("latency_us", [0, 1_500, 150_000])
@given(
    channels=st.sampled_from(CHANNELS),
    steps=st.lists(st.tuples(st.one_of(makes, takes, ours, gone), gaps_us), max_size=25),
)
@settings(max_examples=150)
def test_an_order_that_we_pull_leaves_behind_only_whom_it_displaced(
    latency_us: int, channels: str, steps: list
) -> None:
    markets = TwoMarkets(Side.YES, channels, latency_us=latency_us)
    placed: list[str] = []
    for (kind, which, count_cx), gap_us in steps:
        markets.wait(gap_us)
        if kind == "make":
            markets.make(which, count_cx)
        elif kind == "take":
            markets.take(count_cx)
        elif kind == "ours":
            placed.append(markets.place(which, count_cx))
        elif placed:
            markets.pull(placed[which % len(placed)])
        markets.check()


@pytest.mark.parametrize("latency_us", [0, 1_500])
@given(steps=st.lists(st.tuples(st.one_of(makes, takes, ours, gone, tickers), gaps_us), max_size=25))
@settings(max_examples=150)
def test_without_prints_the_ticker_knows_the_true_fills_whatever_we_pulled_meanwhile(
    latency_us: int, steps: list
) -> None:
    markets = TwoMarkets(Side.YES, BLIND, latency_us=latency_us)
    placed: list[str] = []
    for (kind, which, count_cx), gap_us in [*steps, (("ticker", 0, 0), 1_000)]:
        markets.wait(gap_us)
        if kind == "make":
            markets.make(which, count_cx)
        elif kind == "take":
            markets.take(count_cx)
        elif kind == "ours":
            placed.append(markets.place(which, count_cx))
        elif kind == "ticker":
            markets.ticker()
            markets.check()
        elif placed:
            markets.pull(placed[which % len(placed)])


def run_one(markets: TwoMarkets, before: list[int], count_cx: int, steps: list, *, cancels_behind: bool) -> None:
    """Let one order of ours live through a flow with cancels at its level, all of them on one side of it."""
    for size_cx in before:
        markets.make(4_000, size_cx)
    ahead = list(markets.theirs[1:])
    ours = markets.place(4_000, count_cx)
    for (kind, which, size_cx), gap_us in steps:
        markets.wait(gap_us)
        behind = [order_id for order_id in markets.theirs[1:] if order_id not in ahead]
        pool = behind if cancels_behind else ahead
        if kind == "make":
            markets.make(which, size_cx)
        elif kind == "take":
            markets.take(size_cx)
        elif pool:
            markets.gone(pool[which % len(pool)])
        if ours not in markets.truth:
            return
        assert markets.paper_cx == markets.true_cx
    markets.wait(PRINT_WAIT_US)
    markets.make(FLOOR_CC, 1)  # whatever waits for its print has waited long enough
    markets.check()


@given(
    channels=st.sampled_from(CHANNELS),
    before=st.lists(counts, max_size=4),
    count_cx=counts,
    steps=st.lists(st.tuples(st.one_of(makes, takes, gone), gaps_us), max_size=25),
)
@settings(max_examples=200)
def test_cancels_that_are_all_behind_us_leave_the_true_fills(
    channels: str, before: list[int], count_cx: int, steps: list
) -> None:
    run_one(TwoMarkets(Side.YES, channels, ahead_bps=0), before, count_cx, steps, cancels_behind=True)


@given(
    channels=st.sampled_from(CHANNELS),
    before=st.lists(counts, max_size=4),
    count_cx=counts,
    steps=st.lists(st.tuples(st.one_of(makes, takes, gone), st.just(PRINT_WAIT_US + 1)), max_size=25),
)
@settings(max_examples=200)
def test_cancels_that_are_all_ahead_of_us_leave_the_true_fills(
    channels: str, before: list[int], count_cx: int, steps: list
) -> None:
    run_one(TwoMarkets(Side.YES, channels, ahead_bps=10_000), before, count_cx, steps, cancels_behind=False)


@given(
    channels=st.sampled_from(["book first", "in turn"]),
    before=st.lists(counts, max_size=4),
    count_cx=counts,
    steps=st.lists(st.tuples(st.one_of(makes, takes, gone), gaps_us), max_size=30),
)
@settings(max_examples=200)
def test_until_we_trade_it_knows_our_true_place_if_no_two_orders_are_of_one_size(
    channels: str, before: list[int], count_cx: int, steps: list
) -> None:
    markets = TwoMarkets(Side.YES, channels)
    markets.snapshot()
    for size_cx in before:
        markets.make(4_000, markets.own_size(size_cx))
    ours = markets.place(4_000, count_cx)
    for (kind, which, size_cx), gap_us in steps:
        markets.wait(gap_us)
        if kind == "make":
            markets.make(which, markets.own_size(size_cx))
        elif kind == "take":
            markets.take(size_cx * SIZES)  # what is left of an order keeps a size of its own
        elif len(markets.theirs) > 1:
            markets.gone(markets.theirs[1:][which % len(markets.theirs[1:])])
        assert markets.paper_cx == markets.true_cx
        if markets.true_cx[ours]:
            return  # those whom we displaced may go without anybody seeing it
    markets.wait(PRINT_WAIT_US)
    markets.make(FLOOR_CC, SIZES)  # whatever waits for its print has waited long enough
    markets.check()
