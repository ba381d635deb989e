"""What resting orders earn under the liquidity incentive programs, exactly: integers and fractions, no float.

    market = score_market(grid, book.levels, orders, programs, own_in_book=True)     one second of one market
    market.ud_per_hour                     $/h of all its programs in micro-dollars, None = unknown
    market.order_ud_per_hour["my-order"]   the part of it that one order earns
    market.programs[0].snapshot            references, floors, scores and shares of one program
    market.programs[0].snapshot.pool_share

A what-if is the same call: `score_market(grid, without_orders(book.levels, resting), wished, programs,
own_in_book=False)`. How a side is scored stands in `scoring`, what a period then pays in `payouts`.

Source: incentives.md sections 3 to 6 (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import msgspec

from markets.core.grid import PriceGrid
from markets.core.scoring import RULE, Ladder, OwnOrder, Rule, SideScore, score_side
from markets.core.units import Side

Ladders = Sequence[Ladder]  # by Side, as in OrderBook.levels

LIQUIDITY = "liquidity"
BPS = 10_000
HOUR_US = 3_600_000_000
UD_PER_CC = 100


class UncertainLevel(ValueError):
    """Our orders exceed the size shown at their price: book and orders are not of the same moment."""


class ProgramTerms(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the venue's incentive programs: a pool for one market and one period.

    `period_reward_cc` is the pool of the whole period; it, target and discount are None where the venue leaves them
    out. `cap_cc` bounds what one account gets. The period is [start_us, end_us).

    Raises:
        ValueError: The period is empty, the target not positive or the discount not in 0 .. 10000.
    """

    program_id: str
    period_reward_cc: int | None
    target_size_cx: int | None
    discount_bps: int | None
    start_us: int
    end_us: int
    cap_cc: int | None = None
    incentive_type: str = LIQUIDITY

    def __post_init__(self) -> None:
        if self.end_us <= self.start_us:
            raise ValueError("a program must end after it starts")
        if self.target_size_cx is not None and self.target_size_cx <= 0:
            raise ValueError(f"a target size must be positive, found {self.target_size_cx}")
        if self.discount_bps is not None and not 0 <= self.discount_bps <= BPS:
            raise ValueError(f"a discount factor must lie in 0..{BPS} bps, found {self.discount_bps}")

    @property
    def pool_ud(self) -> int | None:
        return None if self.period_reward_cc is None else self.period_reward_cc * UD_PER_CC

    @property
    def hours(self) -> Fraction:
        """The full period, not the time left."""
        return Fraction(self.end_us - self.start_us, HOUR_US)

    @property
    def pool_ud_per_hour(self) -> Fraction | None:
        return None if self.pool_ud is None else self.pool_ud / self.hours

    def runs_at(self, at_us: int) -> bool:
        return self.start_us <= at_us < self.end_us


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One program's view of one second: `sides` by Side; `pool_share` is 0 when the second is not included."""

    included: bool
    sides: tuple[SideScore, SideScore]
    pool_share: Fraction

    def order_shares(self) -> dict[str, Fraction]:
        """Return the part of the pool that each of our orders takes; they sum to `pool_share`."""
        return {
            order_id: score / side.total_cx / 2 if self.included else Fraction(0)
            for side in self.sides
            for order_id, score in side.order_scores_cx.items()
        }


class ProgramScore(msgspec.Struct, frozen=True, kw_only=True):
    """One program in one second; `snapshot` is None when the row cannot be scored, which leaves $/h unknown."""

    program: ProgramTerms
    snapshot: Snapshot | None
    runs: bool

    @property
    def ud_per_hour(self) -> Fraction | None:
        """Micro-dollars an hour: 0 outside the period or when excluded, None when unknown."""
        return self._rate(self.snapshot.pool_share if self.snapshot else None)

    def order_ud_per_hour(self, order_id: str) -> Fraction | None:
        """Return the part of `ud_per_hour` that one order earns."""
        return self._rate(self.snapshot.order_shares().get(order_id, Fraction(0)) if self.snapshot else None)

    def _rate(self, pool_share: Fraction | None) -> Fraction | None:
        if not self.runs:
            return Fraction(0)
        pool = self.program.pool_ud_per_hour
        return None if pool is None or pool_share is None else pool * pool_share


