"""News: at random moments what is believed of one event jumps, and everybody there acts at once.

Makers whose quotes are stale get picked off or pull them, takers follow; after some seconds it is over and the new
belief stays.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from feed.exchange.flow.stage import Stage, Subject


class NewsPlan(msgspec.Struct, frozen=True):
    """One jump each `every_s` on average, of about `size` in the belief's own measure; then `factor` for `burst_s`."""

    every_s: float
    size: float
    factor: float
    burst_s: float


class News:
    """The wire that everybody reads."""

    def __init__(self, stage: Stage, plan: NewsPlan) -> None:
        self._world = stage.world
        self._subjects: list[Subject] = stage.subjects
        self._plan = plan
        self._rng = random.Random(f"{stage.world.seed}:news")
        self.told: list[tuple[int, str]] = []  # when, and about which event

    def start(self) -> None:
        gap_us = int(self._rng.expovariate(1 / self._plan.every_s) * 1e6)
        self._world.schedule(self._world.now_us + gap_us, self._break)

    def _break(self) -> None:
        subject = self._rng.choice(self._subjects)
        subject.belief.jump(self._rng, self._plan.size)
        self.told.append((self._world.now_us, subject.ticker))
        for crowd in subject.crowds:
            crowd.excite(self._plan.factor, self._plan.burst_s)
        self.start()
