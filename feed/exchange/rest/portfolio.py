"""REST of one's own account: positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed_read, subaccount_written
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
            "/portfolio/positions": self.positions,
        }
        return [web.get(BASE + path, signed_read(self._exchange, handler)) for path, handler in reads.items()]

    async def positions(self, request: web.Request, account: Account) -> web.Response:
        query = Query("GetPositions", request.query)
        status = query.choice("settlement_status", ("unsettled", "settled", "all")) or "unsettled"
        number = subaccount_written(request, query.integer("subaccount"))
        found = [
            p
            for p in account.positions.values()
            if p.subaccount == number and self._is_wanted(query, p) and self._is_in(status, p)
        ]
        return positions_answer(account, found, query, by_event=status != "unsettled")

    def _is_wanted(self, query: Query, position: Position) -> bool:
        filters = query.words("count_filter")
        return (
            query.text("ticker") in ("", position.ticker)
            and query.text("event_ticker") in ("", position.event_ticker)
            and query.integer("exchange_index") in (None, position.exchange_index)
            and ("position" not in filters or position.position_cx != 0)
            and ("total_traded" not in filters or position.traded_ud != 0)
        )

    def _is_in(self, status: str, position: Position) -> bool:
        world = self._exchange.world
        if world.is_archived(position):
            return False
        return status == "all" or world.is_settled(position.ticker) == (status == "settled")


def positions_answer(account: Account, found: list[Position], query: Query, *, by_event: bool) -> web.Response:
    """Return one page of positions with the sums of their events.

    Args:
        by_event: Whether a page holds whole events, as it does for settled positions.
    """
    limit, cursor = query.limit(default=100, maximum=1_000), query.text("cursor")
    if by_event:
        events, after = page(sorted({p.event_ticker for p in found}), lambda e: e, limit=limit, cursor=cursor)
        positions = sorted((p for p in found if p.event_ticker in events), key=lambda p: (p.event_ticker, p.ticker))
    else:
        positions, after = page(found, lambda p: p.ticker, limit=limit, cursor=cursor)
        events = list(dict.fromkeys(p.event_ticker for p in positions))
    rows = [
        private_wire.event_position_row(
            event,
            [p for p in found if p.event_ticker == event],
            returned_ud=sum(account.returned_ud.get((n, event), 0) for n in {p.subaccount for p in found}),
        )
        for event in events
    ]
    markets = [private_wire.position_row(p) for p in positions]
    return answer({"market_positions": markets, "event_positions": rows, "cursor": after})