class MarketScore(msgspec.Struct, frozen=True, kw_only=True):
    """All programs of a market in one second.

    The sums are over its liquidity programs, in micro-dollars an hour, and None as soon as one of them is unknown.
    """

    programs: tuple[ProgramScore, ...]
    ud_per_hour: Fraction | None
    order_ud_per_hour: dict[str, Fraction | None]


def score_market(
    grid: PriceGrid,
    ladders: Ladders,
    orders: Sequence[OwnOrder],
    programs: Iterable[ProgramTerms],
    *,
    own_in_book: bool,
    market_open: bool = True,
    at_us: int | None = None,
    rule: Rule = RULE,
) -> MarketScore:
    """Score one second of one market under each of its programs.

    Args:
        ladders: By Side; only from a book that is known good.
        own_in_book: Whether `ladders` already hold `orders` (the venue's book does when they rest there).
        market_open: Whether the market trades; a closed one pays nobody.
        at_us: The second's time; None takes every program as running.

    Raises:
        UncertainLevel: `own_in_book`, and an order is larger than its level.
    """
    others = without_orders(ladders, orders) if own_in_book else ladders
    full = with_orders(others, orders)
    scores = tuple(
        ProgramScore(
            program=program,
            snapshot=score_snapshot(grid, full, orders, program, market_open=market_open, rule=rule),
            runs=at_us is None or program.runs_at(at_us),
        )
        for program in programs
    )
    paying = [score for score in scores if score.program.incentive_type == LIQUIDITY]
    return MarketScore(
        programs=scores,
        ud_per_hour=_sum(score.ud_per_hour for score in paying),
        order_ud_per_hour={
            order.order_id: _sum(score.order_ud_per_hour(order.order_id) for score in paying) for order in orders
        },
    )


def without_orders(ladders: Ladders, orders: Iterable[OwnOrder]) -> Ladders:
    """Return the ladders as others fill them.

    Raises:
        UncertainLevel: An order is larger than what its level shows.
    """
    left = tuple(dict(ladder) for ladder in ladders)
    for order in orders:
        shown_cx = left[order.side].pop(order.price_cc, 0)
        if order.remaining_cx > shown_cx:
            raise UncertainLevel(
                f"order {order.order_id!r} of {order.remaining_cx} is larger than the {shown_cx} shown at its price"
            )
        if order.remaining_cx < shown_cx:
            left[order.side][order.price_cc] = shown_cx - order.remaining_cx
    return left


def with_orders(ladders: Ladders, orders: Iterable[OwnOrder]) -> Ladders:
    """Return the ladders with our orders resting among the others'."""
    full = tuple(dict(ladder) for ladder in ladders)
    for order in orders:
        if order.remaining_cx:
            full[order.side][order.price_cc] = full[order.side].get(order.price_cc, 0) + order.remaining_cx
    return full


def score_snapshot(
    grid: PriceGrid,
    ladders: Ladders,
    orders: Sequence[OwnOrder],
    program: ProgramTerms,
    *,
    market_open: bool = True,
    rule: Rule = RULE,
) -> Snapshot | None:
    """Score a book that holds `orders` under one program; None when its row cannot be scored."""
    if program.incentive_type != LIQUIDITY or program.target_size_cx is None or program.discount_bps is None:
        return None
    discount = Fraction(program.discount_bps, BPS)
    if not discount and not rule.clamps:
        return None  # a bid better than the reference would score infinitely
    yes, no = (
        score_side(
            grid,
            side,
            ladders[side],
            [order for order in orders if order.side is side],
            target_cx=program.target_size_cx,
            discount=discount,
            rule=rule,
        )
        for side in Side
    )
    included = market_open and yes.qualifies and no.qualifies
    # Everybody's shares add to two, one for each side; halved, they add to the pool.
    pool_share = (yes.share + no.share) / 2 if included else Fraction(0)
    return Snapshot(included=included, sides=(yes, no), pool_share=pool_share)


def _sum(rates: Iterable[Fraction | None]) -> Fraction | None:
    total = Fraction(0)
    for rate in rates:
        if rate is None:
            return None
        total += rate
    return total
