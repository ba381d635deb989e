"""Sweepers: one order through several levels, many times the usual size. One taker order, a print for each maker."""

from __future__ import annotations

from feed.exchange.flow.agents.hands import Hands
from markets.core.units import Side

LEVELS_MIN, LEVELS_MAX = 2, 6
SIZE_SCALE = 30.0  # times the median trade: about the p99 of the recorded ones


class Sweepers:
    """Those who want a lot and at once."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def act(self, side: Side) -> None:
        hands = self._hands
        steps = hands.rng.randint(LEVELS_MIN, LEVELS_MAX)
        hands.take(side, hands.trade_count(scale=SIZE_SCALE), steps=steps)
