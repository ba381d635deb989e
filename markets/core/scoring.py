"""How one side of one snapshot is scored, under a `Rule` that can be exchanged.

    side = score_side(grid, Side.YES, ladder, orders, target_cx=100_000, discount=Fraction(1, 2))
    side.reference_cc, side.floor_cc, side.share

`RULES` lists the readings by the date they came into force, so that recorded books can be rescored under another one.
Prices are on the side's own ladder (`price_cc`), sizes in hundredths of a contract (`count_cx`), and scores are such
sizes times powers of the discount, as exact fractions. Source: incentives.md sections 3, 5 and 7 (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from math import ceil
from operator import mul

import msgspec

from markets.core.grid import PriceGrid
from markets.core.units import Side

Ladder = Mapping[int, int]  # own-side price_cc → count_cx


class Qualifying(Enum):
    """What earns a score once a side holds the target size (points R3 and R4)."""

    WHOLE_LEVELS = "every level down to the one that reaches the target, that one whole"
    CLIPPED = "as above, of the last level only the part that the target needs"
    ALL_LEVELS = "every level of the side"


def grid_steps(grid: PriceGrid, side: Side, high_cc: int, low_cc: int) -> int:
    """Return the steps of the market's grid from one price of `side`'s ladder down to another; negative upwards.

    NO prices step where their YES prices 1 − p do. A price left behind by a change of grid counts as the next
    tradable price below it.
    """
    return grid.rank(side, high_cc) - grid.rank(side, low_cc)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the snapshot rules; the fields are points R1 to R5 of incentives.md section 7.

    Attributes:
        version: Date it came into force, or a name of one's own.
        reference_part: The reference is the first level at which cumulative size reaches this part of the target (R1);
            0 makes it the best bid.
        clamps: Whether a bid better than the reference scores its size and no more (R2).
        qualifying: Which levels score (R3, R4).
        steps: Distance from the reference down to a price, in whole steps (R5).
    """

    version: str
    reference_part: Fraction = Fraction(1, 5)
    clamps: bool = True
    qualifying: Qualifying = Qualifying.WHOLE_LEVELS
    steps: Callable[[PriceGrid, Side, int, int], int] = grid_steps


RULES = {
    rule.version: rule
    for rule in (
        Rule(version="2026-07-30"),
        Rule(version="2026-02-28", reference_part=Fraction(0)),  # retired: measured from the best bid
    )
}
RULE = RULES["2026-07-30"]


class OwnOrder(msgspec.Struct, frozen=True):
    """One of our resting orders; `price_cc` is on its own side's ladder, `remaining_cx` what is not yet filled."""

    order_id: str
    side: Side
    price_cc: int
    remaining_cx: int


class SideScore(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one snapshot.

    Attributes:
        depth_cx: Everything that rests on the side.
        reference_cc: Where distances start, None when the side is too thin for it.
        floor_cc: The level that reaches the target, None when none does.
        qualifying_cx: What rests at or above the floor, 0 without one.
        total_cx: Sum of all scores.
        order_scores_cx: Ours by order id.
        our_score_cx: Their sum.
        share: Ours of all, 0 where nobody scores.
    """

    depth_cx: int
    reference_cc: int | None
    floor_cc: int | None
    qualifying_cx: int
    total_cx: Fraction
    order_scores_cx: dict[str, Fraction]
    our_score_cx: Fraction
    share: Fraction

    @property
    def qualifies(self) -> bool:
        return self.floor_cc is not None


def score_side(
    grid: PriceGrid,
    side: Side,
    ladder: Ladder,
    orders: Sequence[OwnOrder],
    *,
    target_cx: int,
    discount: Fraction,
    rule: Rule = RULE,
) -> SideScore:
    """Score one side of a book that holds `orders`, all of that side.

    Raises:
        ZeroDivisionError: The discount is 0 and the rule does not clamp: a better bid's score has no value then.
    """
    levels = sorted(ladder.items(), reverse=True)
    reference_cc = _first_reaching(levels, ceil(rule.reference_part * target_cx))
    floor_cc = _first_reaching(levels, target_cx)
    total_cx, factors = Fraction(0), dict[int, Fraction]()
    if reference_cc is not None and floor_cc is not None:
        scored = _scored_cx(levels, floor_cc, target_cx, rule.qualifying)
        steps = [rule.steps(grid, side, reference_cc, price_cc) for price_cc in scored]
        weights, unit = _powers(discount, [max(0, n) for n in steps] if rule.clamps else steps)
        total_cx = unit * sum(map(mul, scored.values(), weights))
        at = dict(zip(scored, weights, strict=True))
        factors = {
            price_cc: unit * at[price_cc] * Fraction(scored[price_cc], ladder[price_cc])
            for price_cc in {order.price_cc for order in orders} & at.keys()
        }
    ours = {order.order_id: order.remaining_cx * factors.get(order.price_cc, Fraction(0)) for order in orders}
    our_score_cx = sum(ours.values(), Fraction(0))
    return SideScore(
        depth_cx=sum(ladder.values()),
        reference_cc=reference_cc,
        floor_cc=floor_cc,
        qualifying_cx=sum(count for price, count in levels if price >= floor_cc) if floor_cc is not None else 0,
        total_cx=total_cx,
        order_scores_cx=ours,
        our_score_cx=our_score_cx,
        share=our_score_cx / total_cx if total_cx else Fraction(0),
    )


def _first_reaching(levels: list[tuple[int, int]], size_cx: int) -> int | None:
    """Return the first price, best first, at which the cumulative size reaches `size_cx`; None when none does."""
    cumulative_cx = 0
    for price_cc, count_cx in levels:
        cumulative_cx += count_cx
        if cumulative_cx >= size_cx:
            return price_cc
    return None


def _scored_cx(levels: list[tuple[int, int]], floor_cc: int, target_cx: int, qualifying: Qualifying) -> dict[int, int]:
    """Return the size that scores at each price, best first."""
    if qualifying is Qualifying.ALL_LEVELS:
        return dict(levels)
    scored = {price: count for price, count in levels if price >= floor_cc}
    if qualifying is Qualifying.CLIPPED:
        scored[floor_cc] -= sum(scored.values()) - target_cx
    return scored


def _powers(base: Fraction, exponents: Sequence[int]) -> tuple[list[int], Fraction]:
    """Return whole numbers and one unit whose products are `base` to each of the exponents.

    Sums of scores then add integers; a fraction is made once, at the end.
    """
    low, high = min(exponents), max(exponents)
    over, under = base.numerator, base.denominator
    return [over ** (n - low) * under ** (high - n) for n in exponents], Fraction(over) ** low / under**high
