"""The account desk: what is true of each account, for everybody who trades on it. Never places an order.

One keeper an account with a read-scope key; today the settings name one account at most.
"""

from __future__ import annotations

import asyncio
import logging

from feed import schema
from feed.account.keeper import Keeper, none_ours
from feed.account.polls import Periods
from feed.account.view import Ours
from feed.kalshi.environments import Environment
from feed.kalshi.signing import Signer
from kalshimm.runtime import logs, streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every

logger = logging.getLogger(__name__)


class Desk:
    """One process's worth of desk; `run` returns when stopped.

    Args:
        signer: Of the account's read-scope key; None idles, beats, and says so.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        signer: Signer | None,
        redis_url: str,
        clock: Clock,
        adapter: str = "picows",
        periods: Periods | None = None,
        is_ours: Ours = none_ours,
    ) -> None:
        self._redis = streams.connect(redis_url)
        self._pulse = Pulse(role="desk", name=environment.name, clock=clock)
        self.accounts = [] if signer is None else [
            Keeper(
                environment.name, environment=environment, signer=signer, client=self._redis, clock=clock,
                adapter=adapter, periods=periods, is_ours=is_ours,
            )
        ]  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        await streams.require(self._redis)
        await streams.generation(self._redis, schema.GENERATION)
        if not self.accounts:
            logger.warning("no account: set KALSHI_KEY_ID and KALSHI_PRIVATE_KEY_PATH", extra={"action": "desk_idle"})
        try:
            async with asyncio.TaskGroup() as tasks:
                for account in self.accounts:
                    tasks.create_task(account.run(stop), name=f"account {account.account}")
                tasks.create_task(every(stop, BEAT_EVERY_S, self._beat), name="beat")
        finally:
            await self._pulse.retire(self._redis)
            await logs.ship(self._redis, role="desk", name=self._pulse.name)
            await self._redis.aclose()

    async def _beat(self) -> None:
        pulse = self._pulse
        pulse.turn(every_s=BEAT_EVERY_S)
        if not self.accounts:
            pulse.state, pulse.last_event = "idle", "no account: KALSHI_KEY_ID is not set"
        for account in self.accounts:
            pulse.state, pulse.last_event = account.health.state, account.health.reason
            pulse.counters |= account.counters
            pulse.counters["orders_open"] = sum(not order.is_complete for order in account.view.orders.values())
            pulse.counters["fills"] = len(account.view.fills)
        await pulse.beat(self._redis)
        await logs.ship(self._redis, role=pulse.role, name=pulse.name)
