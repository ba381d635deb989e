"""The venue over REST: every endpoint a market maker needs, by topic.

    async with Rest(environment, signer, SystemClock()) as rest:
        balance = await rest.portfolio.balance()
        async for order in rest.portfolio.orders(status="resting"): …
        placed = await rest.orders.place(PlaceOrder(…))

How calls end is told in `feed.kalshi.calls`, what the answers hold in `feed.kalshi.wire`.
"""

from __future__ import annotations

from typing import Self

from feed.kalshi.calls import Calls
from feed.kalshi.clock import Offset
from feed.kalshi.endpoints.account import Account
from feed.kalshi.endpoints.catalogue import Catalogue
from feed.kalshi.endpoints.exchange import Exchange
from feed.kalshi.endpoints.funds import Funds
from feed.kalshi.endpoints.groups import Groups
from feed.kalshi.endpoints.history import History
from feed.kalshi.endpoints.markets import Markets
from feed.kalshi.endpoints.orders import Orders
from feed.kalshi.endpoints.portfolio import Portfolio
from feed.kalshi.environments import Environment
from feed.kalshi.limiter import Limiter
from feed.kalshi.signing import Signer
from feed.kalshi.transport import Connection
from kalshimm.runtime.clock import Clock


class Rest:
    """One client of one environment; use as an async context manager.

    Args:
        signer: None sends unsigned requests, which is enough for what is public; writes want one.
        limiter: The account's token budget; None lets everything through.
    """

    def __init__(
        self,
        environment: Environment,
        signer: Signer | None,
        clock: Clock,
        *,
        limiter: Limiter | None = None,
        connection: Connection | None = None,
    ) -> None:
        self._calls = Calls(environment, signer, clock, limiter=limiter, connection=connection)
        self.exchange = Exchange(self._calls)
        self.catalogue = Catalogue(self._calls)
        self.markets = Markets(self._calls)
        self.history = History(self._calls)
        self.portfolio = Portfolio(self._calls)
        self.orders = Orders(self._calls)
        self.groups = Groups(self._calls)
        self.funds = Funds(self._calls)
        self.account = Account(self._calls)

    async def __aenter__(self) -> Self:
        await self._calls.transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._calls.transport.__aexit__(*exc)

    def clock_offset(self) -> Offset | None:
        """Return how far the venue's clock is ahead of ours, as its answers tell; None before the first."""
        return self._calls.clock_offset()
