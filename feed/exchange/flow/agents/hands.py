"""What the people of one market share: its book, their belief, the orders they hold, how they draw prices and sizes.

Sizes and offsets are shaped by the recordings (STATS.md): lognormal sizes with a long tail, trades with a median of 15
contracts of which most are fractional, orders mostly whole.
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

TRADE_MEDIAN, TRADE_SIGMA, TRADE_FRACTIONAL = 15.0, 1.6, 0.62
ORDER_SIGMA, ORDER_FRACTIONAL = 1.3, 0.14
COUNT_MAX = 60_000.0
FAIR_MIN_CC = 20


class Pace(msgspec.Struct, frozen=True):
    """How lively a market is: book changes a second, half spread, levels a side, contracts of a typical order."""

    changes_per_s: float
    half_spread_cc: int = 80
    levels: int = 12
    size: float = 60.0


class Held:
    """Orders of one side that the crowd has put there; some may have traded since."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._at: dict[str, int] = {}
        self._terms: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def put(self, order_id: str, price_cc: int, count_cx: int) -> None:
        self._at[order_id] = len(self._ids)
        self._ids.append(order_id)
        self._terms[order_id] = (price_cc, count_cx)

    def pop(self, order_id: str) -> tuple[int, int]:
        """Forget an order and return its price and count; costs the same however many are held."""
        at, last = self._at.pop(order_id), self._ids.pop()
        if last != order_id:
            self._ids[at] = last
            self._at[last] = at
        return self._terms.pop(order_id)

    def any(self, rng: random.Random) -> str:
        return self._ids[int(rng.random() * len(self._ids))]

    def above(self, price_cc: int) -> str | None:
        """Return an order with a better price than `price_cc`, if there is one."""
        return next((order_id for order_id, (price, _) in self._terms.items() if price > price_cc), None)


class Hands:
    """One market as its crowd sees it. `look` brings the belief up to date; everything else goes by that."""

    def __init__(self, world: World, market: Market, fair: Fair, pace: Pace) -> None:
        self.world = world
        self.market = market
        self.pace = pace
        self.rng = random.Random(f"{world.seed}:flow:{market.ticker}")
        self.held = (Held(), Held())
        self.fair_cc = 0
        self.anchors_cc = (0, 0)  # the best price a maker offers on each side for the belief
        self._fair = fair
        self._structure = ""  # the price structure the anchors lie on: it may change under us

    def look(self) -> None:
        """Believe anew."""
        fair = min(max(round(self._fair(self.world.now_us) * DOLLAR_CC), FAIR_MIN_CC), DOLLAR_CC - FAIR_MIN_CC)
        structure = self.market.terms.structure
        if (fair, structure) == (self.fair_cc, self._structure):
            return
        self.fair_cc, self._structure = fair, structure
        # Towards the edges the spread narrows, as the price of a long shot has little room.
        half = max(5, int(self.pace.half_spread_cc * min(1.0, 4 * fair * (DOLLAR_CC - fair) / DOLLAR_CC**2 + 0.1)))
        self.anchors_cc = (self.grid_price(Side.YES, fair - half), self.grid_price(Side.NO, DOLLAR_CC - fair - half))

    def own_fair_cc(self, side: Side) -> int:
        return self.fair_cc if side is Side.YES else DOLLAR_CC - self.fair_cc

    def any_side(self) -> Side:
        return Side.YES if self.rng.random() < 0.5 else Side.NO

    # --- draws ----------------------------------------------------------------------------------------------------

    def grid_price(self, side: Side, price_cc: int) -> int:
        grid = self.market.terms.grid
        return grid.at_or_below(side, price_cc) or grid.prices_cc(side)[0]

    def resting_price(self, side: Side) -> int:
        """Return a price at the anchor or some steps behind it."""
        steps = min(int(self.rng.expovariate(0.33)), self.pace.levels)
        grid = self.market.terms.grid
        return grid.step(side, self.anchors_cc[side], -steps) or grid.prices_cc(side)[0]

    def order_count(self) -> int:
        return self._count(self.pace.size, ORDER_SIGMA, ORDER_FRACTIONAL)

    def trade_count(self, *, scale: float = 1.0) -> int:
        return self._count(TRADE_MEDIAN * scale, TRADE_SIGMA, TRADE_FRACTIONAL)

    def _count(self, median: float, sigma: float, fractional: float) -> int:
        contracts = min(self.rng.lognormvariate(math.log(median), sigma), COUNT_MAX)
        if self.rng.random() < fractional:
            return max(1, int(contracts * 100))
        return max(1, round(contracts)) * 100

    # --- deeds ----------------------------------------------------------------------------------------------------

    def add(self, side: Side, price_cc: int, count_cx: int) -> None:
        order_id = self.world.entry.place_flow(self.market, MAKERS, side, price_cc, count_cx, rest=True)
        if order_id is not None:
            self.held[side].put(order_id, price_cc, count_cx)

    def drop(self, side: Side, order_id: str) -> tuple[int, int] | None:
        """Cancel an order and return its price and count; None if it had traded away meanwhile."""
        terms = self.held[side].pop(order_id)
        if order_id not in self.market.book:
            return None
        self.world.entry.cancel_flow(self.market, order_id)
        return terms

    def take(self, side: Side, count_cx: int, *, steps: int) -> None:
        """Hit the best offers for `side`, at most `steps` grid steps through the first."""
        best = self.market.best_cc(side.other)
        if not best:
            return
        grid = self.market.terms.grid
        reach = grid.at_or_above(side, DOLLAR_CC - best)
        if reach is None:
            return
        price = grid.step(side, reach, steps) or grid.prices_cc(side)[-1]
        self.world.entry.place_flow(self.market, TAKERS[side], side, price, count_cx, rest=False)
