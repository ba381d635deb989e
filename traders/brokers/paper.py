"""Paper orders: never sent anywhere, filled only by what really traded.

This module imports no networking and holds no key: whatever it is told, nothing leaves the process.

    PlaceOrder ──latency──► rests behind what the book shows then, or is refused as the exchange would
    prints ───────────────► fill what rests                                           (traders.core.paperfills)
    TakeOrder  ──latency──► trades with the visible book, level by level             (traders.core.papertakes)
    Cancel, Decrease, Renew ──latency──► take effect; until then the order can still fill

An own paper order is never part of the displayed book, and never trades with another of ours. What is on its way counts
as done in `resting`, so that nobody asks for it twice; what it finds is the book after the last event up to the moment
of its arrival. Without latency it arrives at the exchange time of the newest event its decision saw, and only later
prints can reach it.

On a tape without a trade channel fills are known at the ticker that follows (`on_volume`), and are marked as inferred.
A cancel in between cannot undo them: what is undecided for an order is decided before the order changes.

Reasons of orders that end: `post-only: it would cross`, `post-only: it would meet our own`, `insufficient balance: …`,
`expired`, `nothing more in reach`, `it would meet our own`, or that of the cancel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec

from feed.schema import BookDelta, BookEvent, BookSnapshot, BookTrade, QuoteView
from markets.core.book import OrderBook
from markets.core.fees import DIRECT_PRECISION_UD, FeeTerms, OrderRounding
from markets.core.settlement import Position
from markets.core.units import DOLLAR_CC, SIDES, Side, yes_price_cc
from traders.brokers.base import OrderEvent
from traders.core.cash import Cash
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.diff import InFlight
from traders.core.exposure import Unproven
from traders.core.inventory import Inventory
from traders.core.orders import Fill, Order, OrderStatus, RestingQuote
from traders.core.paperfills import PRINT_WAIT_US, Hit, PaperQueue
from traders.core.papermoney import PaperMoney
from traders.core.paperorders import Change, Found, OnWay, PaperOrder, look
from traders.core.papertakes import Taken

__all__ = ["PRINT_WAIT_US", "PaperBroker", "PaperSettings", "trade_maker_side"]

ON_ITS_WAY = "on its way"
EXPIRED = "expired"
NEVER_US = 1 << 63


class PaperSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the paper exchange behaves.

    Attributes:
        latency_us: Exchange time from a decision to the moment when it takes effect.
        ambiguous_ahead_bps: Share of a cancel at our price taken to be ahead of us, where its size does not tell whose
            it was; None is pro rata, the queue ahead ÷ the level. Never more than the level leaves possible.
        fees: None while they are unknown: then every fill's fee is.
        cash_ud: What there was before the first fill; None is as much as it takes.
        precision_ud: The account's, for the rounding of fees.
        has_prints: Whether trades are told as they happen; False for a tape of the book and its tickers alone.
    """

    latency_us: Annotated[int, msgspec.Meta(ge=0)] = 0
    ambiguous_ahead_bps: Annotated[int, msgspec.Meta(ge=0, le=10_000)] | None = None
    fees: FeeTerms | None = None
    cash_ud: int | None = None
    precision_ud: Annotated[int, msgspec.Meta(gt=0)] = DIRECT_PRECISION_UD
    has_prints: bool = True


