"""REST reads of orders: lists, one, places in the queue, fills."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed_read, subaccount_read, subaccount_written
from feed.exchange.trading.accounts import CANCELED, EXECUTED, RESTING, Account, Fill, Order
from feed.exchange.wire import private as private_wire
from feed.exchange.wire.answers import Query, answer, newest_first, not_found, page
from markets.core.units import format_count

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

EVENTS_MAX = 10  # event tickers of one order list
TICKERS_MAX = 100  # tickers of one fill list, since 2026-10-08


class OrderReads:
    """What the desk knows of one's orders."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        own = partial(signed_read, self._exchange)
        orders = f"{BASE}/portfolio/orders"
        return [
            web.get(orders, own(self.orders)),
            web.get(f"{orders}/queue_positions", own(self.queue_positions)),
            web.get(f"{orders}/{{order_id}}", own(self.order)),
            web.get(f"{orders}/{{order_id}}/queue_position", own(self.queue_position)),
            web.get(f"{BASE}/portfolio/fills", own(self.fills)),
        ]

    # --- orders ---------------------------------------------------------------------------------------------------

    async def orders(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetOrders", request.query)
        limit = query.limit(default=100, maximum=1_000)
        status = query.choice("status", (RESTING, CANCELED, EXECUTED))
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        events, index, ticker = query.words("event_ticker"), query.integer("exchange_index"), query.text("ticker")
        if len(events) > EVENTS_MAX:
            raise query.failed("EventTicker", "max")
        subaccount = subaccount_read(request, query.integer("subaccount"))
        found = [
            order
            for order in (account.open if status == RESTING else account.orders).values()
            if status in ("", order.status)
            and ticker in ("", order.ticker)
            and (not events or self._exchange.world.event_of(order.ticker) in events)
            and (low is None or order.created_us >= low)
            and (high is None or order.created_us <= high)
            and index in (None, order.exchange_index)
            and subaccount in (None, order.subaccount)
            and (order.status == RESTING or order.updated_us >= self._exchange.world.history_cutoff_us)
        ]
        orders, cursor = page(
            found, lambda o: newest_first(o.created_us, o.order_id), limit=limit, cursor=query.text("cursor")
        )
        return answer({"orders": [private_wire.order_body(o, account.user_id) for o in orders], "cursor": cursor})

    async def order(self, request: web.Request, account: Account) -> web.Response:
        order = account.orders.get(request.match_info["order_id"])
        return answer({"order": private_wire.order_body(order, account.user_id)}) if order else not_found()

    # --- queue ----------------------------------------------------------------------------------------------------

    async def queue_positions(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetOrderQueuePositions", request.query)
        tickers, event_ticker = query.words("market_tickers"), query.text("event_ticker")
        subaccount = subaccount_written(request, query.integer("subaccount"))
        rows: list[dict[str, Any]] = [
            {"order_id": order.order_id, "market_ticker": order.ticker, "queue_position_fp": self._ahead(order)}
            for order in account.resting(subaccount=subaccount)
            if (not tickers or order.ticker in tickers)
            and event_ticker in ("", self._exchange.world.event_of(order.ticker))
            and self._is_queued(order)
        ]
        return answer({"queue_positions": rows})

    async def queue_position(self, request: web.Request, account: Account) -> web.Response:
        order = account.open.get(request.match_info["order_id"])
        if order is None or not self._is_queued(order):
            return not_found()
        return answer({"queue_position_fp": self._ahead(order)})

    def _is_queued(self, order: Order) -> bool:
        """Whether an order still rests: what a trailing read shows as resting may be gone."""
        market = self._exchange.world.markets.get(order.ticker)
        return market is not None and order.order_id in market.book

    def _ahead(self, order: Order) -> str:
        return format_count(self._exchange.world.markets[order.ticker].ahead_cx(order.order_id))

    # --- fills ----------------------------------------------------------------------------------------------------

    async def fills(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetFills", request.query)
        limit = query.limit(default=100, maximum=1_000)
        tickers, order_id, index = query.words("ticker"), query.text("order_id"), query.integer("exchange_index")
        if len(tickers) > TICKERS_MAX:
            raise query.failed("Ticker", "max")
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        subaccount = subaccount_read(request, query.integer("subaccount"))

        cutoff_us = self._exchange.world.history_cutoff_us

        def wanted(fill: Fill) -> bool:
            return (
                (not tickers or fill.ticker in tickers)
                and order_id in ("", fill.order_id)
                and index in (None, fill.exchange_index)
                and subaccount in (None, fill.subaccount)
                and (low is None or fill.at_us >= low)
                and (high is None or fill.at_us <= high)
                and fill.at_us >= cutoff_us
            )

        found = [fill for fill in account.fills if wanted(fill)]
        fills, cursor = page(
            found,
            lambda f: newest_first(f.at_us, f"{f.trade_id}|{f.order_id}"),
            limit=limit,
            cursor=query.text("cursor"),
        )
        return answer({"fills": [private_wire.fill_row(fill) for fill in fills], "cursor": cursor})
