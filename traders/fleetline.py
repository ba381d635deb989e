"""The supervisor's line to Redis: it hears traders' beats, tells them what is desired, and shows its own.

Redis slow or away never holds a step up: each call has a second, a failed one puts the next off. Who has not been heard
is silent only by what was read while Redis answered, and since it did again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
import redis.asyncio as redis_async

from feed.schema import decode_trader_view
from kalshimm.runtime import logs
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_TTL_S, Beat, Pulse, beat_key, read_beat
from kalshimm.runtime.process import ProcessIdentity
from traders import controls
from traders.process import REDIS_ERRORS

logger = logging.getLogger(__name__)

ANSWER_S = 1.0  # Redis slower than this is away: the step goes on without
CONTROL_AGAIN_S = 5.0
SILENT_US = BEAT_TTL_S * 1_000_000


class FleetLine:
    """One supervisor's."""

    def __init__(self, client: redis_async.Redis, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._beats: dict[int, Beat] = {}
        self._beats_us = 0  # when they were read
        self._told: dict[tuple[int, str], tuple[float, bytes]] = {}  # by trader and verb: when, and what
        self._back_us = 0
        self._again_s = 0.0
        self._misses = 0

    async def listen(self, traders: Sequence[int]) -> None:
        """Read the beats of these traders; what was read last stands while nobody answers."""
        if not traders or self._is_put_off():
            return
        keys, now_us = [beat_key("trader", str(trader)) for trader in traders], self._clock.wall_us()
        try:
            async with asyncio.timeout(ANSWER_S):
                values = await self._client.mget(keys)
        except REDIS_ERRORS as exc:
            self._lost(exc)
            return
        if self._misses:
            self._back_us = self._clock.wall_us()  # nobody could beat before
        self._misses, self._beats_us = 0, now_us
        found = ((key.encode(), value) for key, value in zip(keys, values, strict=True) if isinstance(value, bytes))
        beats = [read_beat(key, value) for key, value in found]
        self._beats = {int(beat.name): beat for beat in beats if beat}

    def beat(self, trader: int) -> Beat | None:
        """Return what was read of a trader, of whichever of its processes."""
        return self._beats.get(trader)

    def results(self, living: Mapping[int, ProcessIdentity]) -> dict[int, int]:
        """Return what these processes say that they have made so far, of those who know it and spoke lately."""
        found: dict[int, int] = {}
        now_us = self._clock.wall_us()
        for trader, process in living.items():
            beat = self._beats.get(trader)
            if beat is None or beat.pid != process.pid or not beat.detail or now_us - beat.written_us > SILENT_US:
                continue
            with suppress(msgspec.MsgspecError):  # of another version: the supervisor says so
                if (result_ud := decode_trader_view(beat.detail).trading_ud) is not None:
                    found[trader] = result_ud
        return found

    def silent_since_us(self, heard_us: int) -> int:
        return max(heard_us, self._back_us)

    def is_silent(self, heard_us: int) -> bool:
        """Return whether who was heard then was silent for long when we listened last, however long ago that is."""
        return not self._misses and self._beats_us - self.silent_since_us(heard_us) >= SILENT_US

    async def tell(self, trader: int, verb: str, body: bytes = b"") -> None:
        """Send a command, and again after a while if nothing came of it."""
        now_s = self._clock.monotonic()
        told_at_s, told = self._told.get((trader, verb), (-CONTROL_AGAIN_S, b""))
        if told == body and now_s - told_at_s < CONTROL_AGAIN_S:
            return
        now_us = self._clock.wall_us()
        try:
            async with asyncio.timeout(ANSWER_S):
                await controls.send(self._client, trader, verb, issuer="supervisor", now_us=now_us, body=body)
        except REDIS_ERRORS as exc:
            self._lost(exc)
            return
        self._told[trader, verb] = now_s, body

    def forget(self, trader: int) -> None:
        """Forget what a trader was told: it is configured no more."""
        for key in [key for key in self._told if key[0] == trader]:
            del self._told[key]

    async def show(self, *pulses: Pulse) -> None:
        """Write beats, and hand on what was logged."""
        if self._is_put_off():
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                for pulse in pulses:
                    await pulse.beat(self._client)
                await logs.ship(self._client, role="supervisor", name="main")
        except REDIS_ERRORS as exc:
            self._lost(exc)

    def _is_put_off(self) -> bool:
        return self._clock.monotonic() < self._again_s

    def _lost(self, error: Exception) -> None:
        self._misses += 1
        wait_s = delay_s(self._misses, first_s=0.5, most_s=5.0, jitter=random.random())
        self._again_s = self._clock.monotonic() + wait_s
        if self._misses == 1:
            logger.warning("Redis does not answer: %s; traders go on", error, extra={"action": "redis_lost"})
