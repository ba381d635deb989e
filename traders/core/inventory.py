"""What a trader holds and what it has paid, from its fills alone."""

from __future__ import annotations

import msgspec

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side, yes_price_cc


class Inventory(msgspec.Struct, frozen=True):
    """Net Yes position (No negative), cash moved by fills in micro-dollars before fees, number of fills.

    A No order filled at q counts as Yes sold at $1 − q: the same position and, with the dollar a pair is worth,
    the same money.
    """

    position_cx: int = 0
    cash_ud: int = 0
    fills: int = 0

    def after(self, side: Side, price_cc: int, count_cx: int) -> Inventory:
        """Return the inventory after `count_cx` filled on `side`'s ladder at `price_cc`."""
        signed_cx = count_cx if side is Side.YES else -count_cx
        return Inventory(
            position_cx=self.position_cx + signed_cx,
            cash_ud=self.cash_ud - signed_cx * yes_price_cc(side, price_cc),
            fills=self.fills + 1,
        )

    def trading_ud(self, book: OrderBook) -> int | None:
        """Return cash plus the position marked at the side it would have to trade into; before fees.

        Long is marked at the best Yes bid, short at the best Yes ask; None when that side is empty.
        """
        if not self.position_cx:
            return self.cash_ud
        mark_cc = book.yes_bid_cc if self.position_cx > 0 else book.yes_ask_cc
        if mark_cc is None:
            return None
        assert 0 < mark_cc < DOLLAR_CC, "a best price is tradable"
        return self.cash_ud + self.position_cx * mark_cc
