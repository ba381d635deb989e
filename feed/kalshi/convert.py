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


# Plain dictionaries, which are quicker to look up than any of ours; what they miss, `price_of` and `count_of` put in.
PRICES: dict[str, int] = {}
COUNTS: dict[str, int] = {}


def price_of(text: str) -> int:
    """Return a level's price; 0 and $1 are none.

    Raises:
        ValueError: It is no tradable price.
    """
    value = PRICES.get(text)
    if value is None:
        value = parse_price(text)
        if not 0 < value < DOLLAR_CC:
            raise ValueError(f"a level price must lie between 0 and 1 dollar, found {text!r}")
        PRICES[text] = value
    return value


def count_of(text: str) -> int:
    """Return a signed count; all are forgotten at once when there are too many.

    Raises:
        ValueError: It is no count, or more than any market holds.
    """
    value = COUNTS.get(text)
    if value is None:
        value = parse_count(text)
        if abs(value) > COUNT_MAX_CX:
            raise ValueError(f"no market holds {text} contracts")
        if len(COUNTS) >= REMEMBERED_COUNTS:
            COUNTS.clear()
        COUNTS[text] = value
    return value


def own_price_cc(side: Side, text: str, *, use_yes_price: bool) -> int:
    """Return a level's price on its own ladder.

    Args:
        use_yes_price: Whether the subscription asked for NO levels at YES prices.
    """
    value = price_of(text)
    return DOLLAR_CC - value if use_yes_price and side is Side.NO else value


def levels(side: Side, pairs: Iterable[Level], *, use_yes_price: bool) -> list[tuple[int, int]]:
    """Return (own-side price_cc, count_cx) pairs in the order they came.

    Raises:
        ValueError: A price or count is malformed, or a level holds nothing.
    """
    result = [(own_price_cc(side, price, use_yes_price=use_yes_price), count_of(count)) for price, count in pairs]
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
    return None if text is None else count_of(text)
