"""`/exchange`."""

from __future__ import annotations

from feed.kalshi.calls import Calls
from feed.kalshi.wire.bodies import read
from feed.kalshi.wire.exchange import ExchangeStatus, Schedule, UserDataTimestamp

ANSWERS_BESIDE_200 = (500, 503, 504)  # a closed exchange says so with its status body


class Exchange:
    """Whether the exchange is open, when it will be, and how fresh the account's reads are."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def status(self) -> ExchangeStatus:
        data = await self._calls.decoded("/exchange/status", also=ANSWERS_BESIDE_200)
        return self._calls.shaped(lambda value: read(ExchangeStatus, value), data, "/exchange/status")

    async def schedule(self) -> Schedule:
        return await self._calls.read(Schedule, "/exchange/schedule", inside="schedule")

    async def user_data_timestamp(self) -> UserDataTimestamp:
        return await self._calls.read(UserDataTimestamp, "/exchange/user_data_timestamp")
