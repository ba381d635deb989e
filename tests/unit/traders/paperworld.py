"""A book, a paper broker and exchange time, for the tests of paper orders."""

from __future__ import annotations

import itertools

from feed.schema import BookDelta, BookSnapshot, BookTrade
from markets.core.book import OrderBook
from markets.core.units import Side
from traders.brokers.base import OrderEvent
from traders.brokers.paper import PaperBroker, PaperSettings
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.inventory import Inventory
from traders.core.orders import Fill, Order, RestingQuote

AT_US = 1_000_000
STEP_US = 1_000
Levels = list[tuple[int, int]]


class World:
    """Exchange time steps with each event; what the broker says comes back and is kept in `events`."""

    def __init__(
        self, *, yes: Levels, no: Levels, settings: PaperSettings | None = None, inventory: Inventory | None = None
    ) -> None:
        self.book = OrderBook()
        self.book.replace(yes, no)
        numbers = itertools.count(1)
        self.broker = PaperBroker(
            lambda: f"order-{next(numbers)}", settings or PaperSettings(), inventory or Inventory()
        )
        self.time_us = AT_US
        self.trades = itertools.count(1)
        self.events: list[OrderEvent] = []

    def kept(self, events: list[OrderEvent]) -> list[OrderEvent]:
        self.events += events
        return events

    # --- what we ask --------------------------------------------------------------------------------------------------

    def execute(self, command) -> list[OrderEvent]:
        return self.kept(self.broker.execute(command, book=self.book, time_us=self.time_us))

    def place(self, side: Side, price_cc: int, count_cx: int, *, expires_us: int | None = None) -> Order:
        (order,) = self.execute(PlaceOrder(side, price_cc, count_cx, expires_us))
        assert isinstance(order, Order)
        return order

    def take(self, side: Side, limit_cc: int, count_cx: int) -> list[OrderEvent]:
        return self.execute(TakeOrder(side, limit_cc, count_cx))

    def cancel(self, order: Order) -> list[OrderEvent]:
        return self.execute(CancelOrder(order.client_order_id, "test"))

    def decrease(self, order: Order, remaining_cx: int) -> list[OrderEvent]:
        return self.execute(DecreaseOrder(order.client_order_id, remaining_cx))

    def renew(self, order: Order, expires_us: int) -> list[OrderEvent]:
        return self.execute(RenewOrder(order.client_order_id, expires_us))

    # --- what happens -------------------------------------------------------------------------------------------------

    def hear(self, event) -> list[OrderEvent]:
        return self.kept(self.broker.on_event(event, book=self.book, time_us=self.time_us))

    def prints(self, yes_price_cc: int, count_cx: int, taker: Side, *, after_us: int = STEP_US) -> list[OrderEvent]:
        self.time_us += after_us
        return self.hear(BookTrade(f"trade-{next(self.trades)}", self.time_us, yes_price_cc, count_cx, int(taker)))

    def level(self, side: Side, price_cc: int, delta_cx: int, *, after_us: int = STEP_US) -> list[OrderEvent]:
        self.time_us += after_us
        self.book.apply(side, price_cc, delta_cx)
        return self.hear(BookDelta(1, self.time_us, int(side), price_cc, delta_cx))

    def snapshot(self, *, yes: Levels, no: Levels, conn: int = 1, after_us: int = STEP_US) -> list[OrderEvent]:
        self.time_us += after_us
        self.book.replace(yes, no)
        return self.hear(BookSnapshot(conn, 1, 1, 1, self.time_us, yes, no))

    def ticker(self, volume_cx: int, *, after_us: int = STEP_US) -> list[OrderEvent]:
        self.time_us += after_us
        return self.kept(self.broker.on_volume(volume_cx, book=self.book, time_us=self.time_us))

    def passes(self, after_us: int) -> list[OrderEvent]:
        """Let time pass without anything in the market that concerns us."""
        return self.level(Side.YES, 100, 1, after_us=after_us)

    # --- what is to be seen -------------------------------------------------------------------------------------------

    def quote(self) -> RestingQuote:
        (quote,) = self.broker.resting()
        return quote

    def ahead_cx(self) -> int | None:
        return self.quote().ahead_cx


def a_world(
    settings: PaperSettings | None = None, inventory: Inventory | None = None, *, with_origin: bool = False
) -> World:
    """Return a market at 40 to 42 cents."""
    yes, no = [(4_000, 300), (3_900, 500)], [(5_800, 200), (5_700, 400)]
    world = World(yes=yes, no=no, settings=settings, inventory=inventory)
    if with_origin:
        world.snapshot(yes=yes, no=no)
    return world


def fills(events: list[OrderEvent]) -> list[Fill]:
    return [event for event in events if isinstance(event, Fill)]


def filled(events: list[OrderEvent]) -> list[int]:
    return [fill.count_cx for fill in fills(events)]


def orders(events: list[OrderEvent]) -> list[Order]:
    return [event for event in events if isinstance(event, Order)]


def ends(events: list[OrderEvent]) -> list[tuple[str, int, str]]:
    """Return status, filled count and reason of each order said."""
    return [(order.status.value, order.filled_cx, order.reason) for order in orders(events)]
