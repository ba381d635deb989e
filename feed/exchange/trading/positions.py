"""What an account holds of one market: a signed count and what it cost.

Cash effects of a fill, before fees: opening at own-side price p costs p a contract, closing returns $1 − p. The
position of a market is one signed number, YES positive. Source: facts.md section 10.
"""

from __future__ import annotations

import msgspec

from markets.core.units import DOLLAR_CC, Side


class Position(msgspec.Struct):
    """Holding of one subaccount in one market; `cost_ud` is what the open contracts cost."""

    ticker: str
    event_ticker: str
    exchange_index: int
    subaccount: int = 0
    position_cx: int = 0
    cost_ud: int = 0
    traded_ud: int = 0
    realized_ud: int = 0
    fees_ud: int = 0
    volume_cx: int = 0
    updated_us: int = 0

    @property
    def no_cx(self) -> int:
        """NO contracts held."""
        return max(0, -self.position_cx)

    def fill(self, side: Side, price_cc: int, count_cx: int) -> int:
        """Book a fill at own-side `price_cc` and return its cash effect before fees.

        A cost share that does not divide stays with what is left of the position.
        """
        held = abs(self.position_cx)
        closing = closing_cx(self.position_cx, side, count_cx)
        opening = count_cx - closing
        if closing:
            released = self.cost_ud * closing // held
            self.cost_ud -= released
            self.realized_ud += closing * (DOLLAR_CC - price_cc) - released
        self.cost_ud += opening * price_cc
        self.traded_ud += count_cx * price_cc
        self.volume_cx += count_cx
        self.position_cx += signed_cx(side, count_cx)
        return closing * (DOLLAR_CC - price_cc) - opening * price_cc

    def settle(self, yes_value_cc: int) -> int:
        """Pay out the position at what a YES contract is worth, and return the cash."""
        worth = yes_value_cc if self.position_cx > 0 else DOLLAR_CC - yes_value_cc
        cash = abs(self.position_cx) * worth
        self.realized_ud += cash - self.cost_ud
        self.position_cx = self.cost_ud = 0
        return cash


def signed_cx(side: Side, count_cx: int) -> int:
    """Return a count as it moves the position: YES up, NO down."""
    return count_cx if side is Side.YES else -count_cx


def closing_cx(position_cx: int, side: Side, count_cx: int) -> int:
    """Return how much of an order of `side` closes a position; the rest opens."""
    holds_other = position_cx < 0 if side is Side.YES else position_cx > 0
    return min(count_cx, abs(position_cx)) if holds_other else 0
