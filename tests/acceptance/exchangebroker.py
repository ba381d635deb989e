"""Real orders on the local exchange, in process: the broker of the arm that paper is held against.

It stands where the production broker (traders.brokers.live) stands in a live trader, and is as short as it can be: a
command takes effect in the world `latency_us` after it was sent, and what becomes of an order is known at once, as
paper knows it. There is no order group, no lost answer and no rate limit here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec

from feed.exchange.trading.accounts import CANCELED, Account
from feed.exchange.trading.orders import GTC, IOC, STP_TAKER, Amendment, Decrease, NewOrder, Refusal
from feed.exchange.world import World
from feed.schema import BookEvent, QuoteView
from markets.core.book import OrderBook
from markets.core.fees import FeeTerms
from markets.core.settlement import Position
from markets.core.units import Side, yes_price_cc
from traders.brokers.base import Broker, OrderEvent
from traders.core.cash import Cash
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.diff import InFlight
from traders.core.exposure import Unproven
from traders.core.orders import Fill, Order, OrderStatus, RestingQuote

SHARD = 0


class Sent(msgspec.Struct):
    """One order of ours from the moment it is sent.

    Attributes:
        order: As it was told last.
        venue_id: The exchange's; empty while it is on its way.
        wanted_cx: What of it shall remain once everything sent has arrived.
        changes: Decreases and renewals on their way.
        reason: Why it is to be canceled.
    """

    order: Order
    rests_us: int
    wanted_cx: int
    expires_us: int | None
    venue_id: str = ""
    is_take: bool = False
    is_leaving: bool = False
    changes: int = 0
    reason: str = ""


class ExchangeBroker(Broker):
    """Holds the real orders of one market, in an account of its own."""

    fenced = stopped = ""
    uncertain: frozenset[Side] = frozenset()

    def __init__(self, world: World, ticker: str, *, latency_us: int) -> None:
        self._world, self._market = world, world.markets[ticker]
        self.account: Account = world.account(f"ours-{ticker}")
        self._latency_us = latency_us
        self._sent: dict[str, Sent] = {}
        self._by_venue_id: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._fills = len(self.account.fills)
        self._untold: list[OrderEvent] = []

    # --- what stands --------------------------------------------------------------------------------------------------

    def resting(self) -> tuple[RestingQuote, ...]:
        return tuple(self._quote(sent) for sent in self._sent.values() if not sent.is_leaving and not sent.is_take)

    def _quote(self, sent: Sent) -> RestingQuote:
        order = sent.order
        return RestingQuote(
            client_order_id=order.client_order_id,
            side=order.side,
            price_cc=order.price_cc,
            remaining_cx=min(order.remaining_cx, sent.wanted_cx),
            ahead_cx=self._ahead_cx(sent),
            rested_us=sent.rests_us,
            expires_us=sent.expires_us,
        )

    def _ahead_cx(self, sent: Sent) -> int:
        """Return others' contracts ahead of an order; of one that has not arrived, those it would find now."""
        if sent.venue_id in self._market.book:
            return self.ahead_cx(sent.venue_id)
        return self.others_cx(sent.order.side, sent.order.price_cc)

    def standing(self) -> list[tuple[Order, int]]:
        """Return what rests at the exchange now, oldest first, each with others' contracts ahead of it."""
        return [
            (sent.order, self.ahead_cx(sent.venue_id))
            for sent in self._sent.values()
            if sent.venue_id in self._market.book
        ]

    def ahead_cx(self, venue_id: str) -> int:
        """Return the others' contracts that truly match before an order at its price."""
        order = self._market.book.get(venue_id)
        assert order is not None
        ahead_cx = self._market.ahead_cx(venue_id)
        for own in self.account.open.values():
            if own.order_id == venue_id:
                break
            if (own.side, own.price_cc) == (order.side, order.price_cc):
                ahead_cx -= own.remaining_cx
        return ahead_cx

    def others_cx(self, side: Side, price_cc: int) -> int:
        """Return what others show at a level."""
        return self._market.size_cx(side, price_cc) - self.own_cx(side, price_cc)

    def own_cx(self, side: Side, price_cc: int) -> int:
        """Return what of a level is ours."""
        return sum(o.remaining_cx for o in self.account.open.values() if (o.side, o.price_cc) == (side, price_cc))

    def in_flight(self) -> InFlight | None:
        creates, cancels, amends = set(), set(), set()
        for sent in self._sent.values():
            if not sent.venue_id:
                creates.add(sent.order.side)
            if sent.is_leaving:
                cancels.add(sent.order.side)
            elif sent.changes:
                amends.add(sent.order.side)
        return InFlight(frozenset(creates), frozenset(cancels), frozenset(amends))

    def unproven(self) -> tuple[Unproven, ...]:
        found = []
        for sent in self._sent.values():
            left_cx = 0 if sent.is_leaving or sent.is_take else min(sent.order.remaining_cx, sent.wanted_cx)
            if sent.order.remaining_cx > left_cx:
                found.append(Unproven(sent.order.side, sent.order.price_cc, sent.order.remaining_cx - left_cx))
        return tuple(found)

    @property
    def cash(self) -> Cash:
        return Cash(SHARD, self.account.balance_ud(SHARD))

    @property
    def is_taking(self) -> bool:
        return any(sent.is_take for sent in self._sent.values())

    def outside(self) -> tuple[Unproven, ...]:
        return ()

    outside_held: Position | None = Position()

    def others(self, book: OrderBook) -> OrderBook:
        return book  # whoever plays the feed has taken our own orders off

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        return []

    # --- what is asked ------------------------------------------------------------------------------------------------

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        if isinstance(command, PlaceOrder | TakeOrder):
            return [*self.news(), *self._send_new(command)]
        sent = self._sent.get(command.client_order_id)
        if sent is None or sent.is_leaving:
            return self.news()
        if isinstance(command, CancelOrder):
            sent.is_leaving, sent.reason = True, command.reason
            self._later(lambda: self._cancel(sent))
        elif isinstance(command, DecreaseOrder):
            sent.wanted_cx = min(sent.wanted_cx, command.remaining_cx)
            sent.changes += 1
            self._later(lambda: self._decrease(sent, command.remaining_cx))
        else:
            sent.expires_us = command.expires_us
            sent.changes += 1
            self._later(lambda: self._renew(sent, command))
        return self.news()

    def _send_new(self, command: PlaceOrder | TakeOrder) -> list[OrderEvent]:
        is_take = isinstance(command, TakeOrder)
        price_cc = command.limit_cc if isinstance(command, TakeOrder) else command.price_cc
        client_order_id = f"real-{next(self._numbers)}"
        order = Order.resting(client_order_id, command.side, price_cc, command.count_cx)
        expires_us = command.expires_us if isinstance(command, PlaceOrder) else None
        sent = Sent(order, self._world.now_us + self._latency_us, order.placed_cx, expires_us, is_take=is_take)
        self._sent[client_order_id] = sent
        self._later(lambda: self._create(sent))
        return [] if is_take else [msgspec.structs.replace(order, reason="on its way")]

    def _later(self, action: Callable[[], None]) -> None:
        self._world.schedule(self._world.now_us + self._latency_us, action)

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        for sent in self._sent.values():
            if not sent.is_leaving and not sent.is_take:
                sent.is_leaving, sent.reason = True, reason
                self._later(lambda sent=sent: self._cancel(sent))
        return self.news()

    def end(self, reason: str) -> list[OrderEvent]:
        self.cancel_all(reason)
        return self.news()

    # --- what takes effect --------------------------------------------------------------------------------------------

    def _create(self, sent: Sent) -> None:
        order = sent.order
        result = self._world.entry.place(
            self.account,
            NewOrder(
                ticker=self._market.ticker,
                side=order.side,
                count_cx=order.placed_cx,
                yes_price_cc=yes_price_cc(order.side, order.price_cc),
                time_in_force=IOC if sent.is_take else GTC,
                self_trade_prevention=STP_TAKER,
                client_order_id=order.client_order_id,
                expires_us=sent.expires_us,
                post_only=not sent.is_take,
            ),
        )
        if isinstance(result, Refusal):
            del self._sent[order.client_order_id]
            self._untold.append(order.ended(OrderStatus.REFUSED, result.details or result.code))
            return
        sent.venue_id = result.order.order_id
        sent.order = msgspec.structs.replace(order, order_id=sent.venue_id)
        self._by_venue_id[sent.venue_id] = order.client_order_id
        if not sent.is_take:
            self._untold.append(sent.order)

    def _cancel(self, sent: Sent) -> None:
        if sent.venue_id in self.account.open:
            self._world.entry.cancel_by_id(self.account, sent.venue_id)

    def _decrease(self, sent: Sent, remaining_cx: int) -> None:
        sent.changes -= 1
        order = self.account.open.get(sent.venue_id)
        if order is not None and remaining_cx < order.remaining_cx:
            self._world.entry.decrease(self.account, sent.venue_id, Decrease(to_cx=remaining_cx))
            self.gather()
            sent.order = sent.order.decreased_to(remaining_cx)
            self._untold.append(sent.order)

    def _renew(self, sent: Sent, command: RenewOrder) -> None:
        sent.changes -= 1
        order = self.account.open.get(sent.venue_id)
        if order is None:
            return
        total_cx = order.fill_cx + order.remaining_cx
        request = Amendment(
            ticker=order.ticker,
            side=order.side,
            yes_price_cc=order.yes_price_cc,
            total_cx=total_cx,
            expires_us=command.expires_us,
        )
        self._world.entry.amend(self.account, sent.venue_id, request)

    # --- what is told -------------------------------------------------------------------------------------------------

    def news(self) -> list[OrderEvent]:
        """Return what has become of orders since the last call, in order."""
        self.gather()
        told, self._untold = self._untold, []
        return told

    def gather(self) -> None:
        """Read the account's fills and ends as its private channels tell them."""
        for fill in self.account.fills[self._fills :]:
            self._fills += 1
            sent = self._sent[self._by_venue_id[fill.order_id]]
            sent.order = sent.order.after_fill(fill.count_cx)
            paid_cc = yes_price_cc(fill.side, fill.yes_price_cc)
            self._untold.append(
                Fill(sent.order, fill.trade_id, fill.count_cx, fill.is_taker, fill.fee_ud, price_cc=paid_cc)
            )
            if not sent.is_take or not sent.order.remaining_cx:
                self._untold.append(sent.order)
        for client_order_id, sent in list(self._sent.items()):
            if not sent.venue_id or sent.venue_id in self.account.open:
                continue
            del self._sent[client_order_id]
            if sent.order.remaining_cx:
                at_venue = self.account.orders[sent.venue_id]
                assert at_venue.status == CANCELED
                reason = sent.reason or at_venue.reason or ("nothing more in reach" if sent.is_take else "canceled")
                self._untold.append(sent.order.ended(OrderStatus.CANCELED, reason))

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        return self.news()

    def on_book_lost(self) -> None:
        pass  # nothing here is reckoned from the book

    def on_time(self, time_us: int) -> list[OrderEvent]:
        return self.news()

    def on_volume(self, volume_cx: int, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        return []

    def on_fees(self, fees: FeeTerms | None) -> None:
        del fees
