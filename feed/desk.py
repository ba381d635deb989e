"""The account desk: what is true of each account, for everybody who trades on it. Never places an order.

One task an account; what befalls one is no matter of the others:

    open its key ──► Keeper ──► kmm:account:{id}, beat desk:{id}
         ▲              │ an error that nobody foresaw, or a key that cannot be opened
         └── wait ◄─────┘
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from feed import schema
from feed.account.keeper import Keeper, none_ours
from feed.account.polls import Periods
from feed.account.view import Ours
from feed.kalshi.environments import Environment
from feed.kalshi.signing import Signer
from kalshimm.errors import KalshimmError
from kalshimm.runtime import logs, streams
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every, wait_or_stop

logger = logging.getLogger(__name__)

AGAIN_FIRST_S, AGAIN_MOST_S = 1.0, 30.0
STEADY_S = 60.0  # after that long a failure is a first one
NOBODY = "no account: the vault has no key of this environment, and KALSHI_KEY_ID is not set"

OpenKey = Callable[[], Signer]
"""Opens the key to read one account with; raises KalshimmError where it cannot be."""


class Account:
    """One account of the desk: its keeper, made anew after whatever ends it, and its beat."""

    def __init__(self, name: str, clock: Clock, make: Callable[[], Keeper]) -> None:
        self.name, self._clock, self._make = name, clock, make
        self.pulse = Pulse(role="desk", name=name, clock=clock)
        self.keeper: Keeper | None = None
        self._trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        times = 0
        while not stop.is_set():
            began_s = self._clock.monotonic()
            try:
                self.keeper = await asyncio.to_thread(self._make)
                self._trouble = ""
                await self.keeper.run(stop)
            except KalshimmError as exc:
                self._failed(str(exc), None)
            except Exception as exc:  # noqa: BLE001 - logged with its traceback; the other accounts go on
                self._failed(f"{type(exc).__name__}: {exc}", exc)
            times = 1 if self._clock.monotonic() - began_s >= STEADY_S else times + 1
            await wait_or_stop(stop, delay_s(times, first_s=AGAIN_FIRST_S, most_s=AGAIN_MOST_S, jitter=random.random()))

    def _failed(self, why: str, error: Exception | None) -> None:
        self._trouble, self.keeper = why, None
        fields = {"action": "account_failed", "alert": "ACCOUNT_FAILED", "account": self.name}
        logger.error("account %s is not kept: %s", self.name, why, extra=fields, exc_info=error)

    def turn(self) -> None:
        """Bring its beat up to date."""
        pulse, keeper = self.pulse, self.keeper
        pulse.turn(every_s=BEAT_EVERY_S)
        if keeper is None:
            pulse.state, pulse.last_event = ("failed", self._trouble) if self._trouble else ("starting", "")
            return
        pulse.state, pulse.last_event = keeper.health.state, keeper.health.reason
        pulse.counters |= keeper.counters
        pulse.counters["orders_open"] = sum(not order.is_complete for order in keeper.view.orders.values())
        pulse.counters["fills"] = len(keeper.view.fills)


class Desk:
    """One process's worth of desk; `run` returns when stopped.

    Args:
        accounts: What opens the read-scope key of each, by its name; without one it idles, beats, and says so.
    """

    def __init__(
        self,
        *,
        environment: Environment,
        accounts: Mapping[str, OpenKey],
        redis_url: str,
        clock: Clock,
        adapter: str = "picows",
        periods: Periods | None = None,
        is_ours: Ours = none_ours,
    ) -> None:
        self._redis = streams.connect(redis_url)
        self._idle = Pulse(role="desk", name=environment.name, clock=clock)

        def keeper(name: str, open_key: OpenKey) -> Keeper:
            return Keeper(
                name, environment=environment, signer=open_key(), client=self._redis, clock=clock, adapter=adapter,
                periods=periods, is_ours=is_ours,
            )  # fmt: skip

        self.accounts = [Account(name, clock, partial(keeper, name, open_key)) for name, open_key in accounts.items()]

    @property
    def _pulses(self) -> Sequence[Pulse]:
        return [account.pulse for account in self.accounts] or [self._idle]

    async def run(self, stop: asyncio.Event) -> None:
        await streams.require(self._redis)
        await streams.generation(self._redis, schema.GENERATION)
        if not self.accounts:
            logger.warning(NOBODY, extra={"action": "desk_idle"})
        try:
            async with asyncio.TaskGroup() as tasks:
                for account in self.accounts:
                    tasks.create_task(account.run(stop), name=f"account {account.name}")
                tasks.create_task(every(stop, BEAT_EVERY_S, self._beat), name="beat")
        finally:
            for pulse in self._pulses:
                await pulse.retire(self._redis)
            await self._ship()
            await self._redis.aclose()

    async def _beat(self) -> None:
        if not self.accounts:
            self._idle.turn(every_s=BEAT_EVERY_S)
            self._idle.state, self._idle.last_event = "idle", NOBODY
        for account in self.accounts:
            account.turn()
        for pulse in self._pulses:
            await pulse.beat(self._redis)
        await self._ship()

    async def _ship(self) -> None:
        """Send the log of the whole process, under the name of its first account."""
        await logs.ship(self._redis, role="desk", name=self._pulses[0].name)
