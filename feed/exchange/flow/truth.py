"""Unreactive flow: what these people do is a function of seed and time, whatever anybody else does.

A script is drawn from the market's own chance, looking at no book: passive orders that come and go, and takers with a
side, a limit and a size. Playing it, our orders may trade with theirs, and nothing more follows from it: no quote
moves and no taker comes or stays away because of us. So a strategy can be run as real orders and as paper over the
same flow, and the difference is the paper's error.

The chance of YES moves straight for some seconds, then turns; part of the takers know where it is heading, which is
what makes being filled cost something.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec

from feed.exchange.flow.agents.hands import FAIR_MIN_CC, MAKERS, TAKERS, Pace
from markets.core.grid import PriceGrid
from markets.core.units import DOLLAR_CC, Side

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

LEG_S = 3.0  # between two turns of the belief
BURST_SHARE, BURST_GAP_US = 0.4, 3_000
ORDER_SIGMA, TRADE_MEDIAN, TRADE_SIGMA = 1.3, 15.0, 1.6


class TruthPlan(msgspec.Struct, frozen=True):
    """Shares of all steps, of the takers that know, and how far the log-odds move in a minute (deviation)."""

    take: float = 0.06
    requote: float = 0.33
    informed: float = 0.35
    sigma_per_minute: float = 0.12


class Deed(msgspec.Struct, frozen=True):
    """One thing somebody does. `number` names a passive order, to be pulled by it; prices are on the side's ladder."""

    at_us: int
    kind: Literal["rest", "pull", "take"]
    side: Side
    price_cc: int
    count_cx: int
    number: int = 0


class Script:
    """The endless script of one market. Two of the same arguments are equal, deed by deed."""

    def __init__(self, rng: random.Random, grid: PriceGrid, pace: Pace, plan: TruthPlan, start_us: int) -> None:
        self._rng = rng
        self._grid = grid
        self._pace = pace
        self._plan = plan
        self._now_us = start_us
        self._odds = rng.gauss(0, 0.6)
        self._slope = 0.0  # log-odds a second
        self._leg_ends_us = start_us
        self._standing: tuple[dict[int, tuple[int, int]], ...] = (
            {},
            {},
        )  # number → price and count, as the script has it
        self._number = 0

    def deeds(self) -> Iterator[Deed]:
        """Yield what happens, in order of time, first a filled book."""
        for side in Side:
            for depth in range(self._pace.levels):
                yield self._rest(side, self._count(self._pace.size, ORDER_SIGMA), depth=depth)
        while True:
            self._wait()
            yield from self._pull_stale()
            yield from self._step()

    def _wait(self) -> None:
        rng = self._rng
        if rng.random() < BURST_SHARE:
            gap_us = rng.randint(0, BURST_GAP_US)
        else:
            gap_us = int(rng.expovariate(self._pace.changes_per_s * (1 - BURST_SHARE) / 1.4) * 1e6)
        self._odds += self._slope * gap_us / 1e6
        self._now_us += gap_us
        if self._now_us >= self._leg_ends_us:
            self._leg_ends_us = self._now_us + int(LEG_S * 1e6)
            self._slope = rng.gauss(0, self._plan.sigma_per_minute * math.sqrt(LEG_S / 60)) / LEG_S - self._odds / 3_600

    def _step(self) -> Iterator[Deed]:
        rng, draw = self._rng, self._rng.random()
        side = Side.YES if rng.random() < 0.5 else Side.NO
        if draw < self._plan.take:
            yield self._take(side)
            return
        standing = self._standing[side]
        if draw < self._plan.take + self._plan.requote and standing:
            pulled = self._pull(side, rng.choice(list(standing)))
            yield pulled
            yield self._rest(side, pulled.count_cx)
        elif len(standing) > 2 * self._pace.levels:
            yield self._pull(side, rng.choice(list(standing)))
        else:
            yield self._rest(side, self._count(self._pace.size, ORDER_SIGMA))

    def _pull_stale(self) -> Iterator[Deed]:
        for side in Side:
            anchor = self._anchor_cc(side)
            for number in [number for number, (price, _) in self._standing[side].items() if price > anchor]:
                yield self._pull(side, number)

    # --- single deeds ---------------------------------------------------------------------------------------------

    def _rest(self, side: Side, count_cx: int, *, depth: int | None = None) -> Deed:
        steps = min(int(self._rng.expovariate(0.33)), self._pace.levels) if depth is None else depth
        price = self._grid.step(side, self._anchor_cc(side), -steps) or self._grid.prices_cc(side)[0]
        self._number += 1
        self._standing[side][self._number] = (price, count_cx)
        return Deed(self._now_us, "rest", side, price, count_cx, self._number)

    def _pull(self, side: Side, number: int) -> Deed:
        price, count = self._standing[side].pop(number)
        return Deed(self._now_us, "pull", side, price, count, number)

    def _take(self, side: Side) -> Deed:
        rng = self._rng
        if rng.random() < self._plan.informed:
            side = Side.YES if self._slope > 0 else Side.NO
        reach_cc = self.own_fair_cc(side) + self._pace.half_spread_cc + 100 * rng.randint(0, 3)
        price = self._grid.at_or_below(side, reach_cc) or self._grid.prices_cc(side)[0]
        return Deed(self._now_us, "take", side, price, self._count(TRADE_MEDIAN, TRADE_SIGMA))

    # --- draws ----------------------------------------------------------------------------------------------------

    def own_fair_cc(self, side: Side) -> int:
        fair = round(DOLLAR_CC / (1 + math.exp(-self._odds)))
        fair = min(max(fair, FAIR_MIN_CC), DOLLAR_CC - FAIR_MIN_CC)
        return fair if side is Side.YES else DOLLAR_CC - fair

    def _anchor_cc(self, side: Side) -> int:
        price = self._grid.at_or_below(side, self.own_fair_cc(side) - self._pace.half_spread_cc)
        return price or self._grid.prices_cc(side)[0]

    def _count(self, median: float, sigma: float) -> int:
        return max(1, round(self._rng.lognormvariate(math.log(median * 100), sigma)))


class Truth:
    """Plays the script of one market until it closes. Deeds that fall into a halt lapse."""

    def __init__(self, world: World, market: Market, pace: Pace, plan: TruthPlan) -> None:
        self._world = world
        self._market = market
        rng = random.Random(f"{world.seed}:truth:{market.ticker}")
        self._deeds = Script(rng, market.terms.grid, pace, plan, world.now_us).deeds()
        self._next = next(self._deeds)
        self._ids: dict[int, str] = {}

    def start(self) -> None:
        self._play()

    def _play(self) -> None:
        """Do everything up to now and wait for the next deed."""
        now_us = self._world.now_us
        while self._next.at_us <= now_us:
            if self._market.is_tradable:
                self._do(self._next)
            self._next = next(self._deeds)
        if now_us < self._market.terms.close_us:
            self._world.schedule(self._next.at_us, self._play)

    def _do(self, deed: Deed) -> None:
        entry = self._world.entry
        if deed.kind == "pull":
            entry.cancel_flow(self._market, self._ids.pop(deed.number, ""))
            return
        owner = TAKERS[deed.side] if deed.kind == "take" else MAKERS
        rests = deed.kind == "rest"
        grid = self._market.terms.grid  # the script was written on the one the market began with
        price_cc = grid.at_or_below(deed.side, deed.price_cc) or grid.prices_cc(deed.side)[0]
        order_id = entry.place_flow(self._market, owner, deed.side, price_cc, deed.count_cx, rest=rests)
        if order_id is not None:
            self._ids[deed.number] = order_id
