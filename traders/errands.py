"""What is asked of the exchange for traders: beside the supervisor's steps, one thing at a time for each of them.

begin ──► running ──► done        what it was for has happened
              └─────► failed      to be begun again after a while, which grows: `is_due`
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

import msgspec
from django.db import Error as DatabaseFault

from kalshimm.errors import KalshimmError
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.worker import cancel

logger = logging.getLogger(__name__)

FIRST_AGAIN_S, MOST_AGAIN_S = 1.0, 30.0
ALERT_S = 30.0  # what cannot be done for longer is a person's matter


class Trouble(msgspec.Struct, frozen=True):
    """Why a trader's last errand failed, and when the next one is due (monotonic seconds)."""

    error: BaseException
    times: int
    since_s: float
    again_s: float

    @property
    def why(self) -> str:
        if isinstance(self.error, KalshimmError):
            return str(self.error)
        return f"{type(self.error).__name__}: {self.error}".rstrip(": \n")


class Errands:
    """The errands of all traders."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[int, tuple[asyncio.Task[None], str]] = {}
        self._trouble: dict[int, Trouble] = {}
        self._told: set[int] = set()

    def begin(self, trader: int, do: Coroutine[Any, Any, None], doing: str) -> None:
        """Begin an errand; there must be none of this trader."""
        assert trader not in self._running, "one thing at a time"
        self._running[trader] = asyncio.create_task(do, name=f"trader {trader}: {doing}"), doing

    def doing(self, trader: int) -> str:
        """Return what is on its way for a trader; empty when nothing is."""
        task, doing = self._running.get(trader, (None, ""))
        if task is not None and task.done():
            del self._running[trader]
            self._ended(trader, task, doing)
            return ""
        return doing

    def trouble(self, trader: int) -> Trouble | None:
        return self._trouble.get(trader)

    def is_due(self, trader: int) -> bool:
        """Return whether an errand may begin: none runs, and after a failure it is time again."""
        trouble = self._trouble.get(trader)
        return not self.doing(trader) and (trouble is None or self._clock.monotonic() >= trouble.again_s)

    def drop(self, trader: int) -> bool:
        """End whatever is on its way for a trader; return whether it has ended."""
        if not self.doing(trader):
            return True
        self._running[trader][0].cancel()
        return False

    def forget(self, trader: int) -> None:
        """Let the next errand begin at once, whatever went wrong before."""
        self._trouble.pop(trader, None)
        self._told.discard(trader)

    async def close(self) -> None:
        for task, _ in self._running.values():
            await cancel(task)

    def _ended(self, trader: int, task: asyncio.Task[None], doing: str) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self.forget(trader)
            return
        now_s, before = self._clock.monotonic(), self._trouble.get(trader)
        times, since_s = (before.times + 1, before.since_s) if before else (1, now_s)
        wait_s = delay_s(times, first_s=FIRST_AGAIN_S, most_s=MOST_AGAIN_S, jitter=random.random())
        self._trouble[trader] = trouble = Trouble(error, times, since_s, now_s + wait_s)
        self._tell(trader, trouble, doing)

    def _tell(self, trader: int, trouble: Trouble, doing: str) -> None:
        is_ours = isinstance(trouble.error, KalshimmError | DatabaseFault)
        is_long = trouble.again_s - trouble.since_s >= ALERT_S and trader not in self._told
        fields = {"action": "errand_failed", "trader": trader} | (
            {"alert": "LIVE_TRADER_UNATTENDED"} if is_long else {}
        )
        level = logging.WARNING if is_ours and not is_long else logging.ERROR
        logger.log(
            level, "trader %d, %s: %s", trader, doing, trouble.why, extra=fields,
            exc_info=None if is_ours else trouble.error,
        )  # fmt: skip
        if is_long:
            self._told.add(trader)
