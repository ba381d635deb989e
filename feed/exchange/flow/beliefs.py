"""What the scenario's crowd believes: a chance of YES for each market, moving slowly and consistently.

Floats are fine here: a belief is not money; the crowd turns it into prices on the grid.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Protocol

YEAR_S = 365.25 * 86_400
STEP_MIN_US = 50_000  # believe anew at most every 50 ms

Fair = Callable[[int], float]


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


class Walk:
    """A value drifting around its middle (Ornstein-Uhlenbeck), stepped by the time that has passed."""

    def __init__(
        self, rng: random.Random, *, middle: float, sigma_per_minute: float, memory_s: float, now_us: int
    ) -> None:
        self._rng = rng
        self._middle = middle
        self._sigma = sigma_per_minute / math.sqrt(60)
        self._memory_s = memory_s
        self._at_us = now_us
        self.value = middle

    def at(self, now_us: int) -> float:
        passed_us = now_us - self._at_us
        if passed_us < STEP_MIN_US:
            return self.value
        passed_s = passed_us / 1e6
        pull = 1 - math.exp(-passed_s / self._memory_s)
        self.value += (self._middle - self.value) * pull + self._rng.gauss(0, self._sigma * math.sqrt(passed_s))
        self._at_us = now_us
        return self.value

    def jump(self, by: float) -> None:
        """Move for good."""
        self.value += by
        self._middle += by


class Belief(Protocol):
    """What news can move."""

    def jump(self, rng: random.Random, size: float) -> None:
        """Change at once, by about `size` in the belief's own natural measure."""


class Exclusive:
    """Chances of outcomes of which exactly one happens: they sum to one."""

    def __init__(self, rng: random.Random, weights: list[float], *, sigma_per_minute: float, now_us: int) -> None:
        self._walks = [
            Walk(rng, middle=math.log(w), sigma_per_minute=sigma_per_minute, memory_s=1_800, now_us=now_us)
            for w in weights
        ]

        self._chances: list[float] = []
        self._at_us = now_us

    def chances(self, now_us: int) -> list[float]:
        if not self._chances or now_us - self._at_us >= STEP_MIN_US:
            raised = [math.exp(walk.at(now_us)) for walk in self._walks]
            total = sum(raised)
            self._chances, self._at_us = [value / total for value in raised], now_us
        return self._chances

    def jump(self, rng: random.Random, size: float) -> None:
        """Move each outcome's log-odds by a draw with deviation `size`."""
        for walk in self._walks:
            walk.jump(rng.gauss(0, size))
        self._chances = []

    def fair(self, index: int) -> Fair:
        return lambda now_us: self.chances(now_us)[index]

    def winner(self, now_us: int) -> int:
        chances = self.chances(now_us)
        return chances.index(max(chances))


class Ladder:
    """Chances that one unknown number ends above each strike: falling from strike to strike."""

    def __init__(
        self, rng: random.Random, *, centre: float, width: float, sigma_per_minute: float, now_us: int
    ) -> None:
        self._centre = Walk(rng, middle=centre, sigma_per_minute=sigma_per_minute, memory_s=3_600, now_us=now_us)
        self._width = width

    def jump(self, rng: random.Random, size: float) -> None:
        """Move the expected number by a draw with deviation `size` times its own uncertainty."""
        self._centre.jump(rng.gauss(0, size * self._width))

    def fair(self, strike: float) -> Fair:
        return lambda now_us: _phi((self._centre.at(now_us) - strike) / self._width)


class Spot:
    """A traded price; the chance that it ends above a strike follows from the time left."""

    def __init__(self, rng: random.Random, *, start: float, yearly_volatility: float, now_us: int) -> None:
        self._rng = rng
        self._sigma = yearly_volatility / math.sqrt(YEAR_S)
        self._at_us = now_us
        self._log = math.log(start)

    def price(self, now_us: int) -> float:
        passed_us = now_us - self._at_us
        if passed_us >= STEP_MIN_US:
            self._log += self._rng.gauss(0, self._sigma * math.sqrt(passed_us / 1e6))
            self._at_us = now_us
        return math.exp(self._log)

    def above(self, strike: float, close_us: int, now_us: int) -> float:
        left_s = max((close_us - now_us) / 1e6, 0.5)
        return _phi(math.log(self.price(now_us) / strike) / (self._sigma * math.sqrt(left_s)))
