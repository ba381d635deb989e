"""REST order writes: the V2 family, and what is left of the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed
from feed.exchange.trading.accounts import Account, Order
from feed.exchange.trading.orders import MARKET_INACTIVE, Placed
from feed.exchange.wire import public as wire
from feed.exchange.wire import requests
from feed.exchange.wire.answers import Query, answer, not_found
from markets.core.units import format_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

DOCS = "https://docs.kalshi.com/getting_started/order_direction"


class OrderWrites:
    """Requests that create, change and end orders."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        orders = f"{BASE}/portfolio/events/orders"
        exchange = self._exchange
        return [
            web.post(orders, signed(exchange, self.create)),
            web.delete(orders, signed(exchange, self.cancel_all)),
            web.delete(orders + "/{order_id}", signed(exchange, self.cancel)),
            *self._retired(),
        ]

    def _retired(self) -> list[web.RouteDef]:
        old = f"{BASE}/portfolio/orders"
        gone = signed(self._exchange, self.retired)
        return [
            web.post(old, gone),
            web.post(old + "/batched", gone),
            web.delete(old + "/batched", gone),
            web.delete(old + "/{order_id}", gone),
            web.post(old + "/{order_id}/amend", gone),
            web.post(old + "/{order_id}/decrease", gone),
        ]

    async def create(self, request: web.Request, account: Account) -> web.Response:
        new = requests.read_create(await request.read(), request.content_type)
        result = self._exchange.step().entry.place(account, new)
        self._exchange.flush()
        if not isinstance(result, Placed):
            return answer(result.body(), status=result.status)
        return answer(_created_body(result, self._exchange.world.now_us), status=201)

    async def cancel(self, request: web.Request, account: Account) -> web.Response:
        order = account.open.get(request.match_info["order_id"])
        if order is None or not self._is_routed(request, order):
            return not_found()
        world = self._exchange.world
        if not world.markets[order.ticker].is_tradable:
            return answer(MARKET_INACTIVE.body(), status=MARKET_INACTIVE.status)
        reduced = world.entry.cancel(account, order)
        self._exchange.flush()
        return answer({"order_id": order.order_id, "reduced_by": format_count(reduced), "ts_ms": wire.ms(world.now_us)})

    def _is_routed(self, request: web.Request, order: Order) -> bool:
        """Whether the request reaches the order's shard: an order id alone goes to shard 0."""
        query = Query("CancelOrderV2", request.query)
        index, ticker = query.integer("exchange_index"), query.text("market_ticker")
        if index is None or index == -1:
            return ticker == order.ticker if ticker else order.exchange_index == 0
        return index == order.exchange_index

    async def cancel_all(self, _request: web.Request, account: Account) -> web.Response:
        world = self._exchange.world
        for order in account.resting():
            if world.markets[order.ticker].is_tradable:
                world.entry.cancel(account, order)
        self._exchange.flush()
        return web.Response(status=204)

    async def retired(self, _request: web.Request, _account: Account) -> web.Response:
        body = {"code": "deprecated_v1_order_endpoint", "message": "Please switch to the V2 endpoints", "details": DOCS}
        return answer({"error": body}, status=410)


def _created_body(placed: Placed, now_us: int) -> dict[str, Any]:
    order, filled = placed.order, sum(fill.count_cx for fill in placed.fills)
    body = {
        "order_id": order.order_id,
        "fill_count": format_count(filled),
        "remaining_count": format_count(order.remaining_cx),
        "ts_ms": wire.ms(now_us),
    }
    if order.client_order_id:
        body["client_order_id"] = order.client_order_id
    if filled:
        paid = sum(fill.yes_price_cc * fill.count_cx for fill in placed.fills)
        body["average_fill_price"] = _average(paid, filled)
        body["average_fee_paid"] = _average(sum(fill.fee_ud for fill in placed.fills), filled)
    return body


def _average(total_ud: int, count_cx: int) -> str:
    """Return dollars per contract: four decimals, up to six where they are needed."""
    micro = total_ud * 100 // count_cx
    text = wire.money(micro)
    return text[:-2] if text.endswith("00") else text
