"""One stream into the database: read ahead, stored in large commits, never lost and never doubled.

A task reads on from the watermark that PostgreSQL keeps for this store's generation; what it read goes out while more
is read, and the watermark moves in the same transaction. Then the stream is trimmed up to it. Killed anywhere it loses
nothing and doubles nothing: what was committed lies below the watermark, what was not is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import redis.asyncio as redis_async

from feed import schema
from feed.sinks.base import Batch, Sink
from feed.sinks.tables import GAPS, MALFORMED, Values, digest63, stream_gap
from feed.writer import watermark
from feed.writer.reading import Chunk, Hole, Item, Reader, StreamInfo, stream_info
from feed.writer.trouble import ENTRIES, STORES, NothingFits, Trouble, explain
from feed.writer.watermark import START, Position, in_order
from kalshimm.db.version import require_schema_of
from kalshimm.runtime import crash, database, streams
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.copying import copy_new, to_timestamp
from kalshimm.runtime.worker import cancel, wait_or_stop

logger = logging.getLogger(__name__)

ROWS_A_COMMIT = 50_000
COMMIT_EVERY_S = 1.0
QUIET_S = 0.2  # a stream on which nothing comes is committed sooner
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 5.0
REMIND_EVERY_S = 60.0
POISON_IN_A_ROW = 20  # entries set aside one after the other; more than a bad writer of one stream among others makes


# Ids of another generation say nothing of what is stored: a store that began anew this instant is left alone.
TRIM = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1])
"""


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
        self._redis, self._dsn, self.sink, self._clock = client, dsn, sink, clock
        self._on_commit = on_commit
        self._connection: database.AsyncConnection | None = None
        self._database = "the database"
        self._generation = ""
        self.position = START
        self.stored: Counter[str] = Counter()
        self.commits = 0
        self.trouble: Trouble | None = None
        self._told_at = 0.0
        self._attempt = 0  # since the last commit
        self._poison_in_a_row = 0  # up to the last entry behind us

    @property
    def watermark(self) -> str:
        """The newest entry whose rows are stored."""
        return self.position.entry_id

    async def run(self, stop: asyncio.Event) -> None:
        """Write until stopped; when asked to stop, store what was on the stream first."""
        while True:
            try:
                await self._prepare()
                if self.trouble is not None and self.trouble.ends_with_a_connection:
                    self._all_well()
                await self._write_until(stop)
                return
            except STORES as exc:
                await self._close()
                self._attempt += 1
                wait_s = delay_s(self._attempt, first_s=RETRY_FIRST_S, most_s=RETRY_MOST_S, jitter=0.0)
                self._complain(exc)
                if await wait_or_stop(stop, wait_s):
                    return

    # ---- stores ------------------------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Connect, and find where this generation of the store was read to.

        Raises:
            SchemaMismatch: The database is of another version: it may have been away until now.
        """
        await self._close()
        self._connection = connection = await database.connect(self._dsn)
        self._database = await database.where(connection)
        await require_schema_of(connection)
        await self.sink.load(connection)
        self._generation = await streams.generation(self._redis, schema.GENERATION)
        stream = self.sink.stream
        await watermark.own(connection, stream)
        known, newest = await watermark.read(connection, stream, self._generation)
        if known is None:
            self.position = START
            if newest is not None:
                await self._note_lost(f"{stream}: the store began anew; what it held before is lost", newest)
            return
        info = await self._info()
        if info.added is not None and info.added < (known.number or 0):
            self.position = START
            await self._note_lost(f"{stream} was deleted; what it held and was not stored is lost", known.entry_id)
            return
        self.position = known
        await self._trim()  # a writer that died between commit and trim left it to us
        if known.number is None:
            self.position = Position(known.entry_id, (await self._info()).taken_off)

    async def _info(self) -> StreamInfo:
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xinfo_stream(self.sink.stream)
        return stream_info((await pipeline.execute(raise_on_error=False))[0])

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    def _complain(self, exc: BaseException) -> None:
        """Raise an alarm when a trouble begins, and again while it lasts."""
        trouble = explain(exc, self._database)
        if trouble is None:
            logger.warning("%s", exc, extra={"action": "store_generation"})
            return
        now = self._clock.monotonic()
        is_known = self.trouble is not None and self.trouble.alert == trouble.alert
        if not is_known or now - self._told_at >= REMIND_EVERY_S:
            self._told_at = now
            fields = {"action": "writer_waits", "alert": trouble.alert, "stream": self.sink.stream}
            logger.error("%s waits: %s", self.sink.stream, trouble.sentence, extra=fields)
        self.trouble = trouble

    def _all_well(self) -> None:
        """Say that a trouble is over."""
        if self.trouble is not None:
            fields = {"action": "writer_goes_on", "recovered": self.trouble.alert, "stream": self.sink.stream}
            logger.info("%s is stored again", self.sink.stream, extra=fields)
            self.trouble = None

    # ---- storing -----------------------------------------------------------------------------------------------------

    async def _write_until(self, stop: asyncio.Event) -> None:
        reader = Reader(
            self._redis, self.sink.stream, generation=self._generation, position=self.position,
            decode=self.sink.decode,
        )  # fmt: skip
        reading = asyncio.create_task(reader.run(stop), name=f"read {self.sink.stream}")
        try:
            while (chunk := await reader.next()) is not None:
                crash.point("writer.after_read")
                await self._commit(chunk, reader)
        finally:
            await cancel(reading)
            await self._close()

    async def _commit(self, first: Chunk, reader: Reader) -> None:
        """Store a chunk, and what else comes while there is room, in one transaction; then trim and tell.

        After a failure it begins small: a large batch may have taken longer than a slow database may.
        """
        taken = [first]
        try:
            await self._store(taken, reader if self._attempt == 0 else None)
        except ENTRIES as exc:
            poison: list[Chunk] = []
            await self._store_by_halves(taken, exc, poison)
            if poison:
                await self._store(poison)

    async def _store_by_halves(self, chunks: list[Chunk], exc: Exception, poison: list[Chunk]) -> None:
        """Find what cannot be stored: everything else is stored, and it is set aside with the reason.

        Args:
            poison: What was found and is not set aside yet: it is with the next that fits, for if nothing does it is
                not to blame.
        """
        if len(chunks) == 1 and len(chunks[0].items) <= 1:
            (item,) = chunks[0].items  # without an entry there is nothing to blame
            poison.append(msgspec.structs.replace(chunks[0], items=[Item.poison(item.entry, exc)]))
            self._count_poison(poison)
            return
        for half in _halves(chunks):
            try:
                await self._store([*poison, *half])
                poison.clear()
            except ENTRIES as problem:
                await self._store_by_halves(half, problem, poison)

    def _count_poison(self, chunks: list[Chunk]) -> int:
        """Return how many entries in a row, the last of `chunks` among them, cannot be stored.

        Raises:
            NothingFits: Too many.
        """
        in_a_row = self._poison_in_a_row
        for item in (item for chunk in chunks for item in chunk.items):
            in_a_row = in_a_row + 1 if item.problem else 0
            if in_a_row > POISON_IN_A_ROW:
                raise NothingFits(in_a_row, item.problem)
        return in_a_row

    async def _store(self, chunks: list[Chunk], reader: Reader | None = None) -> None:
        """Store chunks and move the watermark behind them, whole or not at all; then trim.

        Args:
            chunks: What `reader` gives while the transaction has room is appended to it.
        """
        assert self._connection is not None
        try:
            async with self._connection.transaction():
                stored = await self._store_rows(self._connection, chunks, reader)
                end = chunks[-1].end
                await watermark.write(self._connection, self.sink.stream, self._generation, end)
                crash.point("writer.before_commit")
        except BaseException:
            self.sink.rolled_back()
            raise
        crash.point("writer.after_commit")
        self.sink.committed()
        self.position = end
        self.stored += stored
        self.commits += 1
        self._attempt, self._poison_in_a_row = 0, self._count_poison(chunks)
        self._all_well()
        await self._trim()
        crash.point("writer.after_trim")
        if self._on_commit is not None:
            self._on_commit(stored)

    async def _store_rows(
        self, connection: database.AsyncConnection, chunks: list[Chunk], reader: Reader | None
    ) -> Counter[str]:
        batch = self.sink.batch(connection)
        try:
            for chunk in chunks:
                await _add(batch, chunk)
            if reader is not None:
                await self._add_more(batch, chunks, reader)
            stored = await batch.finish()
        except BaseException as exc:
            await batch.abandon(exc)
            raise
        self._count_poison(chunks)  # before any is set aside
        poisoned = [self._set_aside(item) for chunk in chunks for item in chunk.items if item.problem]
        if poisoned:
            stored["poisoned"] += await copy_new(connection, MALFORMED, poisoned)
        gaps = [gap for chunk in chunks for gap in self._gaps(chunk)]
        if gaps:
            stored["gaps"] += await copy_new(connection, GAPS, gaps)
        return stored

    async def _add_more(self, batch: Batch, chunks: list[Chunk], reader: Reader) -> None:
        until = self._clock.monotonic() + COMMIT_EVERY_S
        while batch.rows < ROWS_A_COMMIT:
            left_s = until - self._clock.monotonic()
            chunk = await reader.more(min(left_s, QUIET_S)) if left_s > 0 else None
            if chunk is None:
                return
            chunks.append(chunk)
            await _add(batch, chunk)

    # ---- what is missing ---------------------------------------------------------------------------------------------

    def _set_aside(self, item: Item) -> Values:
        """Return the row of the malformed table that keeps an entry nobody can store, and say so."""
        stream, entry = self.sink.stream, item.entry
        text = " ".join(item.problem.replace("\x00", "\\0").split())
        fields = {"action": "entry_poisoned", "alert": "ENTRY_POISONED", "stream": stream}
        logger.error("entry %s of %s set aside: %s", entry.id, stream, text, extra=fields)
        digest = digest63(entry.id.encode() + entry.payload)
        return (to_timestamp(_id_us(entry.id)), None, f"{stream} {entry.id}: {text}", entry.payload, digest)

    def _gaps(self, chunk: Chunk) -> Iterator[Values]:
        """Yield the gap rows of what a chunk lacks: data is missing from behind the last entry that was stored."""
        after, first = chunk.after, chunk.items[0].entry.id if chunk.items else chunk.end.entry_id
        if chunk.hole is not None:
            yield self._gap_of_hole(chunk.hole, _missing_from_us(after, first))
        for item in chunk.items:
            if item.problem:
                reason = f"{self.sink.stream}: entry {item.entry.id} was set aside"
                yield stream_gap(_missing_from_us(after, item.entry.id), reason)
            after = item.entry.id

    def _gap_of_hole(self, hole: Hole, since_us: int) -> Values:
        """Return the gap row of entries that left the stream before they were stored, and raise an alarm."""
        reason = f"{self.sink.stream}: {hole.entries} entries were trimmed before they were stored"
        logger.error("%s", reason, extra={"action": "stream_hole", "alert": "STREAM_HOLE", "stream": self.sink.stream})
        return stream_gap(since_us, reason, expected=hole.expected, received=hole.received)

    async def _note_lost(self, reason: str, after: str) -> None:
        """Note, once, that what came behind an entry of the stream is lost, and that its new store is not read yet."""
        assert self._connection is not None
        stream = self.sink.stream
        logger.error("%s", reason, extra={"action": "store_generation", "alert": "STREAM_HOLE", "stream": stream})
        since_us = self._clock.wall_us() if after == START.entry_id else _missing_from_us(after, after)
        async with self._connection.transaction():
            await copy_new(self._connection, GAPS, [stream_gap(since_us, reason)])
            await watermark.write(self._connection, stream, self._generation, START)

    async def _trim(self) -> None:
        """Take off the stream what is stored, if nobody else reads it."""
        if self.sink.is_trimmed:
            milliseconds, _, number = self.watermark.partition("-")
            first_kept = f"{milliseconds}-{int(number) + 1}"
            keys = (self.sink.stream, schema.GENERATION)
            await self._redis.eval(TRIM, len(keys), *keys, first_kept, self._generation)


async def _add(batch: Batch, chunk: Chunk) -> None:
    await batch.add([item.value for item in chunk.items if not item.problem])


def _halves(chunks: list[Chunk]) -> tuple[list[Chunk], list[Chunk]]:
    if len(chunks) == 1:
        first, second = chunks[0].halves()
        return [first], [second]
    middle = len(chunks) // 2
    return chunks[:middle], chunks[middle:]


def _missing_from_us(after: str, entry_id: str) -> int:
    """Return from when data is missing: the end of the millisecond of the last entry before.

    What entry `entry_id` lacks may be older than itself, by as long as the store was away. Where nothing was ever
    read before it, nothing older is missing.
    """
    return _id_us(entry_id) if after == START.entry_id else _id_us(after) + 999


def _id_us(entry_id: str) -> int:
    """Return the time in an entry's id, which is the store's clock: microseconds since 1970."""
    return in_order(entry_id)[0] * 1_000
