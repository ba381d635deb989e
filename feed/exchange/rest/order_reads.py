"""REST reads of orders: lists, one, places in the queue, fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed
from feed.exchange.trading.accounts import CANCELED, EXECUTED, RESTING, Account, Fill
from feed.exchange.wire import private as private_wire
from feed.exchange.wire.answers import Query, answer, newest_first, not_found, page
from markets.core.units import format_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange


class OrderReads:
    """What the desk knows of one's orders."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        reads = {
            "/portfolio/orders": self.orders,
            "/portfolio/orders/queue_positions": self.queue_positions,
            "/portfolio/orders/{order_id}": self.order,
            "/portfolio/fills": self.fills,
        }
        return [web.get(BASE + path, signed(self._exchange, handler)) for path, handler in reads.items()]

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
