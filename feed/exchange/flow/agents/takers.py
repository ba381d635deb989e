"""Noise takers: now and then somebody trades for reasons of their own; and offers beyond the belief get picked off."""

from __future__ import annotations

from feed.exchange.flow.agents.hands import Hands
from markets.core.units import Side

PICK_OFF_SHARE = 0.3


class NoiseTakers:
    """Those who hit the touch, at most one step through it."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def act(self, side: Side) -> None:
        self._hands.take(side, self._hands.trade_count(), steps=1)

    def pick_off(self) -> bool:
        """Trade against somebody who offers more than the belief is worth; return whether one was there."""
        hands = self._hands
        for side in Side:
            best = hands.market.best_cc(side)
            if best > hands.own_fair_cc(side) + hands.pace.half_spread_cc // 2 and hands.rng.random() < PICK_OFF_SHARE:
                self.act(side.other)
                return True
        return False
