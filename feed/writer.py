"""The writer: the only author of history.

One task a stream reads from the watermark that PostgreSQL keeps for this store's generation, stores what it read and
moves the watermark in the same transaction, then trims the stream up to it. Killed anywhere it loses nothing and
doubles nothing: what was committed lies below the watermark, what was not is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import redis.asyncio as redis_async
from redis.exceptions import RedisError

from feed import schema
from feed.sinks.base import Entry, Sink
from feed.sinks.journal import JournalSink
from feed.sinks.log import LogSink
from feed.sinks.tape import GAPS, MALFORMED, TapeSink, digest63, gap_row
from kalshimm.errors import NotReachable
from kalshimm.runtime import database, logs, streams
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse
from kalshimm.runtime.worker import every, wait_or_stop

logger = logging.getLogger(__name__)

ENTRIES_A_READ = 400  # of up to 50 rows: commits of up to 20,000 rows
GATHER_S = 0.2  # a quiet stream is committed soon; a busy one by the row
BLOCK_MS = 500
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
STORES_AWAY = (RedisError, psycopg.OperationalError, psycopg.InterfaceError, NotReachable, OSError)

SET_WATERMARK = """
INSERT INTO feed_watermark (stream, generation, entry_id, updated_at) VALUES (%s, %s, %s, now())
ON CONFLICT (stream, generation) DO UPDATE SET entry_id = excluded.entry_id, updated_at = excluded.updated_at
"""
GET_WATERMARK = "SELECT entry_id FROM feed_watermark WHERE stream = %s AND generation = %s"
ANY_WATERMARK = "SELECT 1 FROM feed_watermark WHERE stream = %s LIMIT 1"


class StreamWriter:
    """Moves one stream into the database.

    Args:
        sink: Which stream, and what its entries mean.
        on_commit: Called after each commit with what was stored.
    """

    def __init__(
        self,
        *,
        client: redis_async.Redis,
        dsn: str,
        sink: Sink,
        clock: Clock,
        on_commit: Callable[[Counter[str]], None] | None = None,
    ) -> None:
        self._redis, self._dsn, self._sink, self._clock = client, dsn, sink, clock
        self._on_commit = on_commit
        self._connection: database.AsyncConnection | None = None
        self._generation = ""
        self.watermark = "0-0"
        self.stored: Counter[str] = Counter()
        self.commits = 0
        self._attempt = 0  # since the last commit

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped; when asked to stop, store what is still on the stream first."""
        while True:
            try:
                await self._prepare()
                await self._write_until(stop)
                return
            except STORES_AWAY as exc:
                await self._close()
                self._attempt += 1
                wait = delay_s(self._attempt, first_s=RETRY_FIRST_S, most_s=RETRY_MOST_S, jitter=0.0)
                logger.warning(
                    "%s waits %.1f s for its stores: %s", self._sink.stream, wait, exc, extra={"action": "writer_waits"}
                )
                if await wait_or_stop(stop, wait):
                    return

    async def _prepare(self) -> None:
        """Connect, and find where this generation of the store was read to."""
        await self._close()
        self._connection = await database.connect(self._dsn)
        await self._sink.load(self._connection)
        self._generation = await streams.generation(self._redis, schema.GENERATION)
        key = (self._sink.stream, self._generation)
        row = await (await self._connection.execute(GET_WATERMARK, key)).fetchone()
        if row is not None:
            self.watermark = row[0]
            return
        self.watermark = "0-0"
        if await (await self._connection.execute(ANY_WATERMARK, (self._sink.stream,))).fetchone():
            await self._note_gap(f"{self._sink.stream}: the store began anew; what it held before is lost")

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _write_until(self, stop: asyncio.Event) -> None:
        try:
            while True:
                is_last = stop.is_set()
                entries = await self._gather(block=not is_last)
                if entries:
                    await self._commit(entries)
                elif is_last:
                    return
        finally:
            await self._close()

    async def _gather(self, *, block: bool) -> list[Entry]:
        """Read what has come; wait a moment for more unless it is already much."""
        entries = await self._read(self.watermark, BLOCK_MS if block else 0)
        if block and 0 < len(entries) < ENTRIES_A_READ:
            await asyncio.sleep(GATHER_S)
            entries += await self._read(entries[-1].id, 0)
        return entries

    async def _read(self, after: str, block_ms: int) -> list[Entry]:
        answer: Any = await self._redis.xread(
            {self._sink.stream: after}, count=ENTRIES_A_READ, block=block_ms if block_ms else None
        )
        if not answer:
            return []
        _stream, found = answer[0] if isinstance(answer, list) else next(iter(answer.items()))
        return [Entry(entry_id.decode(), fields.get(schema.FIELD, b"")) for entry_id, fields in found]

    async def _commit(self, entries: list[Entry]) -> None:
        """Store a batch and the watermark in one transaction; what cannot be stored is found by halving."""
        rows, poisoned = self._decode(entries)
        try:
            await self._store(entries[-1].id, rows, poisoned)
        except STORES_AWAY:
            raise
        except (psycopg.Error, OverflowError, ValueError, TypeError) as exc:
            if len(entries) == 1:
                await self._store(entries[0].id, [], [_poison(self._sink.stream, entries[0], exc)])
                return
            middle = len(entries) // 2
            await self._commit(entries[:middle])
            await self._commit(entries[middle:])

    async def _store(self, last_id: str, rows: list[Any], poisoned: list[tuple[Any, ...]]) -> None:
        """Store rows and move the watermark to `last_id`, whole or not at all; then trim and tell."""
        assert self._connection is not None
        try:
            async with self._connection.transaction():
                stored = await self._sink.store(self._connection, rows) if rows else Counter[str]()
                if poisoned:
                    stored["poisoned"] += await database.copy_new(self._connection, MALFORMED, poisoned)
                await self._connection.execute(SET_WATERMARK, (self._sink.stream, self._generation, last_id))
        except BaseException:
            self._sink.rolled_back()
            raise
        self._sink.committed()
        self.watermark = last_id
        self.stored += stored
        self.commits += 1
        self._attempt = 0
        await self._trim()
        if self._on_commit is not None:
            self._on_commit(stored)

    def _decode(self, entries: list[Entry]) -> tuple[list[Any], list[tuple[Any, ...]]]:
        """Return the rows of the entries, and those entries that cannot be read as rows for the malformed table."""
        rows: list[Any] = []
        poisoned: list[tuple[Any, ...]] = []
        for entry in entries:
            try:
                rows += self._sink.decode(entry)
            except (msgspec.MsgspecError, ValueError) as exc:
                poisoned.append(_poison(self._sink.stream, entry, exc))
        return rows, poisoned

    async def _note_gap(self, reason: str) -> None:
        assert self._connection is not None
        logger.warning("%s", reason, extra={"action": "store_generation"})
        async with self._connection.transaction():
            await database.copy_new(self._connection, GAPS, [tuple(gap_row(self._clock.wall_us(), reason))])

    async def _trim(self) -> None:
        milliseconds, _, number = self.watermark.partition("-")
        await self._redis.xtrim(self._sink.stream, minid=f"{milliseconds}-{int(number) + 1}", approximate=False)


def _poison(stream: str, entry: Entry, problem: Exception) -> tuple[Any, ...]:
    """Return the row of the malformed table that keeps an entry nobody can store, and say so."""
    text = " ".join(str(problem).replace("\x00", "\\0").split())
    logger.error("entry %s of %s set aside: %s", entry.id, stream, text, extra={"action": "entry_poisoned"})
    time = datetime.fromtimestamp(int(entry.id.partition("-")[0]) / 1_000, tz=UTC)
    return (time, None, f"{stream} {entry.id}: {text}", entry.payload, digest63(entry.id.encode() + entry.payload))


class Writer:
    """The writer process: one StreamWriter a stream, a beat, acknowledgements to the traders."""

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
                writing = [tasks.create_task(w.run(stop), name=w._sink.stream) for w in self._writers]
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
