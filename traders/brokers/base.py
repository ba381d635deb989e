"""What the engine asks of a broker: the only part that differs between dry-run, live and backtest."""

from __future__ import annotations

from typing import Protocol

from feed.schema import BookEvent, QuoteView
from markets.core.book import OrderBook
from traders.core.diff import Command
from traders.core.orders import Fill, Order, RestingQuote

OrderEvent = Order | Fill
"""An order after a change, or a fill (its order's new value follows as an event of its own)."""


class Broker(Protocol):
    """Carries out commands and tells what became of orders."""

    def resting(self) -> tuple[RestingQuote, ...]:
        """Return what rests now."""
        ...

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        """Carry out one command; what is known of its outcome at once comes back.

        Args:
            book: The market as the decision saw it.
            time_us: Exchange time of the newest event in that book.
        """
        ...

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        """Cancel everything that rests."""
        ...

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        """Take notice of a market event that `book` already contains."""
        ...

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        """Return each resting order with its queue ahead and buffer, for the pages."""
        ...
