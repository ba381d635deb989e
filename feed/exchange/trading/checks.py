"""Why a create is refused, in the order in which the venue is believed to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feed.exchange.trading import orders
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.orders import FOK, GTC, IOC, NewOrder, Refusal
from markets.core.units import yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


def terms_refusal(world: World, account: Account, market: Market, request: NewOrder) -> Refusal | None:
    """Return what is wrong with the request by itself."""
    if request.order_group_id:
        return orders.NOT_FOUND
    if request.count_cx <= 0:
        return orders.INVALID_SIZE
    if not market.terms.grid.contains(request.side, yes_price_cc(request.side, request.yes_price_cc)):
        return orders.INVALID_PRICE
    if request.expires_us is not None and request.time_in_force != GTC:
        return Refusal(400, "invalid_order", f"Cannot specify both {request.time_in_force} and expiration_time")
    if request.expires_us is not None and request.expires_us <= world.now_us:
        return Refusal(400, "invalid_order", "Expiration timestamp must be in the future")
    if request.reduce_only and request.time_in_force != IOC:
        return Refusal(400, "invalid_order", "reduce_only requires immediate_or_cancel")
    if request.client_order_id and request.client_order_id in account.client_order_ids:
        return orders.ALREADY_EXISTS
    return None


def state_refusal(market: Market, *, cancelling: bool) -> Refusal | None:
    """Return why a market takes no orders now, or not even a cancel."""
    return market.refusal(cancelling=cancelling)


def market_refusal(world: World, account: Account, market: Market, request: NewOrder, order: Order) -> Refusal | None:
    """Return what the market or the account's money has against the order."""
    if request.post_only and market.would_cross(order.side, order.price_cc):
        return orders.POST_ONLY_CROSS
    if request.time_in_force == FOK and market.reachable_cx(order.side, order.price_cc) < order.initial_cx:
        return orders.FOK_KILLED
    free = world.clearing.collateral.available_ud
    before = free(account, order.exchange_index, order.subaccount)
    after = free(account, order.exchange_index, order.subaccount, with_order=order)
    if after < 0 and after < before:
        return orders.INSUFFICIENT_BALANCE
    return None
