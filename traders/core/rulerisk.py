"""What all traders of a series rule may lose in a day together.

    day_result(traders) ──► from low_ud to high_ud        one figure where every open position has a price
    loss_of(…)          ──► Latch, when even the best of it is a loss of the most or more
                            Hold, while the worst of it may be one, or nobody knows
                            None

A trader's result today is what it has realised since the exchange's midnight, after fees, and what its open position
would bring now beyond its cost. A process that trades tells its own, marked at the price at which the position could be
closed. Without that an open position is worth something between nothing and a dollar a contract: unknown is not zero.
A latch is for what is certain; nothing new begins on what is not.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from markets.core.units import DOLLAR_CC
from markets.formatting import dollars


class TraderResult(msgspec.Struct, frozen=True, kw_only=True):
    """One live trader of a rule; money in micro-dollars.

    Attributes:
        told_ud: The result of its whole life as its process tells it; None where none does.
        cash_ud: What fills and settlement moved, after fees.
        held_cx: Contracts that are open, of either side.
        before_ud: What it had realised, after fees, when the day began.
        unknown_fees: Fills whose fee nobody knows.
    """

    told_ud: int | None = None
    cash_ud: int = 0
    held_cx: int = 0
    before_ud: int = 0
    unknown_fees: int = 0


class Span(msgspec.Struct, frozen=True):
    """A result that is not below `low_ud`, None while nobody can say, and not above `high_ud`."""

    low_ud: int | None
    high_ud: int


class Latch(msgspec.Struct, frozen=True):
    """Nobody of the rule trades any more until a person releases it."""

    reason: str


class Hold(msgspec.Struct, frozen=True):
    """No further trader begins for now."""

    reason: str


def day_result(traders: Iterable[TraderResult]) -> Span:
    """Return what all of them made of the day."""
    low_ud = high_ud = unknown_fees = 0
    for one in traders:
        least_ud = one.cash_ud if one.told_ud is None else one.told_ud
        open_ud = one.held_cx * DOLLAR_CC if one.told_ud is None else 0
        low_ud += least_ud - one.before_ud
        high_ud += least_ud + open_ud - one.before_ud
        unknown_fees += one.unknown_fees
    return Span(None if unknown_fees else low_ud, high_ud)  # what is not known yet of fees can only be lost


def loss_of(result: Span, *, day: str, most_ud: int, released_ud: int = 0) -> Latch | Hold | None:
    """Return what a day's result means for a rule.

    Args:
        day: For the words.
        most_ud: The loss that is the most.
        released_ud: The result that a person has looked at and released: only what follows counts.
    """
    since = f", {dollars(released_ud, plus=True)} of it before a person released it" if released_ud else ""
    limit = f"a loss of {dollars(most_ud)} is the most"
    if result.high_ud - released_ud <= -most_ud:
        return Latch(f"the result of the rule's traders on {day} is {_figure(result)}{since}; {limit}")
    if result.low_ud is None:
        return Hold(f"the fees of some fills on {day} are not known yet; {limit}")
    if result.low_ud - released_ud <= -most_ud:
        return Hold(f"the result on {day} is {_figure(result)} as open positions may turn out{since}; {limit}")
    return None


def _figure(result: Span) -> str:
    best = dollars(result.high_ud, plus=True)
    if result.low_ud is None:
        return f"{best} at best"
    least = dollars(result.low_ud, plus=True)
    return least if least == best else f"between {least} and {best}"
