"""The writer process: one StreamWriter a stream, a beat that says how far each is, acknowledgements to the traders."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from redis.exceptions import RedisError

from feed import schema
from feed.sinks.account import AccountSink
from feed.sinks.base import Sink
from feed.sinks.journal import JournalSink
from feed.sinks.log import LogSink
from feed.sinks.tape import TapeSink
from feed.writer.lag import LagWatch
from feed.writer.reach import REACH_EVERY_S, Reach
from feed.writer.reading import BLOCK_MS
from feed.writer.stream import StreamWriter
from kalshimm.runtime import logs, streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every

logger = logging.getLogger(__name__)

ACCOUNTS_EVERY_S = 5.0  # looks for accounts that are new
ACCOUNT_STREAMS = schema.account_stream("*")


class Writer:
    """Everything that `manage.py writer` runs.

    Args:
        tape_bytes: How large the tape may grow in Redis before its oldest entries are dropped unstored.
    """

    def __init__(self, *, redis_url: str, dsn: str, clock: Clock, tape_bytes: int) -> None:
        self._redis = streams.connect(redis_url, block_s=BLOCK_MS / 1_000)
        self._dsn, self._clock, self._tape_bytes = dsn, clock, tape_bytes
        self._journal = JournalSink()
        self._pulse = Pulse(role="writer", name="0", clock=clock)
        self._reach = Reach(self._redis, dsn)
        self._writers: dict[str, StreamWriter] = {}
        self._watches: dict[str, LagWatch] = {}
        self._told: dict[int, int] = {}  # acknowledgements by trader, in the store of this generation:
        self._told_in: bytes | str | None = None
        for sink in (TapeSink(schema.TAPE), self._journal, LogSink()):
            self._add(sink)

    def _add(self, sink: Sink) -> StreamWriter:
        writer = StreamWriter(client=self._redis, dsn=self._dsn, sink=sink, clock=self._clock)
        self._writers[sink.stream] = writer
        bytes_most = self._tape_bytes if sink.stream == schema.TAPE else None
        self._watches[sink.stream] = LagWatch(self._redis, sink.stream, bytes_most=bytes_most)
        return writer

    async def run(self, stop: asyncio.Event) -> None:
        await streams.require(self._redis)
        helpers_stop = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as helpers:
                beating = every(helpers_stop, BEAT_EVERY_S, self._beat)
                helpers.create_task(_stopping_all(beating, stop), name="beat")
                reaching = every(helpers_stop, REACH_EVERY_S, self._reach.look)
                helpers.create_task(_stopping_all(reaching, stop), name="reach")
                async with asyncio.TaskGroup() as writing:
                    for writer in list(self._writers.values()):
                        writing.create_task(_stopping_all(writer.run(stop), stop), name=writer.sink.stream)
                    writing.create_task(_stopping_all(self._find_accounts(stop, writing), stop), name="accounts")
                helpers_stop.set()
        finally:
            await self._reach.close()
            await self._pulse.retire(self._redis)
            await self._redis.aclose()

    async def _find_accounts(self, stop: asyncio.Event, writing: asyncio.TaskGroup) -> None:
        """Begin to store each account's stream when it appears."""

        async def look() -> None:
            try:
                found = [key.decode() async for key in self._redis.scan_iter(match=ACCOUNT_STREAMS, count=1_000)]
            except (RedisError, OSError, TimeoutError) as exc:
                logger.info("accounts not looked for: %s", exc)
                return
            for stream in sorted(set(found) - self._writers.keys()):
                storing = self._add(AccountSink(stream)).run(stop)
                writing.create_task(_stopping_all(storing, stop), name=stream)

        await every(stop, ACCOUNTS_EVERY_S, look)

    async def _beat(self) -> None:
        pulse = self._pulse
        pulse.turn(every_s=BEAT_EVERY_S)
        stored: Counter[str] = Counter()
        for writer in self._writers.values():
            stored += writer.stored
        pulse.counters |= dict(stored)
        pulse.counters["commits"] = sum(writer.commits for writer in self._writers.values())
        troubles = {w.trouble.sentence for w in self._writers.values() if w.trouble is not None}
        pulse.state = "waiting" if troubles else "writing"
        pulse.last_event = "; ".join(sorted(troubles))
        try:
            await self._look_behind()
            await self._acknowledge()
        except (RedisError, OSError, TimeoutError) as exc:
            pulse.state, pulse.last_event = "waiting", f"Redis does not answer: {exc}"
        await pulse.beat(self._redis)
        await logs.ship(self._redis, role=pulse.role, name=pulse.name)

    async def _look_behind(self) -> None:
        """Count into the beat how far each stream is behind; `backlog` is all entries that are not stored."""
        now = self._clock.monotonic()
        backlog = 0
        for stream, writer in list(self._writers.items()):  # an account may appear meanwhile
            lag = await self._watches[stream].look(writer.position, now=now)
            name = stream.removeprefix("kmm:").replace(":", "_")
            self._pulse.counters |= {
                f"{name}_behind_entries": lag.entries,
                f"{name}_behind_bytes": lag.bytes,
                f"{name}_behind_ms": lag.age_ms,
            }
            backlog += lag.entries
        self._pulse.counters["backlog"] = backlog
        self._pulse.counters["dropped"] = sum(watch.dropped for watch in self._watches.values())

    async def _acknowledge(self) -> None:
        """Tell the traders what is stored of their journals: what is new, and all of it to a store that began anew."""
        generation = await self._redis.get(schema.GENERATION)
        if generation != self._told_in:
            self._told, self._told_in = {}, generation
        news = {k: v for k, v in self._journal.acknowledged.items() if self._told.get(k) != v}
        if news:
            mapping: dict[Any, Any] = {str(k): v for k, v in news.items()}
            await self._redis.hset(schema.ACK, mapping=mapping)
            self._told |= news


async def _stopping_all(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Do the work; if it fails let everybody stop, also who misses the cancel (see kalshimm.runtime.worker.cancel)."""
    try:
        await work
    except BaseException:
        stop.set()
        raise
