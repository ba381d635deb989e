"""Everyday makers: they fill the book around the belief, thin it, and pull what the belief has left behind."""

from __future__ import annotations

from feed.exchange.flow.agents.hands import Hands
from markets.core.units import Side

ANCHOR_MISS = 0.65  # chance that an offer one step away from the anchor is worth closing the gap at once


class Makers:
    """Those who add and remove single orders."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    def fill(self) -> None:
        """Put one to three orders on each level of an empty book."""
        hands = self._hands
        for side in Side:
            price: int | None = hands.anchors_cc[side]
            for _ in range(hands.pace.levels):
                if price is None:
                    break
                for _ in range(hands.rng.randint(1, 3)):
                    hands.add(side, price, hands.order_count())
                price = hands.market.terms.grid.step(side, price, -1)

    def act(self, side: Side) -> None:
        hands = self._hands
        held = hands.held[side]
        if len(held) > 2 * hands.pace.levels:
            hands.drop(side, held.any(hands.rng))
        else:
            hands.add(side, hands.resting_price(side), hands.order_count())

    def close_gap(self, side: Side) -> bool:
        """Offer at the anchor where nobody does; return whether that was needed and done."""
        hands = self._hands
        if hands.market.book.best_cc(side) >= hands.anchors_cc[side] or hands.rng.random() >= ANCHOR_MISS:
            return False
        hands.add(side, hands.anchors_cc[side], hands.order_count())
        return True

    def pull_stale(self) -> bool:
        """Move an order that is dearer than the belief allows; return whether there was one."""
        hands = self._hands
        for side in Side:
            anchor = hands.anchors_cc[side]
            if hands.market.book.best_cc(side) <= anchor:
                continue
            order_id = hands.held[side].above(anchor)
            if order_id is None:
                continue
            terms = hands.drop(side, order_id)
            if terms is not None:
                hands.add(side, hands.resting_price(side), terms[1])
            return True
        return False
