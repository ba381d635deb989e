"""The scenario's crowd: makers who re-quote around their belief, and takers who now and then hit them.

Shaped by the recordings (STATS.md): about half of all changes are re-quotes (remove here, add there), sizes are
lognormal with a long tail, a few in a hundred steps are trades with a median of 15 contracts, most of them
fractional; steps come in bursts. All of it rests as real orders, so a trader's queue place is true.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import msgspec

from markets.core.units import DOLLAR_CC, Side

if TYPE_CHECKING:
    from feed.exchange.flow.beliefs import Fair
    from feed.exchange.market import Market
    from feed.exchange.world import World

MAKERS = "flow-makers"
TAKERS = ("flow-takers-yes", "flow-takers-no")  # apart, so that open interest counts them as different people

CHANGES_PER_STEP = 1.5
TAKE_SHARE = 0.045
REQUOTE_SHARE = 0.55
BURST_SHARE = 0.5
BURST_GAP_US = 4_000
HEAT_S = 2.0
TRADE_MEDIAN, TRADE_SIGMA, TRADE_FRACTIONAL = 15.0, 1.6, 0.62
ORDER_SIGMA, ORDER_FRACTIONAL = 1.3, 0.14
COUNT_MAX = 60_000.0
ANCHOR_MISS = 0.65  # chance that an offer one step away from the anchor is worth closing the gap at once


class Pace(msgspec.Struct, frozen=True):
    """How lively a market is: book changes a second, half spread, levels a side, contracts of a typical order."""

    changes_per_s: float
    half_spread_cc: int = 80
    levels: int = 12
    size: float = 60.0


class Crowd:
    """Everybody's orders in one market, until it closes."""

    def __init__(self, world: World, market: Market, fair: Fair, pace: Pace) -> None:
        self._world = world
        self._market = market
        self._fair = fair
        self._pace = pace
        self._rng = random.Random(f"{world.seed}:flow:{market.ticker}")
        self._orders: tuple[dict[str, tuple[int, int]], ...] = ({}, {})  # id → (price_cc, count_cx)
        self._heat = 1.0
        self._heat_until_us = 0

    def start(self) -> None:
        """Fill an empty book and begin."""
        for side in Side:
            price: int | None = self._anchor_cc(side)
            for _ in range(self._pace.levels):
                if price is None:
                    break
                for _ in range(self._rng.randint(1, 3)):
                    self._add(side, price, self._order_count())
                price = self._market.terms.grid.step(side, price, -1)
        self._sleep()

    def _sleep(self) -> None:
        now, rng = self._world.now_us, self._rng
        if now >= self._heat_until_us:
            self._heat = rng.lognormvariate(-0.3, 0.77)
            self._heat_until_us = now + int(rng.expovariate(1 / HEAT_S) * 1e6)
        if rng.random() < BURST_SHARE:
            gap_us = rng.randint(0, BURST_GAP_US)
        else:
            rate = self._pace.changes_per_s / CHANGES_PER_STEP * (1 - BURST_SHARE) * self._heat
            gap_us = int(rng.expovariate(rate) * 1e6)
        self._world.schedule(now + gap_us, self._step)

    def _step(self) -> None:
        if not self._market.is_tradable:
            return
        self._forget_traded()
        if not (self._pull_stale() or self._pick_off()):
            self._act()
        self._sleep()

    def _act(self) -> None:
        side = self._rng.choice((Side.YES, Side.NO))
        draw = self._rng.random()
        if draw < TAKE_SHARE:
            self._take(side)
        elif self._market.book.best_cc(side) < self._anchor_cc(side) and self._rng.random() < ANCHOR_MISS:
            self._add(side, self._anchor_cc(side), self._order_count())
        elif draw < TAKE_SHARE + REQUOTE_SHARE and self._orders[side]:
            self._requote(side, self._rng.choice(list(self._orders[side])))
        elif len(self._orders[side]) > 2 * self._pace.levels:
            self._drop(side, self._rng.choice(list(self._orders[side])))
        else:
            self._add(side, self._draw_price(side), self._order_count())

    # --- belief to price ------------------------------------------------------------------------------------------

    def _fair_cc(self) -> int:
        return min(max(round(self._fair(self._world.now_us) * DOLLAR_CC), 20), DOLLAR_CC - 20)

    def _anchor_cc(self, side: Side) -> int:
        """Return the best price a maker offers on `side` for its belief."""
        fair = self._fair_cc()
        # Towards the edges the spread narrows, as the price of a long shot has little room.
        half = max(5, int(self._pace.half_spread_cc * min(1.0, 4 * fair * (DOLLAR_CC - fair) / DOLLAR_CC**2 + 0.1)))
        own_fair = fair if side is Side.YES else DOLLAR_CC - fair
        grid = self._market.terms.grid
        return grid.at_or_below(side, own_fair - half) or grid.prices_cc(side)[0]

    def _draw_price(self, side: Side) -> int:
        price = self._anchor_cc(side)
        steps = min(int(self._rng.expovariate(0.33)), self._pace.levels)
        return self._market.terms.grid.step(side, price, -steps) or self._market.terms.grid.prices_cc(side)[0]

    def _count(self, median: float, sigma: float, fractional: float) -> int:
        contracts = min(self._rng.lognormvariate(math.log(median), sigma), COUNT_MAX)
        if self._rng.random() < fractional:
            return max(1, int(contracts * 100))
        return max(1, round(contracts)) * 100

    def _order_count(self) -> int:
        return self._count(self._pace.size, ORDER_SIGMA, ORDER_FRACTIONAL)

    # --- deeds ----------------------------------------------------------------------------------------------------

    def _forget_traded(self) -> None:
        for orders in self._orders:
            for order_id in [order_id for order_id in orders if order_id not in self._market.book]:
                del orders[order_id]

    def _add(self, side: Side, price_cc: int, count_cx: int) -> None:
        order_id = self._world.entry.place_flow(self._market, MAKERS, side, price_cc, count_cx, rest=True)
        if order_id is not None:
            self._orders[side][order_id] = (price_cc, count_cx)

    def _drop(self, side: Side, order_id: str) -> None:
        del self._orders[side][order_id]
        self._world.entry.cancel_flow(self._market, order_id)

    def _requote(self, side: Side, order_id: str) -> None:
        _, count = self._orders[side][order_id]
        self._drop(side, order_id)
        self._add(side, self._draw_price(side), count)

    def _pull_stale(self) -> bool:
        """Move an order that the belief has left behind; return whether there was one."""
        for side in Side:
            orders = self._orders[side]
            if not orders:
                continue
            worst = max(orders, key=lambda order_id: orders[order_id][0])
            if orders[worst][0] > self._anchor_cc(side):
                self._requote(side, worst)
                return True
        return False

    def _pick_off(self) -> bool:
        """Trade against somebody who offers more than the belief is worth; return whether one was there."""
        fair = self._fair_cc()
        for side in Side:
            best = self._market.best_cc(side)
            own_fair = fair if side is Side.YES else DOLLAR_CC - fair
            if best > own_fair + self._pace.half_spread_cc // 2 and self._rng.random() < 0.3:
                self._take(side.other)
                return True
        return False

    def _take(self, side: Side) -> None:
        """Hit the best offers for `side`, at most one step through them."""
        best = self._market.best_cc(side.other)
        if not best:
            return
        reach = self._market.terms.grid.at_or_above(side, DOLLAR_CC - best)
        if reach is None:
            return
        price = self._market.terms.grid.step(side, reach, 1) or reach
        count = self._count(TRADE_MEDIAN, TRADE_SIGMA, TRADE_FRACTIONAL)
        self._world.entry.place_flow(self._market, TAKERS[side], side, price, count, rest=False)
