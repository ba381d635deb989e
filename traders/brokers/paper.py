"""Paper orders: never sent anywhere, filled only by what really traded.

    print through our price     fills us, up to the print's size: whoever stood at our price was met before
    print at our price          uses up the queue ahead first; what is left of the print fills us
    removal at our price        waits for its print; without one in 250 ms of exchange time it was a cancel, and no
                                more can be ahead of us than the level still shows

A print hits the ladder opposite to the one its taker bought on. An own paper order is never part of the displayed
book. Fees are unknown here, so they are None. There is no latency: an order rests at the exchange time of the
newest event its decision saw, and only later prints can reach it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from feed.schema import BookDelta, BookEvent, BookSnapshot, BookTrade, QuoteView
from markets.core.book import OrderBook
from markets.core.queue import QueuePlace
from markets.core.units import DOLLAR_CC, Side, yes_price_cc
from traders.brokers.base import OrderEvent
from traders.core.diff import CancelOrder, Command, DecreaseOrder, PlaceOrder
from traders.core.orders import Fill, Order, OrderStatus, RestingQuote

PRINT_WAIT_US = 250_000  # a removal may come before the print that explains it


class _Removal(msgspec.Struct):
    """Contracts that left our level and that no print has explained yet."""

    time_us: int
    count_cx: int


class _Paper(msgspec.Struct):
    """One paper order with its estimated place; `rested_us` is exchange time."""

    order: Order
    place: QueuePlace
    rested_us: int
    removals: deque[_Removal]


class PaperBroker:
    """Holds the paper orders of one market.

    Args:
        new_id: Makes client order ids; passed in so that a replay can repeat them.
    """

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._orders: dict[str, _Paper] = {}

    def resting(self) -> tuple[RestingQuote, ...]:
        return tuple(
            RestingQuote(o.client_order_id, o.side, o.price_cc, o.remaining_cx)
            for o in (paper.order for paper in self._orders.values())
        )

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        if isinstance(command, PlaceOrder):
            return [self._place(command, book, time_us)]
        if isinstance(command, CancelOrder):
            return [self._cancel(command.client_order_id, command.reason)]
        return [self._decrease(command)]

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        return [self._cancel(client_order_id, reason) for client_order_id in list(self._orders)]

    def _place(self, command: PlaceOrder, book: OrderBook, time_us: int) -> Order:
        side, price = command.side, command.price_cc
        order = Order.resting(self._new_id(), side, price, command.count_cx)
        opposite = book.best_cc[side.other]
        if opposite and price + opposite >= DOLLAR_CC:
            # Every quote is post-only; the exchange would refuse it too.
            return order.ended(OrderStatus.REFUSED, "post-only: it would cross")
        place = QueuePlace.at_rest(level_cx=book.size_cx(side, price), better_cx=book.better_cx(side, price))
        self._orders[order.client_order_id] = _Paper(order, place, time_us, deque())
        return order

    def _cancel(self, client_order_id: str, reason: str) -> Order:
        return self._orders.pop(client_order_id).order.ended(OrderStatus.CANCELED, reason)

    def _decrease(self, command: DecreaseOrder) -> Order:
        paper = self._orders[command.client_order_id]
        paper.order = paper.order.decreased_to(command.remaining_cx)
        return paper.order

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        if isinstance(event, BookTrade):
            return self._on_print(event, book, time_us)
        for paper in self._orders.values():
            if isinstance(event, BookSnapshot):
                paper.removals.clear()
            elif isinstance(event, BookDelta):
                _note_removal(paper, event)
            _settle_removals(paper, book, time_us)
        return []

    def _on_print(self, trade: BookTrade, book: OrderBook, time_us: int) -> list[OrderEvent]:
        events: list[OrderEvent] = []
        left_cx = trade.count_cx
        for paper in list(self._orders.values()):
            if paper.order.side is trade_maker_side(trade) and trade.time_us > paper.rested_us:
                filled_cx = _reached_by(paper, trade, left_cx)
                left_cx -= filled_cx
                events += self._fill(paper, trade.trade_id, filled_cx)
            _settle_removals(paper, book, time_us)
        return events

    def _fill(self, paper: _Paper, trade_id: str, count_cx: int) -> list[OrderEvent]:
        if not count_cx:
            return []
        paper.order = paper.order.after_fill(count_cx)
        if not paper.order.remaining_cx:
            del self._orders[paper.order.client_order_id]
        return [Fill(paper.order, trade_id, count_cx, is_taker=False, fee_ud=None), paper.order]

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        return [
            QuoteView(
                side=paper.order.side,
                price_cc=paper.order.price_cc,
                placed_cx=paper.order.placed_cx,
                remaining_cx=paper.order.remaining_cx,
                ahead_cx=paper.place.ahead_cx,
                buffer_cx=paper.place.ahead_cx + book.better_cx(paper.order.side, paper.order.price_cc),
                ahead_is_estimate=True,
            )
            for paper in sorted(self._orders.values(), key=lambda paper: paper.order.side)
        ]


def trade_maker_side(trade: BookTrade) -> Side:
    """Return the ladder whose resting orders a print met."""
    return Side(trade.taker_side).other


def _reached_by(paper: _Paper, trade: BookTrade, count_cx: int) -> int:
    """Return how much of `count_cx` of a print fills the order, moving its place in the queue."""
    order = paper.order
    price_cc = yes_price_cc(order.side, trade.yes_price_cc)
    if price_cc > order.price_cc:
        return 0  # it met better orders
    if price_cc < order.price_cc:
        paper.place = msgspec.structs.replace(paper.place, ahead_cx=0)
        return min(order.remaining_cx, count_cx)
    _explain_removals(paper, count_cx)
    paper.place, reached_cx = paper.place.after_print(count_cx)
    return min(order.remaining_cx, reached_cx)


def _note_removal(paper: _Paper, delta: BookDelta) -> None:
    if delta.delta_cx < 0 and (delta.side, delta.price_cc) == (paper.order.side, paper.order.price_cc):
        paper.removals.append(_Removal(delta.time_us, -delta.delta_cx))


def _explain_removals(paper: _Paper, count_cx: int) -> None:
    while count_cx and paper.removals:
        oldest = paper.removals[0]
        explained = min(oldest.count_cx, count_cx)
        oldest.count_cx -= explained
        count_cx -= explained
        if not oldest.count_cx:
            paper.removals.popleft()


def _settle_removals(paper: _Paper, book: OrderBook, time_us: int) -> None:
    """Count removals without a print as cancels once they have waited, and limit the queue ahead by the level."""
    while paper.removals and time_us - paper.removals[0].time_us >= PRINT_WAIT_US:
        paper.removals.popleft()
    shown_cx = book.size_cx(paper.order.side, paper.order.price_cc)
    waiting_cx = sum(removal.count_cx for removal in paper.removals)
    paper.place = paper.place.after_level(shown_cx + waiting_cx)
