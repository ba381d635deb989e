"""What strategies see and say: values only.

    MarketView + TraderState → placement → buffering → flatten → risk → diff → broker

Prices are centi-cents on their own side's ladder, counts hundredths of a contract, times microseconds since 1970.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from markets.core.book import OrderBook
from markets.core.fees import FeeTerms
from markets.core.grid import PriceGrid
from markets.core.rewards import ProgramTerms
from markets.core.units import DOLLAR_CC, YES, Side
from traders.core.facts import Moment
from traders.core.history import History
from traders.core.orders import RestingQuote
from traders.core.why import Why


class FairValue(msgspec.Struct, frozen=True):
    """A YES price from outside, and when it was true."""

    yes_price_cc: Annotated[int, msgspec.Meta(ge=1, le=DOLLAR_CC - 1)]
    time_us: int
    source: str = ""


decode_fair = msgspec.msgpack.Decoder(FairValue).decode


class Best(msgspec.Struct, frozen=True):
    """The others' best prices, each on its own side's ladder and 0 where it is empty, and the grid they stand on."""

    yes_cc: int
    no_cc: int
    grid: PriceGrid

    def best_cc(self, side: Side) -> int:
        return self.yes_cc if side is YES else self.no_cc

    def passive_cc(self, side: Side, price_cc: int) -> int | None:
        """As of `MarketView`."""
        most_cc = DOLLAR_CC - 1 - (self.no_cc if side is YES else self.yes_cc)  # of an empty side it is 0
        return self.grid.at_or_below(side, min(price_cc, most_cc))


class MarketView(msgspec.Struct, frozen=True):
    """One market at one moment, without our own orders in it.

    Attributes:
        time_us: Now: the exchange's time as far as it is known.
        history: What happened lately; ours too, as far as prints show it.
        status: The venue's word for the market; empty while it is not known.
        programs: Incentive programs of the market, whatever their time.
        fees: None while they are unknown.
        fair: The newest value from outside, of any age; None without one.
        moments: Those still to come, and those just past.
    """

    ticker: str
    time_us: int
    book: OrderBook
    grid: PriceGrid
    close_time_us: int
    history: History = msgspec.field(default_factory=History)
    status: str = ""
    programs: tuple[ProgramTerms, ...] = ()
    fees: FeeTerms | None = None
    fair: FairValue | None = None
    moments: tuple[Moment, ...] = ()

    @property
    def best(self) -> Best:
        """The best prices as a value; two of them are equal as long as the touch does not move."""
        yes_cc, no_cc = self.book.best_cc
        return Best(yes_cc, no_cc, self.grid)

    def best_cc(self, side: Side) -> int:
        """Return the others' best price of a side, 0 when it is empty."""
        return self.book.best_cc[side]

    def passive_cc(self, side: Side, price_cc: int) -> int | None:
        """Return the highest price of the grid that is not above `price_cc` and would not trade on arrival.

        None when there is none.
        """
        return self.best.passive_cc(side, price_cc)

    def running_programs(self) -> tuple[ProgramTerms, ...]:
        return tuple(program for program in self.programs if program.runs_at(self.time_us))


class Quote(msgspec.Struct, frozen=True):
    """A wish: this much resting at this price on this side's ladder."""

    side: Side
    price_cc: int
    count_cx: int


class Take(msgspec.Struct, frozen=True):
    """A wish to trade at once what can be had at `limit_cc` or better, and to let nothing rest."""

    side: Side
    limit_cc: int
    count_cx: int


class Flattening(msgspec.Struct, frozen=True):
    """A position is being got out of: by whom, and since when without a break."""

    by: str
    since_us: int


class Quotes(msgspec.Struct, frozen=True):
    """Everything the strategy wants now, and why.

    Attributes:
        quotes: What shall rest, at most one a side.
        whys: Reasons in the order in which they were found, of every stage.
        must_qualify: Whether no later stage may move a quote below the price that still earns.
        take: What shall be traded at once; only a flatten strategy asks for it.
        flattening: Set while a flatten strategy is at work.
    """

    quotes: tuple[Quote, ...]
    whys: tuple[Why, ...] = ()
    must_qualify: bool = False
    take: Take | None = None
    flattening: Flattening | None = None

    def on(self, side: Side) -> Quote | None:
        for quote in self.quotes:
            if quote.side is side:
                return quote
        return None

    def because(self, *whys: Why) -> Quotes:
        """Return the same wishes with more reasons."""
        return msgspec.structs.replace(self, whys=(*self.whys, *whys))

    def with_quote(self, side: Side, quote: Quote | None, *whys: Why) -> Quotes:
        """Return the wishes with another quote on a side, or none, and more reasons."""
        others = tuple(one for one in self.quotes if one.side is not side)
        quotes = others if quote is None else tuple(sorted((*others, quote), key=lambda one: one.side))
        return msgspec.structs.replace(self, quotes=quotes, whys=(*self.whys, *whys))


class TraderState(msgspec.Struct, frozen=True):
    """What the trader holds and has resting.

    Attributes:
        position_cx: Net Yes position (No negative).
        position_since_us: When it last left zero or changed sides; None while flat.
        cost_ud: What the open contracts cost, before fees.
        resting: Our orders at rest, as far as they are proven.
        flattening: As the last decision left it.
    """

    position_cx: int = 0
    position_since_us: int | None = None
    cost_ud: int = 0
    resting: tuple[RestingQuote, ...] = ()
    flattening: Flattening | None = None

    def held_cx(self, side: Side) -> int:
        """Return the contracts held of a side; negative when the other is held."""
        return self.position_cx if side is YES else -self.position_cx

    def resting_on(self, side: Side) -> tuple[RestingQuote, ...]:
        return tuple([order for order in self.resting if order.side is side])
