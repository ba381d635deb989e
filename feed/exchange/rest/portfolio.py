"""REST of one's own account: balances, positions, orders, fills, and the order writes (V2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.auth import Denied
from feed.exchange.rest.public import BASE
from feed.exchange.trading.accounts import CANCELED, EXECUTED, RESTING, Account, Fill, Order
from feed.exchange.trading.orders import MARKET_INACTIVE, Placed
from feed.exchange.trading.positions import Position
from feed.exchange.wire import private as private_wire
from feed.exchange.wire import public as wire
from feed.exchange.wire import requests
from feed.exchange.wire.answers import Query, answer, newest_first, not_found, page
from markets.core.units import format_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

Handler = Callable[[web.Request, Account], Awaitable[web.Response]]

# What a fresh account with the advanced tier gets: tokens a second, and three seconds of them saved up.
READ_PER_S, WRITE_PER_S, SAVED_S = 300, 300, 3
DOCS = "https://docs.kalshi.com/getting_started/order_direction"


class Portfolio:
    """Handlers that need a signature."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        reads = {
            "/account/limits": self.limits,
            "/portfolio/balance": self.balance,
            "/portfolio/positions": self.positions,
            "/portfolio/orders": self.orders,
            "/portfolio/orders/queue_positions": self.queue_positions,
            "/portfolio/orders/{order_id}": self.order,
            "/portfolio/fills": self.fills,
        }
        orders = f"{BASE}/portfolio/events/orders"
        writes = [
            web.post(orders, self._signed(self.create)),
            web.delete(orders, self._signed(self.cancel_all)),
            web.delete(orders + "/{order_id}", self._signed(self.cancel)),
        ]
        return (
            [web.get(BASE + path, self._signed(handler)) for path, handler in reads.items()] + writes + self._retired()
        )

    def _retired(self) -> list[web.RouteDef]:
        old = f"{BASE}/portfolio/orders"
        gone = self._signed(self.retired)
        return [
            web.post(old, gone),
            web.post(old + "/batched", gone),
            web.delete(old + "/batched", gone),
            web.delete(old + "/{order_id}", gone),
            web.post(old + "/{order_id}/amend", gone),
            web.post(old + "/{order_id}/decrease", gone),
        ]

    def _signed(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def checked(request: web.Request) -> web.Response:
            who = self._exchange.authenticate(request)
            if isinstance(who, Denied):
                return answer(who.body(), status=401)
            self._exchange.step()
            return await handler(request, who)

        return checked

    # --- reads ----------------------------------------------------------------------------------------------------

    async def limits(self, _request: web.Request, _account: Account) -> web.Response:
        read = {"refill_rate": READ_PER_S, "bucket_capacity": READ_PER_S * SAVED_S}
        write = {"refill_rate": WRITE_PER_S, "bucket_capacity": WRITE_PER_S * SAVED_S}
        return answer({"usage_tier": "advanced", "read": read, "write": write, "grants": []})

    async def balance(self, request: web.Request, account: Account) -> web.Response:
        index = Query("GetBalance", request.query).integer("exchange_index")
        return answer(private_wire.balance_body(account, index))

    async def positions(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetPositions", request.query)
        limit = query.limit(default=100, maximum=1_000)
        found = [p for p in account.positions.values() if self._position_wanted(query, p)]
        positions, cursor = page(found, lambda p: p.ticker, limit=limit, cursor=query.text("cursor"))
        by_event: dict[str, list[Position]] = {}
        for position in positions:
            by_event.setdefault(position.event_ticker, []).append(position)
        return answer(
            {
                "market_positions": [private_wire.position_row(p) for p in positions],
                "event_positions": [private_wire.event_position_row(e, ps) for e, ps in by_event.items()],
                "cursor": cursor,
            }
        )

    def _position_wanted(self, query: Query, position: Position) -> bool:
        filters = query.words("count_filter")
        status = query.choice("settlement_status", ("unsettled", "settled", "all")) or "unsettled"
        market = self._exchange.world.markets.get(position.ticker)
        is_settled = market is None or market.settled_us > 0
        return (
            query.text("ticker") in ("", position.ticker)
            and query.text("event_ticker") in ("", position.event_ticker)
            and query.integer("exchange_index") in (None, position.exchange_index)
            and ("position" not in filters or position.position_cx != 0)
            and ("total_traded" not in filters or position.traded_ud != 0)
            and (status == "all" or is_settled == (status == "settled"))
        )

    async def orders(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetOrders", request.query)
        limit = query.limit(default=100, maximum=1_000)
        status = query.choice("status", (RESTING, CANCELED, EXECUTED))
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        events, index = query.words("event_ticker"), query.integer("exchange_index")
        markets = self._exchange.world.markets
        found = [
            order
            for order in (account.open if status == RESTING else account.orders).values()
            if status in ("", order.status)
            and query.text("ticker") in ("", order.ticker)
            and (not events or (order.ticker in markets and markets[order.ticker].terms.event_ticker in events))
            and (low is None or order.created_us >= low)
            and (high is None or order.created_us <= high)
            and index in (None, order.exchange_index)
        ]
        orders, cursor = page(
            found, lambda o: newest_first(o.created_us, o.order_id), limit=limit, cursor=query.text("cursor")
        )
        return answer({"orders": [private_wire.order_body(o, account.user_id) for o in orders], "cursor": cursor})

    async def order(self, request: web.Request, account: Account) -> web.Response:
        order = account.orders.get(request.match_info["order_id"])
        return answer({"order": private_wire.order_body(order, account.user_id)}) if order else not_found()

    async def queue_positions(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetOrderQueuePositions", request.query)
        tickers, event_ticker = query.words("market_tickers"), query.text("event_ticker")
        markets = self._exchange.world.markets
        rows = [
            {
                "order_id": order.order_id,
                "market_ticker": order.ticker,
                "queue_position_fp": format_count(markets[order.ticker].ahead_cx(order.order_id)),
            }
            for order in account.resting()
            if (not tickers or order.ticker in tickers)
            and event_ticker in ("", markets[order.ticker].terms.event_ticker)
        ]
        return answer({"queue_positions": rows})

    async def fills(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetFills", request.query)
        limit = query.limit(default=100, maximum=1_000)
        tickers, order_id, index = query.words("ticker"), query.text("order_id"), query.integer("exchange_index")
        low, high = query.after_us("min_ts"), query.after_us("max_ts")

        def wanted(fill: Fill) -> bool:
            return (
                (not tickers or fill.ticker in tickers)
                and order_id in ("", fill.order_id)
                and index in (None, fill.exchange_index)
                and (low is None or fill.at_us >= low)
                and (high is None or fill.at_us <= high)
            )

        found = [fill for fill in account.fills if wanted(fill)]
        fills, cursor = page(
            found, lambda f: newest_first(f.at_us, f.trade_id), limit=limit, cursor=query.text("cursor")
        )
        return answer({"fills": [private_wire.fill_row(fill) for fill in fills], "cursor": cursor})

    # --- writes ---------------------------------------------------------------------------------------------------

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
