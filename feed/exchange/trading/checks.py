"""Why a request is refused, in the order in which the venue is believed to look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from feed.exchange.trading import orders
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.orders import FOK, GTC, IOC, Amendment, NewOrder, Refusal
from feed.exchange.trading.register import OPEN_ORDERS_MAX, Register
from markets.core.units import yes_price_cc

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World


class Checks:
    """The checks of one world's order desk."""

    def __init__(self, world: World, register: Register) -> None:
        self._world = world
        self._register = register

    # --- create ---------------------------------------------------------------------------------------------------

    def of_terms(self, account: Account, market: Market, request: NewOrder) -> Refusal | None:
        """Return what is wrong with a create by itself."""
        if request.subaccount not in account.subaccounts:
            return orders.NOT_FOUND
        if request.count_cx <= 0:
            return orders.INVALID_SIZE
        if not market.terms.grid.contains(request.side, yes_price_cc(request.side, request.yes_price_cc)):
            return orders.INVALID_PRICE
        if request.expires_us is not None and request.time_in_force != GTC:
            return Refusal(400, "invalid_order", f"Cannot specify both {request.time_in_force} and expiration_time")
        if request.expires_us is not None and request.expires_us <= self._world.now_us:
            return orders.EXPIRES_IN_THE_PAST
        if request.reduce_only and request.time_in_force != IOC:
            return Refusal(400, "invalid_order", "reduce_only requires immediate_or_cancel")
        if len(account.open) >= OPEN_ORDERS_MAX:
            return orders.TOO_MANY_ORDERS
        return self._of_client_id(account, request.client_order_id)

    def _of_client_id(self, account: Account, client_order_id: str) -> Refusal | None:
        if "." in client_order_id:  # one report, facts.md section 8
            return orders.CLIENT_ID_FORM
        if client_order_id and self._register.has_client_id(account, client_order_id):
            return orders.ALREADY_EXISTS
        return None

    def of_market(self, account: Account, market: Market, request: NewOrder, order: Order) -> Refusal | None:
        """Return what the market or the account's money has against a new order."""
        switches = self._world.switches
        crosses = market.would_cross(order.side, order.price_cc)
        if request.post_only and crosses and switches.post_only_cross == "refuse":
            return orders.POST_ONLY_CROSS
        if request.time_in_force == FOK and market.reachable_cx(order.side, order.price_cc) < order.initial_cx:
            return orders.FOK_KILLED
        is_unfilled = request.time_in_force == IOC and order.remaining_cx > 0 and not crosses
        if is_unfilled and switches.unfilled_ioc == "refuse":
            return orders.IOC_UNFILLED
        return self._of_money(account, order)

    def _of_money(self, account: Account, order: Order, *, instead_of: Order | None = None) -> Refusal | None:
        """Refuse an order that makes its balance fall short; one that asks for no more than before may pass."""
        where = (order.exchange_index, order.subaccount)
        free = self._world.clearing.collateral.available_ud
        after = free(account, *where, with_order=order, without=instead_of)
        if after >= 0 or after >= free(account, *where):
            return None
        return orders.INSUFFICIENT_BALANCE

    # --- amend ----------------------------------------------------------------------------------------------------

    def of_amend(self, account: Account, market: Market, order: Order, request: Amendment) -> Refusal | None:
        """Return why an amend of a resting order is refused; whether it would meet an own order the book knows."""
        if request.ticker != order.ticker:
            return orders.TICKER_MISMATCH
        if request.side is not order.side:
            return orders.SIDE_MISMATCH
        if request.client_order_id and request.client_order_id != order.client_order_id:
            return orders.CLIENT_ID_MISMATCH
        if request.updated_client_order_id not in ("", order.client_order_id):
            refusal = self._of_client_id(account, request.updated_client_order_id)
            if refusal:
                return refusal
        own_price_cc = yes_price_cc(order.side, request.yes_price_cc)
        if not market.terms.grid.contains(order.side, own_price_cc):
            return orders.INVALID_PRICE
        if request.total_cx < order.fill_cx:
            return orders.AMEND_BELOW_FILLED
        if isinstance(request.expires_us, int) and request.expires_us <= self._world.now_us:
            return orders.EXPIRES_IN_THE_PAST
        wanted = msgspec.structs.replace(order, price_cc=own_price_cc, remaining_cx=request.total_cx - order.fill_cx)
        return self._of_money(account, wanted, instead_of=order)
