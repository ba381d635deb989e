"""What a market's fills make of position and cash, what resting orders may need, and what settlement pays.

    position = Position()
    cash_ud += position.cash_effect_ud(Side.YES, 4200, 1000) - fee_ud
    position = position.after(Side.YES, 4200, 1000, fee_ud=fee_ud)
    cash_ud += position.payout_ud(settlement_value_ud("yes"))
    position = position.settled(settlement_value_ud("yes"))

One signed number per market, YES positive: buying the other side closes first. Prices are on the fill's own ladder,
money in micro-dollars, before fees unless it says otherwise. All of it is exact but for two roundings, each down to the
micro-dollar: the cost that a partial close releases, and a payout at a value finer than $0.0001.

Source: facts.md section 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from markets.core.units import CONTRACT_CX, DOLLAR_CC, DOLLAR_UD, Side


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds of one market.

    Attributes:
        position_cx: Net contracts, YES positive.
        cost_ud: What the open contracts cost, before fees: also the most they can lose (the venue's exposure).
        realized_ud: Profit of what was closed or settled, before fees.
        traded_ud: Own-side price × count over all fills.
        fees_ud: All fees.
        volume_cx: Contracts of all fills.
    """

    position_cx: int = 0
    cost_ud: int = 0
    realized_ud: int = 0
    traded_ud: int = 0
    fees_ud: int = 0
    volume_cx: int = 0

    @property
    def side(self) -> Side | None:
        """The side that is held, None when flat."""
        if not self.position_cx:
            return None
        return Side.YES if self.position_cx > 0 else Side.NO

    @property
    def exposure_ud(self) -> int:
        return self.cost_ud

    def closing_cx(self, side: Side, count_cx: int) -> int:
        """Return the part of a fill on `side` that closes what is held; the rest opens."""
        return min(count_cx, abs(self.position_cx)) if self.side is side.other else 0

    def cash_effect_ud(self, side: Side, price_cc: int, count_cx: int) -> int:
        """Return how a fill changes cash, before its fee: opening pays the price, closing returns the rest of $1."""
        return self.closing_cx(side, count_cx) * DOLLAR_CC - count_cx * price_cc

    def after(self, side: Side, price_cc: int, count_cx: int, *, fee_ud: int = 0) -> Position:
        """Return the position after a fill on `side`'s ladder.

        Closing part of it releases that part of the cost, rounded down: the last contract takes what is left.
        """
        closing_cx = self.closing_cx(side, count_cx)
        released_ud = self.cost_ud * closing_cx // abs(self.position_cx) if closing_cx else 0
        return Position(
            position_cx=self.position_cx + (count_cx if side is Side.YES else -count_cx),
            cost_ud=self.cost_ud - released_ud + (count_cx - closing_cx) * price_cc,
            realized_ud=self.realized_ud + closing_cx * (DOLLAR_CC - price_cc) - released_ud,
            traded_ud=self.traded_ud + count_cx * price_cc,
            fees_ud=self.fees_ud + fee_ud,
            volume_cx=self.volume_cx + count_cx,
        )

    def payout_ud(self, value_ud: int) -> int:
        """Return the cash that settlement pays at `value_ud` per YES contract.

        A fraction of a micro-dollar, possible only at values finer than $0.0001, is lost to the holder.
        """
        worth_ud = value_ud if self.position_cx > 0 else DOLLAR_UD - value_ud
        return abs(self.position_cx) * worth_ud // CONTRACT_CX

    def settled(self, value_ud: int) -> Position:
        """Return the position after settlement: nothing held, the payout less the cost realized."""
        return self.paid_out(self.payout_ud(value_ud))

    def paid_out(self, paid_ud: int, *, fee_ud: int = 0) -> Position:
        """Return the position after settlement that paid just this, and charged a fee."""
        return msgspec.structs.replace(
            self,
            position_cx=0,
            cost_ud=0,
            realized_ud=self.realized_ud + paid_ud - self.cost_ud,
            fees_ud=self.fees_ud + fee_ud,
        )


def settlement_value_ud(result: Literal["yes", "no", "scalar"], value_ud: int | None = None) -> int:
    """Return what one YES contract is worth at settlement, in micro-dollars.

    Args:
        value_ud: The venue's settlement value; needed for a scalar result, which a fair price at a void is too.

    Raises:
        ValueError: A scalar result without a value in $0 .. $1, or a value that contradicts the result.
    """
    binary_ud = {"yes": DOLLAR_UD, "no": 0}.get(result)
    value_ud = binary_ud if value_ud is None else value_ud
    if value_ud is None or not 0 <= value_ud <= DOLLAR_UD:
        raise ValueError(f"a scalar result needs a value in 0..{DOLLAR_UD} micro-dollars, found {value_ud}")
    if binary_ud is not None and value_ud != binary_ud:
        raise ValueError(f"result {result!r} contradicts the settlement value {value_ud}")
    return value_ud


class Resting(Protocol):
    """What an order must tell to know what it may cost."""

    @property
    def side(self) -> Side: ...
    @property
    def price_cc(self) -> int: ...
    @property
    def remaining_cx(self) -> int: ...


def collateral_ud(orders: Iterable[Resting], position_cx: int) -> int:
    """Return the cash that resting orders of one market may come to need, before fees.

    Args:
        orders: Oldest first: the part that closes the position needs nothing, and each held contract serves one order.
    """
    closable_cx = {Side.NO: max(0, position_cx), Side.YES: max(0, -position_cx)}
    need_ud = 0
    for order in orders:
        closing_cx = min(closable_cx[order.side], order.remaining_cx)
        closable_cx[order.side] -= closing_cx
        need_ud += (order.remaining_cx - closing_cx) * order.price_cc
    return need_ud


def guaranteed_payout_ud(positions_cx: Sequence[int]) -> int:
    """Return what the NO positions of one mutually exclusive event pay whatever happens.

    At most one market resolves YES, so at most one of the NO positions, at worst the largest, pays nothing. An account
    that nets is credited this at once, and after each fill the difference; settlement then pays the rest.

    Args:
        positions_cx: Net positions in the event's markets, YES positive; those add nothing here.
    """
    no_cx = [-position_cx for position_cx in positions_cx if position_cx < 0]
    return (sum(no_cx) - max(no_cx, default=0)) * DOLLAR_CC
