"""Collateral return: what the positions of one event pay whatever happens, credited while they are held.

    MECNET    at most one market resolves YES, so NO positions in n markets pay at least n − 1 of the smaller sizes
    DIRECNET  nested strikes ("above 70" holds whenever "above 80" does), so YES on the wider question and NO on the
              narrower one pay at least a dollar between them

facts.md section 10 spells out MECNET. For DIRECNET (5.7) the documents give only the name, so only what follows from
the nesting itself is returned: markets with a floor (`greater…`) and those with a cap (`less…`) are two chains, and a
market with any other strike takes no part.

The guarantee never rises above what is certain, so a settlement never takes more back than it pays out: with values
of settled markets v, open ones share at most $1 − Σv (MECNET), or lie between their settled neighbours (DIRECNET).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from markets.core.units import DOLLAR_CC

MECNET, DIRECNET = "MECNET", "DIRECNET"
WIDE_BY_FLOOR = {"greater_or_equal": 0, "greater": 1}  # at one strike, ≥ is the wider question
WIDE_BY_CAP = {"less_or_equal": 0, "less": 1}


class Leg(msgspec.Struct, frozen=True):
    """One market of an event: what is held of it, its strike, and what a YES was worth if it has settled."""

    position_cx: int
    value_cc: int | None = None
    strike_type: str = ""
    strike: float | None = None


def guaranteed_ud(kind: str, legs: Sequence[Leg]) -> int:
    """Return what the open positions of an event pay in the worst case, as far as its kind returns collateral.

    Args:
        kind: The event's `collateral_return_type`; anything but MECNET and DIRECNET returns nothing.
        legs: Every market of the event, also those without a position.
    """
    if kind == MECNET:
        return _exclusive_ud(legs)
    if kind == DIRECNET:
        rising = sorted(_of(legs, WIDE_BY_FLOOR), key=lambda leg: (leg.strike, WIDE_BY_FLOOR[leg.strike_type]))
        falling = sorted(_of(legs, WIDE_BY_CAP), key=lambda leg: (-(leg.strike or 0), WIDE_BY_CAP[leg.strike_type]))
        return _nested_ud(rising) + _nested_ud(falling)
    return 0


def _exclusive_ud(legs: Sequence[Leg]) -> int:
    """Return Σ NO less what the dollar still open can take from the largest of them."""
    left_cc = max(0, DOLLAR_CC - sum(leg.value_cc for leg in legs if leg.value_cc is not None))
    held = [-leg.position_cx for leg in legs if leg.value_cc is None and leg.position_cx < 0]
    return sum(held) * DOLLAR_CC - max(held, default=0) * left_cc


def _of(legs: Sequence[Leg], types: dict[str, int]) -> list[Leg]:
    return [leg for leg in legs if leg.strike_type in types and leg.strike is not None]


def _nested_ud(legs: Sequence[Leg]) -> int:
    """Return the worst payout of a chain, widest question first: values never rise along it."""
    ends = [-1, *(at for at, leg in enumerate(legs) if leg.value_cc is not None), len(legs)]
    values = [DOLLAR_CC, *(leg.value_cc for leg in legs if leg.value_cc is not None), 0]
    stretches = zip(pairwise(ends), pairwise(values), strict=True)
    return sum(
        _stretch_ud([leg.position_cx for leg in legs[before + 1 : after]], high, low)
        for (before, after), (high, low) in stretches
    )


def _stretch_ud(positions: Sequence[int], high_cc: int, low_cc: int) -> int:
    """Return the worst payout of open positions between two settled neighbours: a step somewhere from high to low."""
    return min(
        sum(_payout_ud(p, high_cc) for p in positions[:step]) + sum(_payout_ud(p, low_cc) for p in positions[step:])
        for step in range(len(positions) + 1)
    )


def _payout_ud(position_cx: int, value_cc: int) -> int:
    return position_cx * value_cc if position_cx > 0 else -position_cx * (DOLLAR_CC - value_cc)
