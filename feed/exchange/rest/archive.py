"""REST of one's own past: fills, orders and settled positions that have left the live reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.rest.portfolio import positions_answer
from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed_read, subaccount_read, subaccount_written
from feed.exchange.trading.accounts import RESTING, Account
from feed.exchange.wire import private as private_wire
from feed.exchange.wire.answers import Query, answer, newest_first, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

PAGE_MAX = 1_000


class Archive:
    """Handlers of the history tier for what belongs to somebody."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        reads = {"fills": self.fills, "orders": self.orders, "positions": self.positions}
        return [
            web.get(f"{BASE}/historical/{name}", signed_read(self._exchange, handler))
            for name, handler in reads.items()
        ]

    async def fills(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetFillsHistorical", request.query)
        number = subaccount_read(request, query.integer("subaccount"))
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        cutoff_us = self._exchange.world.history_cutoff_us
        found = [
            fill
            for fill in account.fills
            if fill.at_us < cutoff_us
            and query.text("ticker") in ("", fill.ticker)
            and number in (None, fill.subaccount)
            and (low is None or fill.at_us >= low)
            and (high is None or fill.at_us <= high)
        ]
        fills, cursor = page(
            found,
            lambda f: newest_first(f.at_us, f"{f.trade_id}|{f.order_id}"),
            limit=query.limit(default=100, maximum=PAGE_MAX),
            cursor=query.text("cursor"),
        )
        return answer({"fills": [private_wire.fill_row(fill) for fill in fills], "cursor": cursor})

    async def orders(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetHistoricalOrders", request.query)
        number = subaccount_read(request, query.integer("subaccount"))
        low, high = query.after_us("min_ts"), query.after_us("max_ts")
        cutoff_us = self._exchange.world.history_cutoff_us
        found = [
            order
            for order in account.orders.values()
            if order.status != RESTING
            and order.updated_us < cutoff_us
            and query.text("ticker") in ("", order.ticker)
            and number in (None, order.subaccount)
            and (low is None or order.created_us >= low)
            and (high is None or order.created_us <= high)
        ]
        orders, cursor = page(
            found,
            lambda o: newest_first(o.created_us, o.order_id),
            limit=query.limit(default=100, maximum=PAGE_MAX),
            cursor=query.text("cursor"),
        )
        return answer({"orders": [private_wire.order_body(o, account.user_id) for o in orders], "cursor": cursor})

    async def positions(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetHistoricalPositions", request.query)
        number = subaccount_written(request, query.integer("subaccount"))
        world = self._exchange.world
        found = [
            p
            for p in account.positions.values()
            if p.subaccount == number
            and world.is_archived(p)
            and query.text("ticker") in ("", p.ticker)
            and query.text("event_ticker") in ("", p.event_ticker)
        ]
        return positions_answer(account, found, query, by_event=True)
