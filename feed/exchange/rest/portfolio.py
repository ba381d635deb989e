"""REST of one's own account: balances, positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.positions import Position
from feed.exchange.wire import private as private_wire
from feed.exchange.wire.answers import Query, answer, page

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange


class Portfolio:
    """Handlers that need a signature."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        reads = {
            "/portfolio/balance": self.balance,
            "/portfolio/positions": self.positions,
        }
        return [web.get(BASE + path, signed(self._exchange, handler)) for path, handler in reads.items()]

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
