"""What one more order would earn under the liquidity programs, by its price and size: fast enough to search with.

    others = Others(grid, Side.YES, book.levels[Side.YES])
    offer = offer_at(others, pools, 4_100, most_cx=1_000)      an order of ours at that price, up to that size
    offer.reward(1_000)                                        what 10 contracts earn an hour, both sides qualifying
    offer.best_cx(portions, min_rate_bps_h=1)                  as many as are worth their collateral

With the rivals' score S and our factor m the share is m q / (m q + S). The size q itself may draw the reference up to
our price, which lowers the rivals' factors, and the floor, which throws out those below: S falls in steps as q grows,
and between them the closed form is exact. Factors are kept to 2⁻³², so this is for choosing: what is chosen is scored
by `markets.core.rewards`. Source: incentives.md sections 3 and 6, market_making.md "Sizing for rewards".
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from math import ceil
from operator import mul, neg

import msgspec

from markets.core.grid import PriceGrid
from markets.core.rewards import BPS, ProgramTerms
from markets.core.scoring import RULE, Ladder
from markets.core.units import Side

SCALE_BITS = 32
SCALE = 1 << SCALE_BITS


class Portions(msgspec.Struct, frozen=True):
    """Sizes to choose from: multiples of `step_cx` that are at least `least_cx`, and `most_cx` itself."""

    step_cx: int
    least_cx: int
    most_cx: int

    @property
    def first(self) -> int:
        return max(1, self.number(self.least_cx))

    @property
    def last(self) -> int:
        return self.number(self.most_cx)

    def number(self, count_cx: int) -> int:
        """Return how many portions it takes to have `count_cx`."""
        return -(-count_cx // self.step_cx)

    def size_cx(self, number: int) -> int:
        return min(number * self.step_cx, self.most_cx)


class Pool:
    """One running program, as far as a search needs it.

    Attributes:
        half_rate: What a side pays an hour, in 2⁻³² micro-dollars: half the pool.
        reference_cx: Size at which the reference is reached, as `target_cx` is for the floor.
    """

    __slots__ = ("_discount_bps", "_factors", "half_rate", "reference_cx", "target_cx")

    def __init__(self, half_rate: int, target_cx: int, discount_bps: int) -> None:
        self.half_rate = half_rate
        self.target_cx = target_cx
        self.reference_cx = ceil(RULE.reference_part * target_cx)
        self._discount_bps = discount_bps
        self._factors = [SCALE]

    @classmethod
    def of(cls, program: ProgramTerms) -> Pool | None:
        """Return the pool of a program; None while its terms are not all known."""
        rate, target_cx, discount_bps = program.pool_ud_per_hour, program.target_size_cx, program.discount_bps
        if rate is None or target_cx is None or discount_bps is None:
            return None
        return cls(int(rate * SCALE / 2), target_cx, discount_bps)

    def factor(self, steps: int) -> int:
        """Return what size scores so many steps below the reference, in 2⁻³²; all of it at or above."""
        factors = self._factors
        while len(factors) <= steps and factors[-1]:
            factors.append(factors[-1] * self._discount_bps // BPS)
        return factors[min(max(0, steps), len(factors) - 1)]


class Others:
    """What others rest on one side, best first: prices, their ranks on the grid, and sizes summed up."""

    __slots__ = ("_counts_cx", "_downwards", "_scores", "grid", "prices_cc", "ranks", "side", "sums_cx")

    def __init__(self, grid: PriceGrid, side: Side, ladder: Ladder) -> None:
        self.grid, self.side = grid, side
        self.prices_cc = sorted(ladder, reverse=True)
        self.ranks = [grid.rank(side, price_cc) for price_cc in self.prices_cc]
        self._counts_cx = [ladder[price_cc] for price_cc in self.prices_cc]
        self.sums_cx = list(accumulate(self._counts_cx))
        self._downwards = list(map(neg, self.prices_cc))  # ascending, as bisect wants it
        self._scores: dict[tuple[Pool, int], list[int]] = {}

    @property
    def depth_cx(self) -> int:
        return self.sums_cx[-1] if self.sums_cx else 0

    def floor_cc(self, target_cx: int) -> int | None:
        """Return the price of the level that reaches the target; None when none does."""
        at = bisect_left(self.sums_cx, target_cx)
        return self.prices_cc[at] if at < len(self.prices_cc) else None

    def better_than(self, price_cc: int) -> int:
        """Return how many levels are better than a price."""
        return bisect_left(self._downwards, -price_cc)

    def scores(self, pool: Pool, reference_rank: int) -> list[int]:
        """Return what everything down to each level scores if the reference has that rank and all of it qualifies."""
        known = self._scores.get((pool, reference_rank))
        if known is None:
            factors = [pool.factor(reference_rank - rank) for rank in self.ranks]
            known = self._scores[pool, reference_rank] = list(accumulate(map(mul, self._counts_cx, factors)))
        return known


class Offer:
    """An order of ours at one price, of a size still to be chosen.

    Attributes:
        reward: What a size earns an hour, in 2⁻³² micro-dollars, provided that the other side qualifies, too.
    """

    __slots__ = ("_shares", "price_cc", "reward")

    def __init__(self, price_cc: int, shares: Sequence[_Share]) -> None:
        self.price_cc = price_cc
        self._shares = shares
        # Asked hundreds of times a decision, nearly always of one program alone.
        self.reward: Callable[[int], int] = shares[0].reward if len(shares) == 1 else self._summed

    def _summed(self, count_cx: int) -> int:
        return sum(share.reward(count_cx) for share in self._shares)

    def net(self, count_cx: int, min_rate_bps_h: int) -> int:
        """Return by how much the reward exceeds a rate on the collateral, in 2⁻³² micro-dollars / 10,000."""
        return self.reward(count_cx) * BPS - self._cost(count_cx, min_rate_bps_h)

    def _cost(self, count_cx: int, min_rate_bps_h: int) -> int:
        return self.price_cc * count_cx * min_rate_bps_h << SCALE_BITS

    def best_cx(self, portions: Portions, min_rate_bps_h: int) -> int | None:
        """Return the size with the largest net: no portion past it earns more than `min_rate_bps_h` of its collateral.

        The smallest of equals; its net may be less than nothing. None when no size lies between the least and the most.
        """
        best_cx, best_net = None, 0
        for low, high in self._stretches(portions):
            most = self.reward(portions.size_cx(high)) * BPS - self._cost(portions.size_cx(low), min_rate_bps_h)
            if best_cx is not None and most < best_net:
                continue  # even what its largest size earns for the price of its smallest
            count_cx = self._top(portions, min_rate_bps_h, low, high)
            net = self.net(count_cx, min_rate_bps_h)
            if best_cx is None or net >= best_net:
                best_cx, best_net = count_cx, net
        return best_cx

    def _stretches(self, portions: Portions) -> Iterator[tuple[int, int]]:
        """Yield the first and the last portion between two steps of the rivals' scores, the largest sizes first."""
        if portions.least_cx > portions.most_cx:
            return
        first, last = portions.first, portions.last
        steps = {portions.number(count_cx) for share in self._shares for count_cx in share.from_cx}
        starts = sorted({first, *(number for number in steps if first < number <= last)}, reverse=True)
        yield from ((low, above - 1) for above, low in pairwise([last + 1, *starts]))

    def _top(self, portions: Portions, min_rate_bps_h: int, low: int, high: int) -> int:
        """Return the size at which the net is largest within a stretch: there each portion earns less than the last."""

        def grows(number: int) -> bool:
            net_before = self.net(portions.size_cx(number - 1), min_rate_bps_h)
            return self.net(portions.size_cx(number), min_rate_bps_h) > net_before

        if low < high and grows(high):  # limits bind more often than rates
            return portions.size_cx(high)
        while low < high:
            middle = (low + high + 1) // 2
            if grows(middle):
                low = middle
            else:
                high = middle - 1
        return portions.size_cx(low)


