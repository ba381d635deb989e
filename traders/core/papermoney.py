"""What paper fills cost and what paper cash allows, as the exchange keeps it.

Fees are charged exactly, per fill and with the rounding that the order has gathered; unknown terms leave them unknown.
An order is refused where the balance less the collateral of what rests, and of it, falls short and would fall further;
collateral is before fees (facts.md section 10).
"""

from __future__ import annotations

from collections.abc import Sequence

from markets.core.fees import FeeTerms, OrderRounding, charged_fee
from markets.core.settlement import collateral_ud
from traders.core.inventory import Inventory
from traders.core.orders import Fill, Order
from traders.core.why import Why, said

ENDLESS_UD = 10**15  # a billion dollars: what paper cash without a bound is said to be


class PaperMoney:
    """Cash, position and fees of one paper trader.

    Args:
        fees: None while they are unknown.
        cash_ud: What there was before the first fill; None is as much as it takes.
        precision_ud: The account's, for the rounding of fees.
        inventory: What the trader holds.

    Attributes:
        fees: Those that later fills are charged by.
        inventory: After every fill booked so far.
    """

    def __init__(self, *, fees: FeeTerms | None, cash_ud: int | None, precision_ud: int, inventory: Inventory) -> None:
        self.fees = fees
        self.inventory = inventory
        self._cash_ud = cash_ud
        self._precision_ud = precision_ud

    @property
    def cash_ud(self) -> int:
        """What there is now, before what resting orders hold back; without a bound, more than anybody needs."""
        return ENDLESS_UD if self._cash_ud is None else self._cash_ud + self.inventory.cash_ud

    def charge(
        self, rounding: OrderRounding, price_cc: int, count_cx: int, at_us: int, *, is_taker: bool
    ) -> tuple[int | None, OrderRounding]:
        """Return the fee of a fill, None when it is unknown, and what the order's next fill starts from."""
        if self.fees is None:
            return None, rounding
        charge = charged_fee(
            self.fees,
            rounding,
            is_taker=is_taker,
            price_cc=price_cc,
            count_cx=count_cx,
            at_us=at_us,
            precision_ud=self._precision_ud,
        )
        return (None, rounding) if charge is None else (charge.fee_ud, charge.rounding)

    def book(self, fill: Fill) -> Fill:
        """Count a fill, and return it."""
        self.inventory = self.inventory.after(
            fill.order.side, fill.paid_cc, fill.count_cx, fee_ud=fill.fee_ud, inferred=fill.inferred
        )
        return fill

    def why_too_dear(self, order: Order, resting: Sequence[Order]) -> str:
        """Return why the cash does not allow an order; empty when it does, or when the order needs none.

        Args:
            resting: What rests already, oldest first.
        """
        if self._cash_ud is None:
            return ""
        position_cx = self.inventory.position_cx
        reserved_ud = collateral_ud(resting, position_cx)
        free_ud = self.cash_ud - reserved_ud
        need_ud = collateral_ud([*resting, order], position_cx) - reserved_ud
        if need_ud <= max(0, free_ud):
            return ""
        figures = {"need_ud": need_ud, "free_ud": free_ud}
        return said((Why("insufficient_balance", "insufficient balance: needs {need_ud}, {free_ud} is free", figures),))
