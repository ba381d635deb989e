"""How much cash resting orders may come to need. Source: facts.md section 10, and the switch `resting_collateral`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from feed.exchange.trading.positions import closing_cx
from markets.core.units import Side

if TYPE_CHECKING:
    from feed.exchange.trading.accounts import Account, Order

Reservation = Literal["sum", "max", "none"]


def market_need_ud(orders: Iterable[Order], position_cx: int) -> int:
    """Return the cash that resting orders of one market may need, oldest first.

    The part that closes the position needs none; each held contract frees one order's contract once.
    """
    closable = {Side.NO: max(0, position_cx), Side.YES: max(0, -position_cx)}
    need = 0
    for order in orders:
        closing = min(closable[order.side], order.remaining_cx)
        closable[order.side] -= closing
        need += (order.remaining_cx - closing) * order.price_cc
    return need


def order_need_ud(order: Order, position_cx: int) -> int:
    """Return the cash one order alone may need."""
    return (order.remaining_cx - closing_cx(position_cx, order.side, order.remaining_cx)) * order.price_cc


def reserved_ud(account: Account, orders: list[Order], reservation: Reservation) -> int:
    """Return what the orders of one balance hold back of it.

    Args:
        orders: Of one shard and subaccount, oldest first.
    """
    if reservation == "none":
        return 0
    if reservation == "max":
        return max((order_need_ud(o, account.held_cx(o.ticker, o.subaccount)) for o in orders), default=0)
    by_market: dict[str, list[Order]] = {}
    for order in orders:
        by_market.setdefault(order.ticker, []).append(order)
    return sum(market_need_ud(group, account.held_cx(t, group[0].subaccount)) for t, group in by_market.items())
