"""Re-quoters: remove here, add there, the same size. About half of all changes on record are theirs (STATS.md)."""

from __future__ import annotations

from feed.exchange.flow.agents.hands import Hands
from markets.core.units import Side


class Requoters:
    """Those who move an order without changing their mind about its size."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def act(self, side: Side) -> bool:
        """Move one order; return False if there was none to move."""
        hands = self._hands
        if not len(hands.held[side]):
            return False
        terms = hands.drop(side, hands.held[side].any(hands.rng))
        if terms is not None:
            hands.add(side, hands.resting_price(side), terms[1])
        return True
