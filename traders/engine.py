"""The decision of one trader, the same for every broker, clock and source of events.

    book event → FeedView → MarketView → placement.quotes() → diff against resting → broker

The engine takes time and events as values and returns what happened as journal bodies; it never waits and never
sends. Whoever runs it writes the bodies down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from feed.schema import (
    BookEvent,
    Decision,
    FeedState,
    FillState,
    JournalBody,
    OrderState,
    StateChange,
    TraderView,
)
from markets.core.grid import PriceGrid
from traders.brokers.base import Broker, OrderEvent
from traders.core.diff import diff
from traders.core.inventory import Inventory
from traders.core.orders import Fill, Order
from traders.core.registry import Placement
from traders.core.types import MarketView, Quotes, TraderState
from traders.feedview import FeedView

MID_UPDATE_MAX_S = 0.25  # a book crossed for longer than this is not merely between two messages
REPEAT_DECISION_S = 60.0
CLOSED = "market closed"


class Now(msgspec.Struct, frozen=True):
    """One moment on both clocks: microseconds since 1970, and monotonic seconds for ages."""

    wall_us: int
    monotonic_s: float


class Setup(msgspec.Struct, frozen=True):
    """What one trader is told to do; fixed while it runs."""

    trader: int
    ticker: str
    mode: str
    placement: Placement
    params: msgspec.Struct
    grid: PriceGrid
    close_time_us: int


class Engine:
    """State machine of one trader.

    starting ──valid book──► quoting ◄──resume/pause──► paused ──► draining ──► stopped
    """

    def __init__(self, setup: Setup, broker: Broker, *, inventory: Inventory, is_paused: bool) -> None:
        self.view = FeedView()
        self.inventory = inventory
        self.state = "starting"
        self.why = "starting"
        self._setup = setup
        self._broker = broker
        self._paused_by = "the desired state" if is_paused else ""
        self._crossed_at: tuple[int, float] | None = None
        self._written: tuple[str, float] | None = None
        self._repeats = 0

    # What comes in

    def on_feed(self, feed: FeedState, now: Now) -> None:
        self.view.on_feed(feed, now.monotonic_s)

    def on_events(self, events: Sequence[BookEvent]) -> list[JournalBody]:
        """Apply market events in order, each once; the moment a book breaks, nothing stays resting on it."""
        bodies: list[JournalBody] = []
        for event in events:
            if not self.view.on_event(event):
                continue
            if self.view.broken:
                bodies += self._book(self._broker.cancel_all(f"book lost: {self.view.broken}"))
            else:
                happened = self._broker.on_event(event, book=self.view.book, time_us=self.view.time_us)
                bodies += self._book(happened)
        return bodies

    def lose_book(self, reason: str) -> list[JournalBody]:
        """Distrust the book until the next snapshot, and cancel."""
        self.view.lose(reason)
        return self._book(self._broker.cancel_all(f"book lost: {reason}"))

    def pause(self, by: str, now: Now) -> list[JournalBody]:
        self._paused_by = by
        return self.decide(now)

    def resume(self, now: Now) -> list[JournalBody]:
        self._paused_by = ""
        return self.decide(now)

    # What is decided

    def decide(self, now: Now) -> list[JournalBody]:
        """Look at the market once and act; also called when nothing came, because time alone can end a quote."""
        if self.state in ("draining", "stopped"):
            return []
        must_cancel = bool(self._paused_by) or self.is_closed(now)  # whatever the book looks like
        if self._is_mid_update(now) and not must_cancel:
            return []
        is_valid = not self.view.why_invalid(now.monotonic_s)
        bodies = self._change_state(self._next_state(is_valid=is_valid), "")
        wanted = self._wanted(now)
        commands = diff(wanted, self._broker.resting())
        for command in commands:
            happened = self._broker.execute(command, book=self.view.book, time_us=self.view.time_us)
            bodies += self._book(happened)
        self.why = wanted.reason
        return self._decision(wanted.reason, wanted.figures, now, has_commands=bool(commands)) + bodies

    def _wanted(self, now: Now) -> Quotes:
        """Return what should rest; anything in doubt means nothing should."""
        if self.is_closed(now):
            return Quotes((), CLOSED)
        if self._paused_by:
            return Quotes((), f"paused by {self._paused_by}")
        invalid = self.view.why_invalid(now.monotonic_s)
        if invalid:
            return Quotes((), f"no good book, no quote: {invalid}")
        view = MarketView(self._setup.ticker, now.wall_us, self.view.book, self._setup.grid, self._setup.close_time_us)
        state = TraderState(position_cx=self.inventory.position_cx)
        return self._setup.placement.quotes(view, state, self._setup.params)

    def _next_state(self, *, is_valid: bool) -> str:
        if self._paused_by:
            return "paused"
        return "quoting" if is_valid or self.state != "starting" else "starting"

    def _is_mid_update(self, now: Now) -> bool:
        """Whether the book is crossed only because a step of the exchange is half told: nobody decides on it."""
        if not self.view.book.is_crossed:
            self._crossed_at = None
            return False
        if self._crossed_at is None:
            self._crossed_at = (self.view.time_us, now.monotonic_s)
        time_us, since_s = self._crossed_at
        is_same_moment = self.view.time_us == time_us and now.monotonic_s - since_s < MID_UPDATE_MAX_S
        return is_same_moment and not self.view.why_invalid(now.monotonic_s)

    def _decision(self, reason: str, figures: dict[str, Any], now: Now, *, has_commands: bool) -> list[JournalBody]:
        """Return the decision if it is worth a line: something changed, or a minute has passed."""
        self._repeats += 1
        if not has_commands and self._is_repeat(reason, now):
            return []
        body = Decision(reason, figures, self._repeats)
        self._written, self._repeats = (reason, now.monotonic_s), 0
        return [body]

    def _is_repeat(self, reason: str, now: Now) -> bool:
        if self._written is None:
            return False
        said, at_s = self._written
        return said == reason and now.monotonic_s - at_s < REPEAT_DECISION_S

    # How it ends

    def is_closed(self, now: Now) -> bool:
        return now.wall_us >= self._setup.close_time_us

    def drain(self, reason: str) -> list[JournalBody]:
        """Cancel everything for good: after this no decision places an order."""
        bodies = self._change_state("draining", reason)
        bodies += self._book(self._broker.cancel_all(reason))
        self.why = reason
        return bodies

    def finish(self, reason: str) -> list[JournalBody]:
        return self._change_state("stopped", reason)

    # What it says

    def _change_state(self, state: str, reason: str) -> list[JournalBody]:
        if state == self.state:
            return []
        self.state = state
        return [StateChange(state, reason or self._paused_by)]

    def _book(self, events: Sequence[OrderEvent]) -> list[JournalBody]:
        """Book fills and return the journal form of what happened, in order."""
        return [self._fill(event) if isinstance(event, Fill) else order_state(event) for event in events]

    def _fill(self, fill: Fill) -> FillState:
        order = fill.order
        self.inventory = self.inventory.after(order.side, order.price_cc, fill.count_cx)
        return FillState(
            client_order_id=order.client_order_id,
            order_id=order.order_id,
            trade_id=fill.trade_id,
            side=int(order.side),
            price_cc=order.price_cc,
            count_cx=fill.count_cx,
            is_taker=fill.is_taker,
            fee_ud=fill.fee_ud,
            position_cx=self.inventory.position_cx,
            inferred=fill.inferred,
        )

    def trader_view(self, now: Now) -> TraderView:
        """Return what the pages show. `trading_ud` is before fees: a paper fill's fee is not known yet."""
        is_valid = not self.view.why_invalid(now.monotonic_s)
        book = self.view.book
        return TraderView(
            trader=self._setup.trader,
            ticker=self._setup.ticker,
            mode=self._setup.mode,
            state=self.state,
            why=self.why,
            position_cx=self.inventory.position_cx,
            fills=self.inventory.fills,
            quotes=self._broker.quote_views(book),
            book_is_valid=is_valid,
            yes_bid_cc=book.yes_bid_cc if is_valid else None,
            yes_ask_cc=book.yes_ask_cc if is_valid else None,
            rate_ud_h=None,
            trading_ud=self.inventory.trading_ud(book) if is_valid else None,
        )


def order_state(order: Order) -> OrderState:
    return OrderState(
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        side=int(order.side),
        price_cc=order.price_cc,
        placed_cx=order.placed_cx,
        filled_cx=order.filled_cx,
        remaining_cx=order.remaining_cx,
        status=order.status.value,
        reason=order.reason,
    )
