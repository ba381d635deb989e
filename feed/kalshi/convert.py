"""From the venue's words to ours: past this module there are only centi-cents, counts and sides.

Price strings repeat without end, so they are remembered; counts are remembered up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterable

from feed.kalshi.wire.frames import Level
from markets.core.units import DOLLAR_CC, Side, parse_count, parse_price

SIDES = {"yes": Side.YES, "no": Side.NO}
REMEMBERED_COUNTS = 50_000
COUNT_MAX_CX = 10**15


class PriceMemo(dict[str, int]):
    """Level prices by their string; 0 and $1 are no level prices.

    Lookup raises ValueError for a string that is no tradable price.
    """

    def __missing__(self, text: str) -> int:
        value = parse_price(text)
        if not 0 < value < DOLLAR_CC:
            raise ValueError(f"a level price must lie between 0 and 1 dollar, found {text!r}")
        self[text] = value
        return value


class CountMemo(dict[str, int]):
    """Counts by their string, forgotten all at once when there are too many."""

    def __missing__(self, text: str) -> int:
        value = parse_count(text)
        if abs(value) > COUNT_MAX_CX:
            raise ValueError(f"no market holds {text} contracts")
        if len(self) >= REMEMBERED_COUNTS:
            self.clear()
        self[text] = value
        return value


PRICES = PriceMemo()
COUNTS = CountMemo()


def own_price_cc(side: Side, text: str, *, use_yes_price: bool) -> int:
    """Return a level's price on its own ladder.

    Args:
        use_yes_price: Whether the subscription asked for NO levels at YES prices.
    """
    value = PRICES[text]
    return DOLLAR_CC - value if use_yes_price and side is Side.NO else value


def levels(side: Side, pairs: Iterable[Level], *, use_yes_price: bool) -> list[tuple[int, int]]:
    """Return (own-side price_cc, count_cx) pairs in the order they came.

    Raises:
        ValueError: A price or count is malformed, or a level holds nothing.
    """
    result = [(own_price_cc(side, price, use_yes_price=use_yes_price), COUNTS[count]) for price, count in pairs]
    for price_cc, count_cx in result:
        if count_cx <= 0:
            raise ValueError(f"snapshot level {price_cc} holds {count_cx}")
    return result


def optional_price_cc(text: str | None) -> int | None:
    """Return a quoted price; 0 and $1 mean that nobody quotes, a missing field stays unknown."""
    if text is None:
        return None
    value = parse_price(text)
    return value if 0 < value < DOLLAR_CC else None


def optional_count_cx(text: str | None) -> int | None:
    return None if text is None else COUNTS[text]
