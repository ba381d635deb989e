"""REST order writes: the V2 family, and what is left of the first one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed, subaccount_read, subaccount_written
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.orders import Placed, Refusal, Route
from feed.exchange.wire import orders as orders_wire
from feed.exchange.wire import requests
from feed.exchange.wire.answers import Query, answer

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange
    from feed.exchange.world import World

DOCS = "https://docs.kalshi.com/getting_started/order_direction"
ORDERS = f"{BASE}/portfolio/events/orders"
OLD_ORDERS = f"{BASE}/portfolio/orders"


class OrderWrites:
    """Requests that create, change and end orders."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        own = partial(signed, self._exchange)
        return [
            web.post(ORDERS, own(self.create)),
            web.post(f"{ORDERS}/batched", own(self.create_batch)),
            web.delete(f"{ORDERS}/batched", own(self.cancel_batch)),
            web.delete(ORDERS, own(self.cancel_all)),
            web.delete(f"{ORDERS}/{{order_id}}", own(self.cancel)),
            web.post(f"{ORDERS}/{{order_id}}/amend", own(self.amend)),
            web.post(f"{ORDERS}/{{order_id}}/decrease", own(self.decrease)),
            *self._retired(),
        ]

    def _retired(self) -> list[web.RouteDef]:
        gone = signed(self._exchange, self.retired)
        return [
            web.post(OLD_ORDERS, gone),
            web.post(f"{OLD_ORDERS}/batched", gone),
            web.delete(f"{OLD_ORDERS}/batched", gone),
            web.delete(f"{OLD_ORDERS}/{{order_id}}", gone),
            web.post(f"{OLD_ORDERS}/{{order_id}}/amend", gone),
            web.post(f"{OLD_ORDERS}/{{order_id}}/decrease", gone),
        ]

    # --- create ---------------------------------------------------------------------------------------------------

    async def create(self, request: web.Request, account: Account) -> web.Response:
        raw = await request.read()
        new = requests.read_create(raw, request.content_type, partial(subaccount_written, request))
        world = self._exchange.world
        result = world.entry.place(account, new)
        return self._told(result if isinstance(result, Refusal) else orders_wire.created(result, world.now_us), 201)

    async def create_batch(self, request: web.Request, account: Account) -> web.Response:
        """Create each order by itself: what is refused stands in its place as an error."""
        raw = await request.read()
        batch = requests.read_create_batch(raw, request.content_type, partial(subaccount_written, request))
        world = self._exchange.world
        results = [(new, world.entry.place(account, new)) for new in batch]
        rows = [
            orders_wire.created(result, world.now_us)
            if isinstance(result, Placed)
            else orders_wire.not_created(new, result)
            for new, result in results
        ]
        return self._told({"orders": rows}, 201)

    # --- change ---------------------------------------------------------------------------------------------------

    async def amend(self, request: web.Request, account: Account) -> web.Response:
        amendment, exchange_index = requests.read_amend(await request.read(), request.content_type)
        route = Route(
            subaccount=self._subaccount(request, "AmendOrderV2"),
            exchange_index=exchange_index,
            ticker=amendment.ticker,
        )
        world = self._exchange.world
        result = world.entry.amend(account, request.match_info["order_id"], amendment, route)
        return self._told(result if isinstance(result, Refusal) else orders_wire.amended(result, world.now_us))

    async def decrease(self, request: web.Request, account: Account) -> web.Response:
        decrease, exchange_index, ticker = requests.read_decrease(await request.read(), request.content_type)
        subaccount = self._subaccount(request, "DecreaseOrderV2")
        route = Route(subaccount=subaccount, exchange_index=exchange_index, ticker=ticker)
        world = self._exchange.world
        result = world.entry.decrease(account, request.match_info["order_id"], decrease, route)
        return self._told(result if isinstance(result, Refusal) else orders_wire.decreased(result, world.now_us))

    # --- cancel ---------------------------------------------------------------------------------------------------

    async def cancel(self, request: web.Request, account: Account) -> web.Response:
        query = Query("CancelOrderV2", request.query)
        route = requests.read_route(query, self._subaccount(request, "CancelOrderV2"))
        world = self._exchange.world
        result = world.entry.cancel_by_id(account, request.match_info["order_id"], route)
        return self._told(result if isinstance(result, Refusal) else orders_wire.cancelled(result, world.now_us))

    async def cancel_batch(self, request: web.Request, account: Account) -> web.Response:
        raw = await request.read()
        batch = requests.read_cancel_batch(raw, request.content_type, partial(subaccount_written, request))
        rows = [self._cancel_item(self._exchange.world, account, order_id, route) for order_id, route in batch]
        return self._told({"orders": rows})

    def _cancel_item(self, world: World, account: Account, order_id: str, route: Route) -> dict[str, Any]:
        result = world.entry.cancel_by_id(account, order_id, route)
        if isinstance(result, Refusal):
            return orders_wire.not_cancelled(order_id, result)
        return orders_wire.cancelled(result, world.now_us)

    async def cancel_all(self, request: web.Request, account: Account) -> web.Response:
        named = Query("CancelAllOrders", request.query).integer("subaccount")
        self._exchange.world.entry.cancel_all(account, subaccount=subaccount_read(request, named))
        self._exchange.flush()
        return web.Response(status=204)

    # --- all ------------------------------------------------------------------------------------------------------

    def _subaccount(self, request: web.Request, operation: str) -> int:
        return subaccount_written(request, Query(operation, request.query).integer("subaccount"))

    def _told(self, result: dict[str, Any] | Refusal, status: int = 200) -> web.Response:
        """Publish what a request has done, and answer it."""
        self._exchange.flush()
        if isinstance(result, Refusal):
            return answer(result.body(), status=result.status)
        return answer(result, status=status)

    async def retired(self, _request: web.Request, _account: Account) -> web.Response:
        body = {"code": "deprecated_v1_order_endpoint", "message": "Please switch to the V2 endpoints", "details": DOCS}
        return answer({"error": body}, status=410)
