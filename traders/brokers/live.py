"""Live orders behind the engine's broker: commands become intents, and the account's stream proves what became of them.

    engine ──command──► LiveOrders ──► intents ──► journal ──► Sender ──► venue
       ▲                    ▲  ▲                                  │
       └── orders, fills ───┘  └───── answers, looks ◄────────────┘
                            ▲
              kmm:account:{id} (desk)

It sends nothing itself and waits for nothing. Whoever runs it writes down what `take_intents` gives before he passes it
on to the sender. Only a start file with a grant in it gives a trader one (traders.liveside).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from feed.schema import (
    AccountBalance,
    AccountDifference,
    AccountEntry,
    AccountFill,
    AccountGroup,
    AccountHealth,
    AccountOrder,
    AccountPosition,
    AccountQueue,
    AccountUpdate,
    BookDelta,
    BookEvent,
    BookSnapshot,
    BookTrade,
    QuoteView,
)
from markets.core.book import OrderBook
from markets.core.fees import FeeTerms
from markets.core.settlement import Position
from markets.core.units import SIDES, Side, yes_price_cc
from traders.brokers.base import OrderEvent
from traders.brokers.paper import trade_maker_side
from traders.core.cash import AtRest, Cash, cash_for
from traders.core.commands import Command, PlaceOrder, TakeOrder
from traders.core.diff import InFlight
from traders.core.drift import Drift
from traders.core.exposure import Unproven
from traders.core.intents import Held, Intent
from traders.core.livealerts import Alert
from traders.core.liveorders import LiveOrders
from traders.core.livequeue import LiveQueue
from traders.core.orders import Fill, Order, OrderStatus, RestingQuote
from traders.core.ownbook import OwnBook

DESK_SILENT_US = 15_000_000
BLIND = "blind"
BY_OWNER = (
    "canceled"  # the venue gives no reason for a cancel by the account's owner (facts.md section 8), and we asked none
)
FILLS_KEPT = 10_000
FILLS_KEPT_OVER_RESTART = 500  # the stream tells those of half a minute again
PERSONS_MATTER = "a start under another grant takes it as it is"
EVERY_SIDE = frozenset(SIDES)


class LiveBroker:
    """The live orders of one trader in one market.

    Args:
        now_us: The exchange's time as far as it is known, by a clock that nobody sets back.
        exchange_index: The market's shard: its cash.
        held: What the trader holds, for the comparison with the account.
        outside: What of the account's position was not ours when that was last known.
        outside_us: When that was learnt; 0 is unknown.
        outside_fills: Order and trade ids of fills that are in that: they may be told again.
    """

    def __init__(
        self,
        live: LiveOrders,
        ticker: str,
        *,
        now_us: Callable[[], int],
        exchange_index: int,
        subaccount: int,
        held: Position,
        outside: Position | None = None,
        outside_us: int = 0,
        outside_fills: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.live = live
        # The sender's word, once there is one: on new orders, on decreases, on renewals.
        self.why_not_sending: Callable[[], str] = str
        self.why_not_decreasing: Callable[[], str] = str
        self.bars_decreases: Callable[[], bool] = bool  # for longer than it takes to wait for the budget
        self.why_not_renewing: Callable[[], str] = str
        # Called when somebody else canceled an order of ours: it may have been a cancel-all, which sweeps for a minute.
        self.on_swept: Callable[[], None] = _nobody
        self._ticker, self._now_us, self._exchange_index, self._subaccount = ticker, now_us, exchange_index, subaccount
        self._held = held
        self._drift = Drift(outside, outside_us=outside_us)
        self._book, self._book_is_good = OrderBook(), False
        self._own = OwnBook(self._is_ours)
        self._queue = LiveQueue(self._is_ours)
        self._alerts: list[Alert] = []
        self._intents: list[Intent] = []
        self._outside_fills: dict[tuple[str, str], None] = dict.fromkeys(outside_fills)
        self._elsewhere: dict[str, AccountOrder] = {}
        self._positions: dict[str, int] = {}
        self._balances: list[tuple[int, int]] | None = None
        self._cash = Cash(exchange_index, None)
        self._health: AccountHealth | None = None
        self._told_us: int | None = None
        self._is_over = False

    def _is_ours(self, client_order_id: str) -> bool:
        return self.live.owns(client_order_id, "")

    # --- what stands --------------------------------------------------------------------------------------------------

    def resting(self) -> tuple[RestingQuote, ...]:
        return self._queue.placed(self.live.resting())

    def in_flight(self) -> InFlight | None:
        """Return the sides on which a command of a kind has to wait: all of them for a change that would not leave.

        Nobody may ask for one again and again: each refusal would be written down, told, and decided on at once.
        """
        found = self.live.in_flight()
        if self._is_over or self.live.fenced or self.why_not_decreasing():
            return replace(found, amends=EVERY_SIDE, bars_decreases=self.bars_decreases())
        return replace(found, renewals=EVERY_SIDE) if self.why_not_renewing() else found

    def unproven(self) -> tuple[Unproven, ...]:
        return self.live.unproven()

    def outside(self) -> tuple[Unproven, ...]:
        return self.live.external()

    @property
    def is_taking(self) -> bool:
        return self.live.is_taking

    @property
    def cash(self) -> Cash:
        return self._cash

    @property
    def fenced(self) -> str:
        return self.live.fenced

    @property
    def stopped(self) -> str:
        if self._is_over:
            return "the trader ends"
        return (
            self.live.fenced or self.why_not_sending() or self._why_blind() or self._drift.why(self._held.position_cx)
        )

    def _why_blind(self) -> str:
        if self._told_us is None or self._health is None:
            return "nothing is known of the account yet"
        if self._now_us() - self._told_us >= DESK_SILENT_US:
            return "the account desk is silent"
        return f"the account cannot be read: {self._health.reason}" if self._health.state == BLIND else ""

    def others(self, book: OrderBook) -> OrderBook:
        self._book, self._book_is_good = book, True  # only who may trade on it asks
        return self._own.others(book, self._now_us())

    def on_book_lost(self) -> None:
        self._book_is_good = False

    @property
    def uncertain(self) -> frozenset[Side]:
        return self._own.unsure_touch(self._now_us())

    # --- what is asked ------------------------------------------------------------------------------------------------

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        del book, time_us  # the venue has its own
        if isinstance(command, PlaceOrder | TakeOrder) and self.stopped:
            return self._take()  # the limits say so before; this is the last look
        found = self.live.wish(command, self._now_us())
        if not isinstance(found, Held):
            self._intents.append(found)
        return self._take()

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        self._intents += self.live.cancel_all(reason, self._now_us())
        return self._take()

    def end(self, reason: str) -> list[OrderEvent]:
        self._is_over = True
        return self.cancel_all(reason)

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        now_us, self._book = self._now_us(), book
        match event:
            case BookSnapshot(conn, sid, generation, seq, at_us):
                if self._own.on_snapshot((conn, sid, generation), seq, book=book, now_us=now_us):
                    self._queue.on_snapshot(others=self._own.others(book, now_us), time_us=at_us)
            case BookDelta(seq, at_us, side, price_cc, delta_cx, name):
                self._own.on_delta(side, price_cc, delta_cx, name, seq=seq, book=book, now_us=now_us)
                is_exact = self._own.is_exact(side, price_cc, now_us)
                others = self._own.others(book, now_us)
                self._queue.on_delta(side, price_cc, delta_cx, name, others=others, is_exact=is_exact, time_us=at_us)
            case BookTrade(yes_price_cc=yes_cc, count_cx=count_cx):
                side_met = trade_maker_side(event)
                price_cc = yes_price_cc(side_met, yes_cc)
                self._own.on_print(side_met, price_cc, count_cx, now_us=now_us)
                self._queue.on_print(side_met, price_cc, count_cx, time_us=event.time_us)
        self._queue.settle(time_us)
        return self._take()

    def on_time(self, time_us: int) -> list[OrderEvent]:
        del time_us
        return self._take()

    def on_volume(self, volume_cx: int, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        del volume_cx, book, time_us  # the account tells of fills
        return []

    def on_fees(self, fees: FeeTerms | None) -> None:
        del fees  # each fill tells its own

    def take_intents(self) -> list[Intent]:
        """Return what has been wished since the last time: to be written down, then sent."""
        taken, self._intents = self._intents, []
        return taken

    def take_alerts(self) -> list[Alert]:
        """Return what a person should hear of."""
        taken, self._alerts = self._alerts, []
        return [*taken, *self.live.take_alerts(), *self._own.take_alerts(), *self._queue.take_alerts()]

    def _take(self) -> list[OrderEvent]:
        """Return what has become of orders, and let book and queue know of it."""
        taken = self.live.take()
        resting, in_flight = self.live.resting(), self.live.in_flight()
        leaving = in_flight.cancels | in_flight.amends
        self._own.on_orders(resting, self.live.unproven(), leaving=leaving, now_us=self._now_us())
        for event in taken:
            if isinstance(event, Order) and self._is_swept(event):
                self.on_swept()
            if isinstance(event, Fill):
                self._queue.on_fill(event.order.client_order_id)
                self._held = self._held.after(event.order.side, event.paid_cc, event.count_cx)
        if self._book_is_good:  # else an order that came would be placed by what is no longer so
            self._queue.on_orders(resting, others=self._own.others(self._book, self._now_us()))
        return taken

    def _is_swept(self, order: Order) -> bool:
        """Return whether somebody else canceled it; what rested before a takeover was pulled by that."""
        is_by_owner = order.status is OrderStatus.CANCELED and order.reason == BY_OWNER
        return is_by_owner and self.live.is_of_this_lease(order.client_order_id)

    # --- what the account tells ---------------------------------------------------------------------------------------

    def on_account(self, entries: Sequence[AccountEntry]) -> None:
        """Take in entries of the account's stream, in order."""
        for entry in entries:
            if entry.is_whole or self._told_us is not None:  # before a whole one nobody knows what is missing
                # By its own time: what is read first may be old, and its desk long gone.
                self._told_us = max(self._told_us or 0, min(entry.time_us, self._now_us()))
            if entry.is_whole:
                self._on_whole(entry)
            for update in entry.updates:
                self._on_update(update)
        orders = [
            AtRest(one.ticker, one.exchange_index, side, yes_price_cc(side, one.yes_price_cc), one.remaining_cx)
            for one in self._elsewhere.values()
            for side in (Side(one.side),)
        ]
        self._cash = cash_for(
            self._ticker, self._exchange_index, balances=self._balances, orders=orders, positions=self._positions
        )
        self._compare()

    def _on_whole(self, entry: AccountEntry) -> None:
        orders = [one for one in entry.updates if isinstance(one, AccountOrder) and one.subaccount == self._subaccount]
        self._elsewhere, self._positions = {}, {}
        here = [order for order in orders if order.ticker == self._ticker]
        self.live.on_whole(here, told_us=entry.time_us, now_us=self._now_us())
        held = {(one.ticker, one.subaccount) for one in entry.updates if isinstance(one, AccountPosition)}
        if (self._ticker, self._subaccount) not in held:
            self._drift = self._drift.on_position(0, 0, is_agreed=True)  # a whole entry leaves out what is flat

    def _on_update(self, update: AccountUpdate) -> None:
        now_us = self._now_us()
        match update:
            case AccountOrder(subaccount=self._subaccount):
                self._on_order(update, now_us)
            case AccountFill(subaccount=self._subaccount, ticker=self._ticker):
                self.live.on_fill(update, now_us)
                self._note_outside(update)
            case AccountGroup():
                self.live.on_group(update, now_us)
            case AccountBalance():
                self._balances = update.of(self._subaccount)
            case AccountPosition(subaccount=self._subaccount, ticker=self._ticker):
                self._drift = self._drift.on_position(update.position_cx, update.cost_ud, is_agreed=update.is_agreed)
            case AccountPosition(subaccount=self._subaccount, ticker=ticker, position_cx=position_cx):
                self._positions[ticker] = position_cx
            case AccountHealth():
                self._health = update
            case AccountDifference():
                self.live.suspect(now_us)  # something was not told: look at all that seems to rest
            case AccountQueue(ahead, as_of_us):
                self._on_queue(dict(ahead), as_of_us)

    def _on_queue(self, ahead: dict[str, int], as_of_us: int) -> None:
        positions = {
            quote.client_order_id: ahead[order_id]
            for quote in self.live.resting()
            if (order_id := self.live.order_id(quote.client_order_id)) in ahead
        }
        if self._book_is_good:
            self._queue.on_positions(positions, as_of_us, others=self._own.others(self._book, self._now_us()))

    def _on_order(self, order: AccountOrder, now_us: int) -> None:
        if order.ticker == self._ticker:
            self.live.on_order(order, now_us)
        elif order.is_complete:
            self._elsewhere.pop(order.order_id, None)
        else:
            self._elsewhere[order.order_id] = order

    def _note_outside(self, fill: AccountFill) -> None:
        """Count a fill of the account's other orders, once.

        Whose it is may be told later than the fill itself, and the position that holds it in between: the first
        position that is learnt holds every fill told before, whosever they are.
        """
        key = (fill.order_id, fill.trade_id)
        is_known = bool(fill.client_order_id) or fill.is_external is not None
        is_for_later = not is_known and self._drift.outside is not None
        if is_for_later or key in self._outside_fills or self.live.owns(fill.client_order_id, fill.order_id):
            return
        self._outside_fills[key] = None
        if len(self._outside_fills) > FILLS_KEPT:
            del self._outside_fills[next(iter(self._outside_fills))]
        side = Side(fill.side)
        price_cc = yes_price_cc(side, fill.yes_price_cc)
        self._drift = self._drift.on_outside_fill(side, price_cc, fill.count_cx, time_us=fill.time_us)

    def _compare(self) -> None:
        """Look whether the account's position is what fills explain; one that lasts has everything looked at."""
        now_us = self._now_us()
        is_settled = not self.live.unsettled()
        self._drift = self._drift.looked(self._held, is_settled=is_settled, now_us=now_us)
        if self._drift.is_news(now_us):
            self._drift = self._drift.told()
            self._alerts.append(Alert("POSITION_DRIFT", f"{self._drift.why(self._held.position_cx)}; {PERSONS_MATTER}"))
            self.live.suspect(now_us)

    # --- what is shown ------------------------------------------------------------------------------------------------

    @property
    def outside_held(self) -> Position | None:
        """What of the account's position is not ours; to be kept over a restart."""
        return self._drift.outside

    @property
    def outside_us(self) -> int:
        """When what is not ours was learnt."""
        return self._drift.outside_us

    @property
    def outside_fills(self) -> tuple[tuple[str, str], ...]:
        """The newest fills in that, to be kept with it."""
        return tuple(self._outside_fills)[-FILLS_KEPT_OVER_RESTART:]

    @property
    def has_drifted(self) -> bool:
        """Whether the account's position is not what fills explain, and somebody was told."""
        return self._drift.is_told

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        return [
            QuoteView(
                side=place.side,
                price_cc=place.price_cc,
                placed_cx=place.placed_cx,
                remaining_cx=place.remaining_cx,
                ahead_cx=place.ahead_cx,
                buffer_cx=place.buffer_cx,
                ahead_is_estimate=place.is_estimate,
            )
            for place in self._queue.places(self._own.others(book, self._now_us()))
        ]


def _nobody() -> None:
    """Tell nobody."""


def venue_clock(wall_us: int, monotonic_s: Callable[[], float]) -> Callable[[], int]:
    """Return a clock that starts at a wall time and runs by a monotonic one."""
    began_s = monotonic_s()
    return lambda: wall_us + round((monotonic_s() - began_s) * 1_000_000)