class _Share:
    """Our part of one pool's side by our size: our factor, and the rivals' scores from each of `from_cx` on."""

    __slots__ = ("_factor", "_half_rate", "_rivals", "from_cx")

    def __init__(self, half_rate: int, factor: int, from_cx: list[int], rivals: list[int]) -> None:
        self._half_rate, self._factor = half_rate, factor
        self.from_cx, self._rivals = from_cx, rivals

    def reward(self, count_cx: int) -> int:
        at = bisect_right(self.from_cx, count_cx) - 1
        ours = self._factor * count_cx
        return self._half_rate * ours // (ours + self._rivals[at]) if at >= 0 and ours else 0


class _Spot:
    """Our price among the others' levels. Levels are counted from 0; ours and what others rest there is `at`."""

    __slots__ = ("at", "better", "others", "rank", "sum_cx")

    def __init__(self, others: Others, price_cc: int) -> None:
        self.others = others
        self.rank = others.grid.rank(others.side, price_cc)
        self.better = others.better_than(price_cc)
        self.at = others.better_than(price_cc - 1) - 1
        self.sum_cx = others.sums_cx[self.at] if self.at >= 0 else 0

    @property
    def better_cx(self) -> int:
        return self.others.sums_cx[self.better - 1] if self.better else 0

    def reaching(self, size_cx: int) -> int:
        """Return the first level from ours down at which others alone have that much; past the last when none does."""
        return self.at if size_cx <= self.sum_cx else bisect_left(self.others.sums_cx, size_cx, self.at + 1)

    def rank_of(self, level: int) -> int:
        return self.rank if level == self.at else self.others.ranks[level]

    def turns(self, size_cx: int, most_cx: int) -> Iterator[int]:
        """Yield the sizes of ours with which each level in reach becomes the first to have `size_cx`."""
        last = min(self.reaching(size_cx), len(self.others.sums_cx) - 1)
        for level in range(self.reaching(size_cx - most_cx), last + 1):
            yield max(1, size_cx - (self.sum_cx if level == self.at else self.others.sums_cx[level]))


