"""One market's order book: YES bids and NO bids, each level a price and the contracts shown there.

A NO bid at q is the YES ask at $1 − q with the same size. Levels are exact integers; a level that would turn
negative means the book is not the exchange's book any more, so it raises and the caller asks for a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable

from markets.core.units import DOLLAR_CC, Side

NO_PRICE = 0  # a side without levels: 0 is never tradable, so it compares below every price


class NegativeLevel(ValueError):
    """A delta takes more from a level than it holds."""


class OrderBook:
    """Levels of one market, with the best price of each side always at hand.

    `levels[side]` maps own-side price_cc to count_cx; `best_cc[side]` is NO_PRICE when the side is empty.
    """

    __slots__ = ("best_cc", "levels")

    def __init__(self) -> None:
        self.levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.best_cc: list[int] = [NO_PRICE, NO_PRICE]

    def replace(self, yes: Iterable[tuple[int, int]], no: Iterable[tuple[int, int]]) -> None:
        """Become the given snapshot: (price_cc, count_cx) pairs in any order, each at its own side's price.

        Raises:
            NegativeLevel: A size is not positive.
        """
        sides = (dict(yes), dict(no))
        for side, levels in zip(Side, sides, strict=True):
            if levels and min(levels.values()) <= 0:
                raise NegativeLevel(f"{side.name} snapshot holds a level without size")
        self.levels = sides
        self.best_cc = [max(levels, default=NO_PRICE) for levels in sides]

    def apply(self, side: int, price_cc: int, delta_cx: int) -> int:
        """Change one level by a signed count and return its new size in count_cx.

        Raises:
            NegativeLevel: The level would fall below zero; the book is unchanged.
        """
        levels = self.levels[side]
        size = levels.get(price_cc, 0) + delta_cx
        if size > 0:
            levels[price_cc] = size
            if price_cc > self.best_cc[side]:  # noqa: PLR1730  # twice as fast as max() here
                self.best_cc[side] = price_cc
            return size
        if size < 0:
            raise NegativeLevel(f"{Side(side).name} level {price_cc} would fall to {size}")
        levels.pop(price_cc, None)
        if price_cc == self.best_cc[side]:
            self.best_cc[side] = max(levels, default=NO_PRICE)
        return 0

    def size_cx(self, side: int, price_cc: int) -> int:
        return self.levels[side].get(price_cc, 0)

    def better_cx(self, side: int, price_cc: int) -> int:
        """Return all contracts on `side` at prices better than `price_cc`."""
        if price_cc >= self.best_cc[side]:
            return 0  # most are asked at the touch: 0.1 µs instead of 5 over a hundred levels
        return sum([size for price, size in self.levels[side].items() if price > price_cc])

    @property
    def yes_bid_cc(self) -> int | None:
        return self.best_cc[Side.YES] or None

    @property
    def yes_ask_cc(self) -> int | None:
        """Best YES ask, implied by the best NO bid; None when nobody bids NO."""
        best_no = self.best_cc[Side.NO]
        return DOLLAR_CC - best_no if best_no else None

    @property
    def is_crossed(self) -> bool:
        """Whether bid and ask meet or overlap: crossed or locked."""
        yes, no = self.best_cc
        return yes > 0 and no > 0 and yes + no >= DOLLAR_CC
