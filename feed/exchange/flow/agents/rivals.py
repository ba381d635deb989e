"""Rival makers: each keeps one quote a side and wants to be the best, or to score, without leaving their belief.

While a liquidity programme runs on the market a rival rests where it counts: at the reference price, the level where
the size from the best price on reaches a fifth of the target (incentives.md), with a share of the target size.
Otherwise they go for the touch: join it, or step before it. Never dearer than belief less their edge.
"""

from __future__ import annotations

from feed.exchange.flow.agents.hands import Hands
from markets.core.units import Side

EDGE_MIN, EDGE_MAX = 0.4, 1.6  # of the half spread of the market
STEP_AHEAD_SHARE = 0.4
TARGET_SHARE_MIN, TARGET_SHARE_MAX = 0.15, 0.6
REFERENCE_PART = 5
PROGRAMS_KNOWN_US = 1_000_000


class Rival:
    """One competitor in one market."""

    def __init__(self, hands: Hands, name: str) -> None:
        self._hands = hands
        self._name = name
        rng = hands.rng
        self._edge_cc = int(hands.pace.half_spread_cc * rng.uniform(EDGE_MIN, EDGE_MAX))
        self._size_cx = hands.order_count()
        self._target_share = rng.uniform(TARGET_SHARE_MIN, TARGET_SHARE_MAX)
        self._quotes: list[tuple[str, int] | None] = [None, None]  # order id and price of each side
        self._target_cx = 0
        self._looked_us = -PROGRAMS_KNOWN_US

    def act(self, side: Side) -> bool:
        """Bring the quote of one side to where it should be; return False if it is there already."""
        self._look_for_programs()
        quote = self._standing(side)
        wish = self._reference_cc(side) if self._target_cx else self._touch_cc(side, quote)
        # The grid may have changed under the orders of others.
        wish = self._hands.grid_price(side, min(wish, self._hands.own_fair_cc(side) - self._edge_cc))
        if quote is not None and quote[1] == wish:
            return False
        world, market = self._hands.world, self._hands.market
        if quote is not None:
            world.entry.cancel_flow(market, quote[0])
        count = max(1, int(self._target_cx * self._target_share)) if self._target_cx else self._size_cx
        order_id = world.entry.place_flow(market, self._name, side, wish, count, rest=True)
        self._quotes[side] = None if order_id is None else (order_id, wish)
        return True

    def _standing(self, side: Side) -> tuple[str, int] | None:
        quote = self._quotes[side]
        return quote if quote is not None and quote[0] in self._hands.market.book else None

    def _touch_cc(self, side: Side, quote: tuple[str, int] | None) -> int:
        """Return the best price, or a step before it where somebody else has it."""
        hands = self._hands
        best = hands.market.best_cc(side)
        if not best:
            return hands.anchors_cc[side]
        if (quote is not None and quote[1] == best) or hands.rng.random() >= STEP_AHEAD_SHARE:
            return best
        return hands.market.terms.grid.at_or_above(side, best + 1) or best

    def _reference_cc(self, side: Side) -> int:
        levels = self._hands.market.levels(side)
        gathered = 0
        for price in sorted(levels, reverse=True):
            gathered += levels[price]
            if gathered * REFERENCE_PART >= self._target_cx:
                return price
        return self._hands.anchors_cc[side]

    def _look_for_programs(self) -> None:
        world = self._hands.world
        if world.now_us - self._looked_us < PROGRAMS_KNOWN_US:
            return
        self._looked_us = world.now_us
        ticker = self._hands.market.ticker
        targets = [
            program.target_size_cx or 0
            for program in world.programs.values()
            if program.market_ticker == ticker and program.status(world.now_us) == "active"
        ]
        self._target_cx = max(targets, default=0)