def offer_at(others: Others, pools: Sequence[Pool], price_cc: int, most_cx: int) -> Offer:
    """Return what an order at the price would earn by its size, for sizes up to `most_cx`."""
    spot = _Spot(others, price_cc)
    shares = (_share(spot, pool, most_cx) for pool in pools)
    return Offer(price_cc, [share for share in shares if share is not None])


def _share(spot: _Spot, pool: Pool, most_cx: int) -> _Share | None:
    """Return our part of a pool's side; None where an order does not qualify, whatever its size."""
    others, better_cx = spot.others, spot.better_cx
    if better_cx >= pool.target_cx:
        return None  # the floor is above us
    turns = set(spot.turns(pool.target_cx, most_cx))
    reference_rank, factor = None, SCALE  # at our price or below, wherever our size draws it
    if better_cx >= pool.reference_cx:
        reference_rank = others.ranks[bisect_left(others.sums_cx, pool.reference_cx)]
        factor = pool.factor(reference_rank - spot.rank)
    else:
        turns.update(spot.turns(pool.reference_cx, most_cx))
    from_cx, rivals = [], []
    for count_cx in sorted(turns):
        floor = spot.reaching(pool.target_cx - count_cx)
        if floor == len(others.sums_cx):
            continue  # too thin, still
        rank = reference_rank
        if rank is None:
            rank = spot.rank_of(spot.reaching(pool.reference_cx - count_cx))
        from_cx.append(count_cx)
        rivals.append(others.scores(pool, rank)[floor] if floor >= 0 else 0)
    return _Share(pool.half_rate, factor, from_cx, rivals)
