"""Which orders there are, which of them rest, and which client ids are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feed.exchange.catalog import SHARD_DEFAULT
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.orders import AUTO_ROUTE, Route

if TYPE_CHECKING:
    from feed.exchange.world import World

OPEN_ORDERS_MAX = 200_000  # of one account; facts.md section 8


class Register:
    """Every account order of a world, by id."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._orders: dict[str, Order] = {}

    def get(self, order_id: str) -> Order | None:
        """Return an account's order; None for the crowd's."""
        return self._orders.get(order_id)

    def account_of(self, order: Order) -> Account:
        return self._world.accounts[order.account]

    def find(self, account: Account, order_id: str, route: Route | None) -> Order | None:
        """Return a resting order, if a request that goes by `route` gets to its shard and subaccount."""
        order = account.open.get(order_id)
        return order if order is not None and (route is None or self._reaches(order, route)) else None

    def _reaches(self, order: Order, route: Route) -> bool:
        if route.subaccount != order.subaccount:
            return False
        if route.exchange_index not in (None, AUTO_ROUTE):
            return route.exchange_index == order.exchange_index
        if not route.ticker:
            return order.exchange_index == SHARD_DEFAULT
        market = self._world.markets.get(route.ticker)
        return market is not None and market.terms.exchange_index == order.exchange_index

    def has_client_id(self, account: Account, client_order_id: str) -> bool:
        return client_order_id in account.client_order_ids

    def enter(self, account: Account, order: Order) -> None:
        """Take in an accepted order, and its client id."""
        self._orders[order.order_id] = account.orders[order.order_id] = order
        if order.client_order_id:
            account.client_order_ids.add(order.client_order_id)

    def rename(self, account: Account, order: Order, client_order_id: str) -> None:
        """Give an order another client id."""
        self._free(account, order)
        order.client_order_id = client_order_id
        account.client_order_ids.add(client_order_id)

    def leave(self, account: Account, order: Order) -> None:
        """Note that an order is over."""
        account.open.pop(order.order_id, None)
        self._free(account, order)

    def _free(self, account: Account, order: Order) -> None:
        if self._world.switches.client_order_ids == "while_open":
            account.client_order_ids.discard(order.client_order_id)
