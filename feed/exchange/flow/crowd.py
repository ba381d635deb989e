"""The crowd of one market: who acts when.

Steps come in bursts, and the pace itself runs hot and cold (STATS.md: an index of dispersion of 78 over seconds, half
of all changes within a millisecond of the one before). At each step one kind of people acts, drawn by its share;
first come stale orders and offers that are worth picking off. All of it rests as real orders, so a trader's queue
place is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.flow.agents.hands import Hands, Pace
from feed.exchange.flow.agents.makers import Makers
from feed.exchange.flow.agents.requoters import Requoters
from feed.exchange.flow.agents.rivals import Rival
from feed.exchange.flow.agents.sweepers import Sweepers
from feed.exchange.flow.agents.takers import NoiseTakers

if TYPE_CHECKING:
    from feed.exchange.flow.beliefs import Fair
    from feed.exchange.market import Market
    from feed.exchange.world import World

CHANGES_PER_STEP = 1.4
BURST_SHARE = 0.5
BURST_GAP_US = 4_000
HEAT_S = 2.0
HEAT_MU, HEAT_SIGMA = -0.3, 0.77
WAIT_US = 250_000  # how often people look whether a market that does not trade does so again
OVER = ("finalized",)


class Mix(msgspec.Struct, frozen=True):
    """Shares of all steps; what is left adds and drops single orders. `rivals` is how many there are."""

    take: float = 0.045
    requote: float = 0.33  # with both their changes about half of all, as on record
    sweep: float = 0.0
    rival: float = 0.0
    rivals: int = 0


EVERYDAY = Mix()


class Crowd:
    """Everybody's orders in one market, until it is settled."""

    def __init__(self, world: World, market: Market, fair: Fair, pace: Pace, mix: Mix = EVERYDAY) -> None:
        self._world = world
        self._market = market
        self._pace = pace
        self._mix = mix
        self._hands = Hands(world, market, fair, pace)
        self._rng = self._hands.rng
        self._makers = Makers(self._hands)
        self._requoters = Requoters(self._hands)
        self._takers = NoiseTakers(self._hands)
        self._sweepers = Sweepers(self._hands)
        self._hands.look()
        self._rivals = [Rival(self._hands, f"flow-rival-{number}") for number in range(1, mix.rivals + 1)]
        self._waited = False
        self._heat = 1.0
        self._heat_until_us = 0

    def start(self) -> None:
        """Fill an empty book and begin."""
        self._makers.fill()
        self._sleep()

    def excite(self, factor: float, seconds: float) -> None:
        """Let everything happen `factor` times as fast for some seconds: there is news."""
        self._hasten(factor, self._world.now_us + int(seconds * 1e6))

    def _hasten(self, factor: float, until_us: int) -> None:
        """Act beside the usual pace: a market asleep must not oversleep its news."""
        if not self._market.is_tradable or self._world.now_us >= until_us:
            return
        self._once()
        gap_us = int(self._rng.expovariate(self._pace.changes_per_s * factor / CHANGES_PER_STEP) * 1e6)
        self._world.schedule(self._world.now_us + gap_us, lambda: self._hasten(factor, until_us))

    def _sleep(self) -> None:
        now, rng = self._world.now_us, self._rng
        if now >= self._heat_until_us:
            self._heat = rng.lognormvariate(HEAT_MU, HEAT_SIGMA)
            self._heat_until_us = now + int(rng.expovariate(1 / HEAT_S) * 1e6)
        if rng.random() < BURST_SHARE:
            gap_us = rng.randint(0, BURST_GAP_US)
        else:
            rate = self._pace.changes_per_s / CHANGES_PER_STEP * (1 - BURST_SHARE) * self._heat
            gap_us = int(rng.expovariate(rate) * 1e6)
        self._world.schedule(now + gap_us, self._step)

    def _step(self) -> None:
        if self._market.is_tradable:
            if self._waited and not len(self._market.book):
                self._hands.look()
                self._makers.fill()  # a reactivation has cancelled everything
            self._waited = False
            self._once()
            self._sleep()
        elif self._market.status not in OVER:
            self._waited = True
            self._world.schedule(self._world.now_us + WAIT_US, self._step)

    def _once(self) -> None:
        self._hands.look()
        if not (self._makers.pull_stale() or self._takers.pick_off()):
            self._act()

    def _act(self) -> None:
        side, draw, mix = self._hands.any_side(), self._rng.random(), self._mix
        if draw < mix.take:
            self._takers.act(side)
            return
        draw -= mix.take
        if draw < mix.sweep:
            self._sweepers.act(side)
            return
        draw -= mix.sweep
        if draw < mix.rival and self._rng.choice(self._rivals).act(side):
            return
        draw -= mix.rival
        if self._makers.close_gap(side):
            return
        if draw < mix.requote and self._requoters.act(side):
            return
        self._makers.act(side)