class PaperBroker:
    """Holds the paper orders of one market.

    The same calls give the same answers, to the byte, as long as `new_id` repeats its ids.

    Args:
        new_id: Makes client order ids; passed in so that a replay can repeat them.
        inventory: What the trader held before: for what its cash allows.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        settings: PaperSettings = PaperSettings(),  # noqa: B008 - frozen
        inventory: Inventory = Inventory(),  # noqa: B008 - frozen
    ) -> None:
        self._new_id = new_id
        self._settings = settings
        self._papers: dict[str, PaperOrder] = {}
        self._queue = PaperQueue(ahead_bps=settings.ambiguous_ahead_bps, has_prints=settings.has_prints)
        self._taken = Taken()
        self._money = PaperMoney(
            fees=settings.fees, cash_ud=settings.cash_ud, precision_ud=settings.precision_ud, inventory=inventory
        )
        self._on_way: deque[OnWay] = deque()
        self._time_us = 0
        self._due_us = 0  # nothing is due before then

    @property
    def inventory(self) -> Inventory:
        """What the trader holds after every fill told so far."""
        return self._money.inventory

    @property
    def cash_ud(self) -> int:
        return self._money.cash_ud

    def on_fees(self, fees: FeeTerms | None) -> None:
        self._money.fees = fees

    @property
    def cash(self) -> Cash:
        return Cash(0, self._money.cash_ud)

    fenced = stopped = ""  # nothing stands between a paper order and its exchange
    uncertain: frozenset[Side] = frozenset()

    def outside(self) -> tuple[Unproven, ...]:
        return ()

    outside_held: Position | None = Position()

    def others(self, book: OrderBook) -> OrderBook:
        return book

    def on_book_lost(self) -> None:
        """Fills come from prints alone, and each is an event."""

    # --- what stands --------------------------------------------------------------------------------------------------

    def resting(self) -> tuple[RestingQuote, ...]:
        """Return what rests once everything sent has arrived; `ahead_cx` is None for what has not."""
        return tuple([self._quote(paper) for paper in self._papers.values() if not paper.is_leaving])

    def _quote(self, paper: PaperOrder) -> RestingQuote:
        order, client_order_id = paper.order, paper.order.client_order_id
        if paper.is_at_rest:
            ahead_cx: int | None = self._queue.orders[client_order_id].place.ahead_cx
        else:
            ahead_cx = self._would_find_cx(client_order_id)
        return RestingQuote(
            client_order_id=client_order_id,
            side=order.side,
            price_cc=order.price_cc,
            remaining_cx=min(order.remaining_cx, paper.wanted_cx),
            ahead_cx=ahead_cx,
            rested_us=paper.rests_us,
            expires_us=paper.wanted_until_us,
        )

    def _would_find_cx(self, client_order_id: str) -> int | None:
        """Return what an order that is on its way would find ahead of it now."""
        ways = (way for way in self._on_way if way.client_order_id == client_order_id)
        return next((way.found.level_cx for way in ways if isinstance(way.command, PlaceOrder)), None)

    def in_flight(self) -> InFlight | None:
        """Return what has not landed, by side; None without latency, where nothing is ever on its way."""
        if not self._settings.latency_us and self._settings.has_prints:
            return None
        creates, cancels, amends = set(), set(), set()
        for way in self._on_way:
            if isinstance(way.command, PlaceOrder | TakeOrder):
                creates.add(way.command.side)
        for paper in self._papers.values():
            if paper.is_leaving:
                cancels.add(paper.order.side)
            elif paper.held or self._is_changing(paper):
                amends.add(paper.order.side)
        return InFlight(frozenset(creates), frozenset(cancels), frozenset(amends), is_taking=self.is_taking)

    def _is_changing(self, paper: PaperOrder) -> bool:
        client_order_id = paper.order.client_order_id
        return any(
            way.client_order_id == client_order_id and isinstance(way.command, DecreaseOrder | RenewOrder)
            for way in self._on_way
        )

    def unproven(self) -> tuple[Unproven, ...]:
        """Return what may fill until what was sent has landed."""
        found = []
        for paper in self._papers.values():
            order = paper.order
            left_cx = 0 if paper.is_leaving else paper.wanted_cx
            if order.remaining_cx > left_cx:
                found.append(Unproven(order.side, order.price_cc, order.remaining_cx - left_cx))
        if not self._on_way:
            return tuple(found)
        takes = (way.command for way in self._on_way if isinstance(way.command, TakeOrder))
        return (*found, *(Unproven(take.side, take.limit_cc, take.count_cx) for take in takes))

    @property
    def is_taking(self) -> bool:
        return any(isinstance(way.command, TakeOrder) for way in self._on_way)

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        views = []
        for order in sorted(self._standing(), key=lambda order: order.side):
            ahead_cx = self._queue.orders[order.client_order_id].place.ahead_cx
            views.append(
                QuoteView(
                    side=order.side,
                    price_cc=order.price_cc,
                    placed_cx=order.placed_cx,
                    remaining_cx=order.remaining_cx,
                    ahead_cx=ahead_cx,
                    buffer_cx=ahead_cx + book.better_cx(order.side, order.price_cc),
                    ahead_is_estimate=True,
                )
            )
        return views

    def _standing(self) -> Iterator[Order]:
        """Yield the orders that the exchange would hold, oldest first."""
        return (paper.order for paper in self._papers.values() if paper.is_at_rest and not paper.has_left)

    # --- what is asked ------------------------------------------------------------------------------------------------

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        events = self._until(time_us)
        if isinstance(command, PlaceOrder):
            return events + self._send_place(command, book)
        if isinstance(command, TakeOrder):
            return events + self._send_take(command, book)
        return events + self._send_change(command)

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        changes = [CancelOrder(client_order_id, reason) for client_order_id in self._papers]
        return [event for change in changes for event in self._send_change(change)]

    def end(self, reason: str) -> list[OrderEvent]:
        self._on_way.clear()
        return [self._cancel(paper, reason) for paper in list(self._papers.values())]

    def _send_place(self, command: PlaceOrder, book: OrderBook) -> list[OrderEvent]:
        order = Order.resting(self._new_id(), command.side, command.price_cc, command.count_cx)
        way = OnWay(self._arrival_us(), command, order.client_order_id, look(command, book))
        until_us = command.expires_us
        self._papers[order.client_order_id] = PaperOrder(order, way.at_us, until_us, until_us, order.placed_cx)
        return self._send(way) or [msgspec.structs.replace(order, reason=ON_ITS_WAY)]

    def _send_take(self, command: TakeOrder, book: OrderBook) -> list[OrderEvent]:
        if self.is_taking:
            return []  # what it will have traded is not known yet: a second one might trade it again
        return self._send(OnWay(self._arrival_us(), command, self._new_id(), look(command, book)))

    def _send_change(self, command: Change) -> list[OrderEvent]:
        paper = self._papers.get(command.client_order_id)
        if paper is None or paper.is_leaving:
            return []  # it is over, or will be: nothing is left to change
        if isinstance(command, CancelOrder):
            paper.is_leaving = True
        elif isinstance(command, DecreaseOrder):
            paper.wanted_cx = min(paper.wanted_cx, paper.order.decreased_to(command.remaining_cx).remaining_cx)
        else:
            paper.wanted_until_us = command.expires_us
        return self._send(OnWay(self._arrival_us(), command, command.client_order_id))

    def _arrival_us(self) -> int:
        return self._time_us + self._settings.latency_us

    def _send(self, way: OnWay) -> list[OrderEvent]:
        self._due_us = 0
        if not self._settings.latency_us:
            return self._arrive(way)
        self._on_way.append(way)
        return []

    # --- what takes effect --------------------------------------------------------------------------------------------

    def on_time(self, time_us: int) -> list[OrderEvent]:
        events = self._until(time_us) if time_us > self._time_us or self._due_us < self._time_us else []
        self._queue.settle(self._time_us)
        return events

    def _until(self, time_us: int) -> list[OrderEvent]:
        """Let everything happen that is due before `time_us`: what happens at that very moment was not seen by it."""
        self._time_us = max(self._time_us, time_us)
        events: list[OrderEvent] = []
        while self._due_us < self._time_us:
            arrival_us = self._on_way[0].at_us if self._on_way else NEVER_US
            expiry_us, expiring = self._next_expiry()
            self._due_us = min(arrival_us, expiry_us)
            if self._due_us >= self._time_us:
                break
            if arrival_us <= expiry_us:
                events += self._arrive(self._on_way.popleft())
            else:
                events += self._change(CancelOrder(expiring, EXPIRED))
        return events

    def _next_expiry(self) -> tuple[int, str]:
        expiry_us, expiring = NEVER_US, ""
        for client_order_id, paper in self._papers.items():
            end_us = paper.expires_us
            if end_us is not None and end_us < expiry_us and paper.is_at_rest and not paper.has_left:
                expiry_us, expiring = end_us, client_order_id
        return expiry_us, expiring

    def _arrive(self, way: OnWay) -> list[OrderEvent]:
        if isinstance(way.command, PlaceOrder):
            return self._rest(way, self._papers[way.client_order_id])
        if isinstance(way.command, TakeOrder):
            return self._take(way, way.command)
        return self._change(way.command)

    def _rest(self, way: OnWay, paper: PaperOrder) -> list[OrderEvent]:
        order, found = paper.order, way.found
        refusal = self._why_not(order, found, is_past=paper.expires_us is not None and paper.expires_us <= way.at_us)
        if refusal:
            del self._papers[way.client_order_id]
            return [order.ended(OrderStatus.REFUSED, refusal)]
        level = (order.side, order.price_cc)
        self._queue.join(
            way.client_order_id, level, order.remaining_cx,
            level_cx=found.level_cx, better_cx=found.better_cx, time_us=way.at_us,
        )  # fmt: skip
        paper.is_at_rest = True
        return [order]

    def _why_not(self, order: Order, found: Found, *, is_past: bool) -> str:
        """Return why the exchange would refuse an order that shall rest; empty when it would not."""
        if found.opposite_cc and order.price_cc + found.opposite_cc >= DOLLAR_CC:
            return "post-only: it would cross"
        own = self._own_best(order.side.other)
        if own and order.price_cc + own[0] >= DOLLAR_CC:
            return "post-only: it would meet our own"
        return EXPIRED if is_past else self._money.why_too_dear(order, list(self._standing()))

    def _own_best(self, side: Side) -> tuple[int, int] | None:
        """Return the price of our best order on a side, and others' contracts ahead of it."""
        places = (
            (order.price_cc, -self._queue.orders[order.client_order_id].place.ahead_cx)
            for order in self._standing()
            if order.side is side
        )
        best = max(places, default=None)
        return best and (best[0], -best[1])

    def _change(self, command: Change) -> list[OrderEvent]:
        paper = self._papers.get(command.client_order_id)
        if paper is None or paper.has_left:
            return []  # it filled, expired or was refused meanwhile
        if not paper.held and not self._queue.is_undecided(command.client_order_id):
            return self._apply(paper, command)
        paper.held.append((self._queue.next_number(), command))
        if isinstance(command, CancelOrder):
            paper.is_leaving = paper.has_left = True
        return []

    def _apply(self, paper: PaperOrder, command: Change) -> list[OrderEvent]:
        if isinstance(command, CancelOrder):
            return [self._cancel(paper, command.reason)]
        if isinstance(command, RenewOrder):
            paper.expires_us, self._due_us = command.expires_us, 0
            return []
        if command.remaining_cx >= paper.order.remaining_cx:
            return []  # fills have been faster
        paper.order = paper.order.decreased_to(command.remaining_cx)
        self._queue.resize(command.client_order_id, command.remaining_cx)
        return [paper.order]

    def _cancel(self, paper: PaperOrder, reason: str) -> Order:
        self._drop(paper)
        return paper.order.ended(OrderStatus.CANCELED, reason)

    def _drop(self, paper: PaperOrder) -> None:
        del self._papers[paper.order.client_order_id]
        if paper.is_at_rest:
            self._queue.leave(paper.order.client_order_id)

    # --- what trades --------------------------------------------------------------------------------------------------

    def _take(self, way: OnWay, command: TakeOrder) -> list[OrderEvent]:
        """Trade with what is in reach; what cannot be had is canceled."""
        order = Order.resting(way.client_order_id, command.side, command.limit_cc, command.count_cx)
        refusal = self._money.why_too_dear(order, list(self._standing()))
        if refusal:
            return [order.ended(OrderStatus.REFUSED, refusal)]
        own = self._own_best(order.side.other)
        trades = self._taken.walk(order.side, way.found.reach, order.remaining_cx, own=own)
        events: list[OrderEvent] = []
        rounding = OrderRounding()
        for number, (level_cc, count_cx) in enumerate(trades, start=1):
            order, price_cc = order.after_fill(count_cx), DOLLAR_CC - level_cc
            fee_ud, rounding = self._money.charge(rounding, price_cc, count_cx, way.at_us, is_taker=True)
            trade_id = f"{order.client_order_id}-{number}"
            fill = Fill(order, trade_id, count_cx, is_taker=True, fee_ud=fee_ud, price_cc=price_cc)
            events.append(self._money.book(fill))
        if order.remaining_cx:
            meets_own = own is not None and own[0] + order.price_cc >= DOLLAR_CC
            reason = "it would meet our own" if meets_own else "nothing more in reach"
            order = order.ended(OrderStatus.CANCELED, reason)
        return [*events, order]

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        events = self.on_time(time_us)
        if isinstance(event, BookDelta):
            level = (SIDES[event.side], event.price_cc)
            self._queue.on_delta(level, event.delta_cx, book=book, time_us=event.time_us)
            self._taken.on_delta(level)
        elif isinstance(event, BookTrade):
            events += self._on_print(event)
        elif isinstance(event, BookSnapshot):
            self._queue.on_snapshot((event.conn, event.sid, event.generation), book=book)
            self._taken.on_snapshot(book)
            events += self._release(self._queue.first_undecided)
        for way in self._on_way:
            way.found = look(way.command, book)
        return events

    def _on_print(self, trade: BookTrade) -> list[OrderEvent]:
        if not self._settings.has_prints:
            return []  # the ticker's volume contains it
        side = trade_maker_side(trade)
        level = (side, yes_price_cc(side, trade.yes_price_cc))
        hits = self._queue.on_print(level, trade.count_cx, time_us=trade.time_us)
        return self._fill(hits, trade.trade_id, trade.time_us)

    def _fill(self, hits: list[Hit], trade_id: str, at_us: int, *, inferred: bool = False) -> list[OrderEvent]:
        events: list[OrderEvent] = []
        for hit in hits:
            paper = self._papers[hit.key]
            order = paper.order = paper.order.after_fill(hit.count_cx)
            fee_ud, paper.rounding = self._money.charge(
                paper.rounding, order.price_cc, hit.count_cx, at_us, is_taker=False
            )
            fill = Fill(order, trade_id, hit.count_cx, is_taker=False, fee_ud=fee_ud, inferred=inferred)
            events += [self._money.book(fill), order]
            if not order.remaining_cx:
                self._drop(paper)
        return events

    def on_volume(self, volume_cx: int, *, book: OrderBook, time_us: int) -> list[OrderEvent]:  # noqa: ARG002
        events = self._until(time_us)
        if self._settings.has_prints:
            return events
        for removal, traded_cx in self._queue.on_volume(volume_cx, time_us=time_us):
            events += self._release(removal.number)
            hits = self._queue.decide(removal, traded_cx)
            events += self._fill(hits, f"ticker-{time_us}-{removal.number}", removal.time_us, inferred=True)
        return events + self._release(self._queue.first_undecided)

    def _release(self, number: int | None) -> list[OrderEvent]:
        """Carry out what was held and happened before `number`; all of it when that is None."""
        events: list[OrderEvent] = []
        for paper in list(self._papers.values()):
            while paper.held and (number is None or paper.held[0][0] < number):
                events += self._apply(paper, paper.held.popleft()[1])
        return events


def trade_maker_side(trade: BookTrade) -> Side:
    """Return the ladder whose resting orders a print met."""
    return Side(trade.taker_side).other
