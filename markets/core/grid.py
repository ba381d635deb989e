"""The price grid of a market: which prices its orders may carry.

The venue publishes it as `price_ranges`; the name of a structure (`tapered_deci_cent`, …) is never consulted.
0 and $1 are not tradable, whatever the ranges say. Source: Kalshi docs, "Price level structures"; facts.md 5.5.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import msgspec

from markets.core.units import DOLLAR_CC, Side


class PriceRange(msgspec.Struct, frozen=True, array_like=True):
    """Prices start, start + step, … up to and including end; all in centi-cents of the YES price."""

    start_cc: int
    end_cc: int
    step_cc: int


class PriceGrid:
    """Every tradable YES price of a market, ascending.

    Args:
        ranges: As the venue lists them; neighbours may share an edge.

    Raises:
        ValueError: A range is empty, outside $0 .. $1 or has no positive step.
    """

    __slots__ = ("_prices_cc", "ranges")

    def __init__(self, ranges: Iterable[PriceRange]) -> None:
        self.ranges = tuple(ranges)
        prices: set[int] = set()
        for band in self.ranges:
            if band.step_cc <= 0 or not 0 <= band.start_cc < band.end_cc <= DOLLAR_CC:
                raise ValueError(f"not a price range: {band}")
            prices.update(range(band.start_cc, band.end_cc + 1, band.step_cc))
        prices -= {0, DOLLAR_CC}
        if not prices:
            raise ValueError("a price grid needs at least one price")
        self._prices_cc = (
            tuple(sorted(prices)),
            tuple(sorted(DOLLAR_CC - price for price in prices)),
        )

    def prices_cc(self, side: Side) -> tuple[int, ...]:
        """Return the tradable prices of `side`'s own ladder, ascending."""
        return self._prices_cc[side]

    def contains(self, side: Side, price_cc: int) -> bool:
        prices = self._prices_cc[side]
        at = bisect_left(prices, price_cc)
        return at < len(prices) and prices[at] == price_cc

    def rank(self, side: Side, price_cc: int) -> int:
        """Return how many tradable prices of `side`'s own ladder lie at or below `price_cc`.

        The difference of two ranks is the number of steps between the prices, counted band by band.
        """
        return bisect_right(self._prices_cc[side], price_cc)

    def at_or_below(self, side: Side, price_cc: int) -> int | None:
        """Return the highest tradable price not above `price_cc`, or None below the first step."""
        prices = self._prices_cc[side]
        at = bisect_right(prices, price_cc)
        return prices[at - 1] if at else None

    def at_or_above(self, side: Side, price_cc: int) -> int | None:
        """Return the lowest tradable price not below `price_cc`, or None above the last step."""
        prices = self._prices_cc[side]
        at = bisect_left(prices, price_cc)
        return prices[at] if at < len(prices) else None

    def step(self, side: Side, price_cc: int, steps: int) -> int | None:
        """Return the price `steps` grid steps from the tradable price `price_cc` (up when positive).

        None when that runs off the grid.

        Raises:
            ValueError: `price_cc` is not on the grid.
        """
        prices = self._prices_cc[side]
        at = bisect_left(prices, price_cc)
        if at == len(prices) or prices[at] != price_cc:
            raise ValueError(f"{price_cc} is not on the grid")
        return prices[at + steps] if 0 <= at + steps < len(prices) else None


CENT_GRID = PriceGrid([PriceRange(0, DOLLAR_CC, 100)])
TAPERED_DECI_CENT_GRID = PriceGrid(
    [PriceRange(0, 1_000, 10), PriceRange(1_000, 9_000, 100), PriceRange(9_000, DOLLAR_CC, 10)]
)
