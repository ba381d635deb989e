"""REST of the exchange itself: status, schedule, freshness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.wire import operations
from feed.exchange.wire import public as wire
from feed.exchange.wire.answers import answer

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

BASE = "/trade-api/v2"


class ExchangeReads:
    """Handlers anybody may call."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        table = {
            "/exchange/status": self.status,
            "/exchange/schedule": self.schedule,
            "/exchange/user_data_timestamp": self.user_data_timestamp,
        }
        return [web.get(BASE + path, handler) for path, handler in table.items()]

    async def status(self, _request: web.Request) -> web.Response:
        world = self._exchange.step()
        return answer(operations.status_body(world.pauses, world.now_us))

    async def schedule(self, _request: web.Request) -> web.Response:
        return answer(
            operations.schedule_body(
                self._exchange.step().pauses, weekly=self._exchange.world.switches.weekly_maintenance
            )
        )

    async def user_data_timestamp(self, _request: web.Request) -> web.Response:
        self._exchange.step()
        return answer({"as_of_time": wire.rfc3339(self._exchange.reads.as_of_us)})
