"""The writer process: one StreamWriter a stream, a beat, acknowledgements to the traders."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from redis.exceptions import RedisError

from feed import schema
from feed.sinks.base import Sink
from feed.sinks.journal import JournalSink
from feed.sinks.log import LogSink
from feed.sinks.tape import TapeSink
from feed.writer.reading import BLOCK_MS
from feed.writer.stream import StreamWriter
from kalshimm.runtime import logs, streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every


class Writer:
    """Everything that `manage.py writer` runs."""

    def __init__(self, *, redis_url: str, dsn: str, clock: Clock) -> None:
        self._redis = streams.connect(redis_url, block_s=BLOCK_MS / 1_000)
        self._journal = JournalSink()
        sinks: tuple[Sink, ...] = (TapeSink(schema.TAPE), self._journal, LogSink())
        self._writers = [StreamWriter(client=self._redis, dsn=dsn, sink=sink, clock=clock) for sink in sinks]
        self._pulse = Pulse(role="writer", name="0", clock=clock)

    async def run(self, stop: asyncio.Event) -> None:
        await streams.require(self._redis)
        helpers_stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                beat = tasks.create_task(every(helpers_stop, BEAT_EVERY_S, self._beat), name="beat")
                writing = [tasks.create_task(w.run(stop), name=w.sink.stream) for w in self._writers]
                await asyncio.wait(writing)
                helpers_stop.set()
                await beat
        finally:
            await self._pulse.retire(self._redis)
            await self._redis.aclose()

    async def _beat(self) -> None:
        pulse = self._pulse
        pulse.turn(every_s=BEAT_EVERY_S)
        stored: Counter[str] = Counter()
        for writer in self._writers:
            stored += writer.stored
        pulse.counters |= dict(stored)
        pulse.counters["commits"] = sum(w.commits for w in self._writers)
        pulse.state = "writing"
        try:
            pulse.counters["backlog"] = int(await self._redis.xlen(schema.TAPE))
            if self._journal.acknowledged:
                acknowledged: dict[Any, Any] = {str(k): v for k, v in self._journal.acknowledged.items()}
                await self._redis.hset(schema.ACK, mapping=acknowledged)
        except (RedisError, OSError, TimeoutError) as exc:
            pulse.state = "waiting for Redis"
            pulse.last_event = str(exc)
        await pulse.beat(self._redis)
        await logs.ship(self._redis, role=pulse.role, name=pulse.name)
