"""What may become of a position, whichever of its orders fill: cost and loss, in exact integers.

    exposure_ud(…)               the most that the open position may come to cost, or all of it may lose
    worst_event_loss_ud(…)       the most that mutually exclusive markets may lose together

A YES and a NO contract of one market are a dollar, whatever happens. So an order loses nothing by filling on the side
that wins, and its price on the side that loses: for each outcome the worst is that all orders of the losing side fill,
and none of the other. Money is before fees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from markets.core.settlement import Resting
from markets.core.units import DOLLAR_CC, SIDES, YES, Side


class Unproven(msgspec.Struct, frozen=True):
    """An order that may rest, or may have filled, though nobody has proven it; as large as it can be."""

    side: Side
    price_cc: int
    remaining_cx: int


class MarketExposure(msgspec.Struct, frozen=True):
    """What is held of one market, and what may fill.

    Attributes:
        position_cx: Net Yes position (No negative).
        cost_ud: What the open contracts cost.
        orders: All that rest or may rest.
    """

    position_cx: int
    cost_ud: int
    orders: tuple[Resting, ...] = ()

    def worst_loss_ud(self, winner: Side) -> int:
        """Return the most that is lost when `winner` resolves; negative is a sure profit."""
        held_cx = max(0, self.position_cx if winner is YES else -self.position_cx)
        loser = winner.other
        paid_ud = sum(order.price_cc * order.remaining_cx for order in self.orders if order.side is loser)
        return self.cost_ud + paid_ud - held_cx * DOLLAR_CC


def exposure_ud(position_cx: int, cost_ud: int, orders: Sequence[Resting]) -> int:
    """Return the most that the open position may come to cost, or that may be lost in all, whichever is more.

    Orders of one side alone are the worst: what fills on the other gives a dollar back for each pair.
    """
    return max(side_exposure_ud(side, position_cx, cost_ud, orders) for side in SIDES)


def side_exposure_ud(side: Side, position_cx: int, cost_ud: int, orders: Iterable[Resting]) -> int:
    """Return the same, while only orders of `side` fill.

    What closes needs nothing; the cheapest may do it, and the dearest then open.
    """
    closable_cx = max(0, -position_cx if side is YES else position_cx)
    ours = [order for order in orders if order.side is side]
    paid_ud = sum([order.price_cc * order.remaining_cx for order in ours])
    if not closable_cx:
        return cost_ud + paid_ud
    lost_ud = cost_ud + paid_ud - closable_cx * DOLLAR_CC
    return max(cost_ud, lost_ud, paid_ud - _cheapest_ud(ours, closable_cx))


def _cheapest_ud(orders: list[Resting], count_cx: int) -> int:
    """Return what the cheapest `count_cx` of the orders cost, or all of them."""
    cost_ud = 0
    for order in sorted(orders, key=lambda order: order.price_cc):
        taken_cx = min(count_cx, order.remaining_cx)
        cost_ud += taken_cx * order.price_cc
        count_cx -= taken_cx
    return cost_ud


def worst_event_loss_ud(markets: Sequence[MarketExposure], *, is_exhaustive: bool = False) -> int:
    """Return the most that markets lose together of which at most one resolves YES; negative is a sure profit.

    A void that pays fair prices lies between these outcomes as long as the prices sum to a dollar at most.

    Args:
        is_exhaustive: Whether it is known that one of them does; the venue's flag does not say so.
    """
    if not markets:
        return 0
    if_no_ud = [market.worst_loss_ud(Side.NO) for market in markets]
    none_ud = sum(if_no_ud)
    outcomes_ud = [
        none_ud - no_ud + market.worst_loss_ud(Side.YES) for market, no_ud in zip(markets, if_no_ud, strict=True)
    ]
    return max(outcomes_ud if is_exhaustive else [none_ud, *outcomes_ud])
