"""What the engine asks of a broker: the only part that differs between dry-run, live and backtest."""

from __future__ import annotations

from typing import Protocol

from feed.schema import BookEvent, QuoteView
from markets.core.book import OrderBook
from markets.core.fees import FeeTerms
from markets.core.settlement import Position
from markets.core.units import Side
from traders.core.cash import Cash
from traders.core.commands import Command
from traders.core.diff import InFlight
from traders.core.exposure import Unproven
from traders.core.orders import Fill, Order, RestingQuote

OrderEvent = Order | Fill
"""An order after a change, or a fill (its order's new value follows as an event of its own)."""


class Broker(Protocol):
    """Carries out commands and tells what became of orders."""

    def resting(self) -> tuple[RestingQuote, ...]:
        """Return what rests now, or will once what has been asked for has arrived."""
        ...

    def in_flight(self) -> InFlight | None:
        """Return the sides with a command that has not landed; None where each lands before the next one leaves."""
        ...

    def unproven(self) -> tuple[Unproven, ...]:
        """Return what may fill though it does not count as resting: a cancel or an answer is on its way."""
        ...

    @property
    def cash(self) -> Cash:
        """What there is for this market, before what its own orders hold back."""
        ...

    def outside(self) -> tuple[Unproven, ...]:
        """Return what rests in this market of the account's other orders: a person's, or another trader's."""
        ...

    @property
    def outside_held(self) -> Position | None:
        """What the account holds in this market that is not the trader's, with its cost; None while unknown."""
        ...

    @property
    def fenced(self) -> str:
        """Why this process may never again send a new order; empty when it may."""
        ...

    @property
    def stopped(self) -> str:
        """Why no new order may be sent just now; empty when it may."""
        ...

    def others(self, book: OrderBook) -> OrderBook:
        """Return the book without our own orders, which strategies see; the same one where they are not in it."""
        ...

    @property
    def uncertain(self) -> frozenset[Side]:
        """Sides of which nobody knows, for two seconds at most, what of a level is ours."""
        ...

    @property
    def is_taking(self) -> bool:
        """Whether an order that trades at once is on its way: ask for no second one before its outcome is known."""
        ...

    def execute(self, command: Command, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        """Carry out one command; what is known of its outcome at once comes back.

        A command for an order that is over changes nothing: it may have filled meanwhile.

        Args:
            book: The market as the decision saw it.
            time_us: Exchange time of the newest event in that book.
        """
        ...

    def cancel_all(self, reason: str) -> list[OrderEvent]:
        """Cancel everything that rests or is on its way there."""
        ...

    def end(self, reason: str) -> list[OrderEvent]:
        """Cancel everything for good: nobody will ask again, and nothing more will be told."""
        ...

    def on_book_lost(self) -> None:
        """Read nothing from the book until it is asked for again, or an event comes."""
        ...

    def on_event(self, event: BookEvent, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        """Take notice of a market event that `book` already contains."""
        ...

    def on_time(self, time_us: int) -> list[OrderEvent]:
        """Let exchange time pass: every event up to `time_us` has been told."""
        ...

    def on_volume(self, volume_cx: int, *, book: OrderBook, time_us: int) -> list[OrderEvent]:
        """Take notice of a ticker: all that ever traded in the market. Means nothing where trades are told."""
        ...

    def on_fees(self, fees: FeeTerms | None) -> None:
        """Take notice of the terms of later fills, None when they are unknown; what a fill itself reports wins."""
        ...

    def quote_views(self, book: OrderBook) -> list[QuoteView]:
        """Return each resting order with its queue ahead and buffer, for the pages."""
        ...
