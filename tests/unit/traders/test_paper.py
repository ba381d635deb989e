from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.schema import BookDelta, BookSnapshot, BookTrade
from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PRINT_WAIT_US, PaperBroker
from traders.core.diff import CancelOrder, DecreaseOrder, PlaceOrder
from traders.core.orders import Fill, Order, OrderStatus

AT_US = 1_000_000


class World:
    """A book, a paper broker and a clock of exchange time that steps with each event."""

    def __init__(self, *, yes: list[tuple[int, int]], no: list[tuple[int, int]]) -> None:
        self.book = OrderBook()
        self.book.replace(yes, no)
        numbers = itertools.count(1)
        self.broker = PaperBroker(lambda: f"order-{next(numbers)}")
        self.time_us = AT_US
        self.trades = itertools.count(1)

    def place(self, side: Side, price_cc: int, count_cx: int) -> Order:
        command = PlaceOrder(side, price_cc, count_cx)
        (order,) = self.broker.execute(command, book=self.book, time_us=self.time_us)
        assert isinstance(order, Order)
        return order

    def prints(self, yes_price_cc: int, count_cx: int, taker: Side, *, after_us: int = 1_000) -> list[OrderEvent]:
        self.time_us += after_us
        trade = BookTrade(f"trade-{next(self.trades)}", self.time_us, yes_price_cc, count_cx, int(taker))
        return self.broker.on_event(trade, book=self.book, time_us=self.time_us)

    def level(self, side: Side, price_cc: int, delta_cx: int, *, after_us: int = 1_000) -> None:
        self.time_us += after_us
        self.book.apply(side, price_cc, delta_cx)
        delta = BookDelta(1, self.time_us, int(side), price_cc, delta_cx)
        assert self.broker.on_event(delta, book=self.book, time_us=self.time_us) == []

    def ahead_cx(self) -> int:
        (view,) = self.broker.quote_views(self.book)
        return view.ahead_cx


def a_world() -> World:
    return World(yes=[(4_000, 300), (3_900, 500)], no=[(5_800, 200), (5_700, 400)])


def filled(events: list[OrderEvent]) -> list[int]:
    return [event.count_cx for event in events if isinstance(event, Fill)]


def test_a_print_through_our_price_fills_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    events = world.prints(3_900, 500, taker=Side.NO)
    assert filled(events) == [100]
    assert world.broker.resting() == ()


def test_a_print_through_our_price_fills_no_more_than_its_size() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 30, taker=Side.NO)) == [30]
    assert world.broker.resting()[0].remaining_cx == 70


def test_a_print_at_our_price_uses_up_the_queue_ahead_first() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(4_000, 300, taker=Side.NO)) == []
    assert world.ahead_cx() == 0
    assert filled(world.prints(4_000, 60, taker=Side.NO)) == [60]


def test_what_a_print_leaves_after_the_queue_fills_us_in_part() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    events = world.prints(4_000, 340, taker=Side.NO)
    assert filled(events) == [40]
    fill, order = events
    assert isinstance(fill, Fill)
    assert isinstance(order, Order)
    assert (order.status, order.filled_cx, order.remaining_cx) == (OrderStatus.RESTING, 40, 60)


def test_its_fee_is_unknown_and_not_zero() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    fill = world.prints(3_900, 100, taker=Side.NO)[0]
    assert isinstance(fill, Fill)
    assert fill.fee_ud is None


def test_a_no_order_is_met_by_takers_who_buy_yes() -> None:
    world = a_world()
    world.place(Side.NO, 5_800, 100)
    assert filled(world.prints(DOLLAR_CC - 5_800, 250, taker=Side.YES)) == [50]
    assert filled(world.prints(DOLLAR_CC - 5_700, 20, taker=Side.YES)) == [20]


def test_a_print_on_the_other_ladder_does_not_touch_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 500, taker=Side.YES)) == []


def test_a_print_at_a_better_price_than_ours_met_others() -> None:
    world = a_world()
    world.place(Side.YES, 3_900, 100)
    assert filled(world.prints(4_000, 900, taker=Side.NO)) == []
    assert world.ahead_cx() == 500


def test_a_print_from_before_we_rested_does_not_fill_us() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    assert filled(world.prints(3_900, 500, taker=Side.NO, after_us=0)) == []


def test_a_removal_limits_the_queue_ahead_once_no_print_has_explained_it() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    assert world.ahead_cx() == 300, "its print may still come"
    world.level(Side.YES, 3_900, 10, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_removal_and_its_print_move_the_queue_once() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, -200)
    assert filled(world.prints(4_000, 200, taker=Side.NO)) == []
    world.level(Side.YES, 3_900, 10, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 100


def test_a_removal_that_leaves_enough_behind_us_says_nothing_of_the_queue_ahead() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.level(Side.YES, 4_000, 500)
    world.level(Side.YES, 4_000, -400)
    world.level(Side.YES, 3_900, 10, after_us=PRINT_WAIT_US)
    assert world.ahead_cx() == 300


def test_a_snapshot_limits_the_queue_ahead_at_once() -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 100)
    world.book.replace([(4_000, 50)], [(5_800, 200)])
    snapshot = BookSnapshot(1, 1, 1, 1, world.time_us + 1, [(4_000, 50)], [(5_800, 200)])
    world.broker.on_event(snapshot, book=world.book, time_us=world.time_us + 1)
    assert world.ahead_cx() == 50


def test_a_decrease_keeps_the_place_in_the_queue() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100)
    world.prints(4_000, 120, taker=Side.NO)
    world.broker.execute(DecreaseOrder(order.client_order_id, 40), book=world.book, time_us=world.time_us)
    (view,) = world.broker.quote_views(world.book)
    assert (view.ahead_cx, view.remaining_cx, view.placed_cx) == (180, 40, 100)


def test_the_buffer_counts_better_prices_and_the_queue_ahead() -> None:
    world = a_world()
    world.place(Side.YES, 3_900, 100)
    (view,) = world.broker.quote_views(world.book)
    assert (view.ahead_cx, view.buffer_cx, view.ahead_is_estimate) == (500, 800, True)


def test_an_order_that_would_cross_is_refused_as_the_exchange_would() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_200, 100)
    assert (order.status, order.remaining_cx) == (OrderStatus.REFUSED, 0)
    assert world.broker.resting() == ()


def test_a_canceled_order_cannot_be_filled() -> None:
    world = a_world()
    order = world.place(Side.YES, 4_000, 100)
    world.broker.execute(CancelOrder(order.client_order_id, "test"), book=world.book, time_us=world.time_us)
    assert world.prints(3_900, 500, taker=Side.NO) == []


@given(st.lists(st.tuples(st.sampled_from([3_800, 3_900, 4_000, 4_100]), st.integers(1, 400)), max_size=12))
def test_it_never_fills_more_than_was_placed_or_printed(prints: list[tuple[int, int]]) -> None:
    world = a_world()
    world.place(Side.YES, 4_000, 250)
    total = 0
    for price_cc, count_cx in prints:
        part = sum(filled(world.prints(price_cc, count_cx, taker=Side.NO)))
        assert part <= count_cx
        total += part
    assert total <= 250
    assert total + sum(order.remaining_cx for order in world.broker.resting()) == 250


@pytest.mark.parametrize("side", list(Side))
def test_it_never_shows_up_in_the_book(side: Side) -> None:
    world = a_world()
    before = dict(world.book.levels[side])
    world.place(side, world.book.best_cc[side], 100)
    assert world.book.levels[side] == before
