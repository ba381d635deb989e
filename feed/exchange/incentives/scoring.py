"""Score one snapshot of one market for everybody, as the rules read. Reference code: plain before quick.

Written from the documents alone and sharing no line with `markets.core`, so that the two can be held against each
other. Rule in force since 2026-07-30. Source: incentives.md sections 3 and 5, readings R1 to R7 of section 7.

    side    levels from best to worst, adding up sizes:
            reference         the first level where the sum reaches a fifth of the target
            qualifying floor  the first level where the sum reaches the target; all of it counts, nothing below it
            score of an order size × d ^ (grid steps from the reference down to it; 0 when it is better)
            share of an owner its scores / all scores of the side
    market  included if open and both sides have a floor; pool share = (YES share + NO share) / 2
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from fractions import Fraction

import msgspec

from markets.core.grid import PriceGrid
from markets.core.units import Side

REFERENCE_PART = 5  # the reference is where a fifth of the target is reached
BPS = 10_000


class Bid(msgspec.Struct, frozen=True):
    """What rests of one order; the price is on the order's own side's ladder."""

    owner: str
    side: Side
    price_cc: int
    remaining_cx: int


class Yardstick(msgspec.Struct, frozen=True):
    """What a program measures with: Target Size and discount factor (basis points)."""

    target_cx: int
    discount_bps: int


class SideScores(msgspec.Struct, frozen=True):
    """One side of a snapshot; scores in hundredths of a contract.

    `reference_cc` is None when the side is thinner than a fifth of the target, `floor_cc` when it is thinner than
    the target: then nobody qualifies and nobody scores.
    """

    depth_cx: int
    reference_cc: int | None
    floor_cc: int | None
    qualifying_cx: int
    total: Fraction
    scores: dict[str, Fraction]

    @property
    def qualifies(self) -> bool:
        return self.floor_cc is not None

    def share(self, owner: str) -> Fraction:
        """Return an owner's part of the side, 0 to 1."""
        return self.scores[owner] / self.total if owner in self.scores else Fraction(0)


class Snapshot(msgspec.Struct, frozen=True):
    """One snapshot of one market under one program."""

    is_included: bool
    yes: SideScores
    no: SideScores

    def pool_share(self, owner: str) -> Fraction:
        """Return an owner's part of this snapshot's pool, 0 to 1; 0 when the snapshot is excluded."""
        return (self.yes.share(owner) + self.no.share(owner)) / 2 if self.is_included else Fraction(0)

    def pool_shares(self) -> dict[str, Fraction]:
        """Return the pool shares of all who score; they add up to 1, or are none when the snapshot is excluded."""
        if not self.is_included:
            return {}
        return {owner: self.pool_share(owner) for owner in {**self.yes.scores, **self.no.scores}}


def score_snapshot(grid: PriceGrid, bids: Iterable[Bid], yardstick: Yardstick, *, is_open: bool) -> Snapshot:
    """Score everybody's orders in a market's book.

    Args:
        bids: All resting orders of the market, in any order.
        is_open: Whether the market is open for trading at this moment.
    """
    bids = list(bids)
    yes, no = (score_side(grid, side, bids, yardstick) for side in Side)
    return Snapshot(is_open and yes.qualifies and no.qualifies, yes, no)


def score_side(grid: PriceGrid, side: Side, bids: Iterable[Bid], yardstick: Yardstick) -> SideScores:
    """Score the orders of one side; the other side's are passed over."""
    levels: dict[int, dict[str, int]] = {}  # price → owner → size
    for bid in bids:
        if bid.side is side:
            level = levels.setdefault(bid.price_cc, {})
            level[bid.owner] = level.get(bid.owner, 0) + bid.remaining_cx
    reference_cc = floor_cc = None
    depth = qualifying = 0
    for price in sorted(levels, reverse=True):
        depth += sum(levels[price].values())
        if reference_cc is None and depth * REFERENCE_PART >= yardstick.target_cx:
            reference_cc = price
        if floor_cc is None and depth >= yardstick.target_cx:
            floor_cc, qualifying = price, depth
    scores: dict[str, Fraction] = {}
    if reference_cc is not None and floor_cc is not None:
        for price, level in levels.items():
            if price < floor_cc:
                continue
            factor = Fraction(yardstick.discount_bps, BPS) ** grid_steps(grid, side, reference_cc, price)
            for owner, size in level.items():
                scores[owner] = scores.get(owner, Fraction(0)) + size * factor
    return SideScores(depth, reference_cc, floor_cc, qualifying, sum(scores.values(), Fraction(0)), scores)


def grid_steps(grid: PriceGrid, side: Side, from_cc: int, down_to_cc: int) -> int:
    """Return the steps of the market's own grid from one price down to another, 0 when that is not lower.

    No text says what a tick is on a tapered grid; this is reading R5, and the one place that holds it. Nor does one
    say where a price stands that a change of the grid has left between two: here at the tradable one below it.
    """
    prices = grid.prices_cc(side)
    return max(0, bisect_right(prices, from_cc) - bisect_right(prices, down_to_cc))
