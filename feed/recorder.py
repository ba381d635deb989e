"""The recorder: the full streams of chosen markets, from the tape into files, with every hole marked.

It holds interest in its markets, so that the gateway puts them on the tape, and reads the tape beside the writer, who
alone trims it: what was gone before we read it, and a store that began anew, are gap rows of our own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from feed import schema
from feed.schema import TimeSource
from feed.sinks.tape import decode_entry
from feed.tapefile import TapeFile
from feed.writer.reading import BLOCK_MS, Chunk, Reader, stream_info
from feed.writer.trouble import StoreBeganAnew
from feed.writer.watermark import START, Position
from kalshimm.errors import NotReachable
from kalshimm.runtime import streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.worker import every, wait_or_stop

logger = logging.getLogger(__name__)

RETRY_S = 0.25
FLUSH_EVERY_S = 1.0
RENEW_EVERY_S = schema.INTEREST_LEASE_S / 3
MARKETS_EVERY_S = 30.0
ROTATE_BYTES = 256 << 20
AWAY = (RedisError, OSError, TimeoutError)

Markets = Callable[[], Awaitable[frozenset[str]]]


class Recorded(msgspec.Struct):
    """What was recorded so far."""

    rows: int = 0
    gaps: int = 0
    bytes: int = 0
    markets: int = 0
    files: list[str] = msgspec.field(default_factory=list)


class Recorder:
    """Records until stopped.

    Args:
        markets: Tells the tickers to record; asked again now and then, for a series lists new ones. Raises NotReachable
            when it cannot be told.
        folder: Where the files go.
        holder: Our name among those who hold interest.
        rotate_bytes: A file this long is finished, and the next one begun; each hour's end does the same.
    """

    def __init__(
        self,
        *,
        redis_url: str,
        clock: Clock,
        markets: Markets,
        folder: Path,
        holder: str,
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        self._redis = streams.connect(redis_url, block_s=BLOCK_MS / 1_000)
        self._clock, self._ask, self._folder = clock, markets, folder
        self._holder = schema.TAPE_HOLDER + holder
        self._rotate_bytes = rotate_bytes
        self._markets: frozenset[str] = frozenset()
        self._generation = ""
        self._position = START
        self._file: TapeFile | None = None
        self._hour = -1
        self._conn = 0  # that told us last: a hole of our own spoils its books
        self._is_away = False
        self._done = Recorded()

    @property
    def done(self) -> Recorded:
        """What was recorded so far, the file that is being written included."""
        file = self._file
        extra = file.bytes if file else 0
        return msgspec.structs.replace(self._done, bytes=self._done.bytes + extra, markets=len(self._markets))

    async def run(self, stop: asyncio.Event) -> None:
        """Record until stopped, then finish the file.

        Raises:
            NotReachable: Redis, or who knows the markets, does not answer at the start; later we wait for both.
        """
        await streams.require(self._redis)
        self._markets = await self._ask()
        await self._begin()
        self._open()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(every(stop, RENEW_EVERY_S, self._renew), name="interest")
                tasks.create_task(every(stop, MARKETS_EVERY_S, self._follow), name="markets")
                tasks.create_task(every(stop, FLUSH_EVERY_S, self._flush), name="flush")
                tasks.create_task(self._read_until(stop), name="read")
        finally:
            self._finish("stopped")
            await self._release()

    # ---- interest ------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        until = self._clock.wall_us() / 1_000_000 + schema.INTEREST_LEASE_S
        members: dict[Any, float] = {schema.interest_member(ticker, self._holder): until for ticker in self._markets}
        try:
            await self._redis.zadd(schema.INTEREST, members)
        except AWAY as exc:
            logger.warning("interest is not renewed: %s", exc, extra={"action": "interest_unrenewed"})

    async def _follow(self) -> None:
        """Take up the markets that were listed meanwhile; those that are over stay, for their last word may come."""
        try:
            fresh = await self._ask() - self._markets
        except NotReachable as exc:
            logger.warning("new markets are not looked for: %s", exc, extra={"action": "markets_unknown"})
            return
        if fresh:
            logger.info("recording %s too", ", ".join(sorted(fresh)), extra={"action": "record_more"})
            self._markets |= fresh
            await self._renew()

    async def _release(self) -> None:
        members = [schema.interest_member(ticker, self._holder) for ticker in self._markets]
        try:
            await self._redis.zrem(schema.INTEREST, *members)
        except AWAY as exc:
            logger.warning("interest runs out by itself: %s", exc, extra={"action": "interest_left"})
        await self._redis.aclose()

    # ---- the tape ------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Take our place at the tape's end: what is on it already was told before we were here."""
        self._generation = await streams.generation(self._redis, schema.GENERATION)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xinfo_stream(schema.TAPE)
        info = stream_info((await pipeline.execute(raise_on_error=False))[0])
        self._position = Position(info.last_id, info.added)

    async def _read_until(self, stop: asyncio.Event) -> None:
        while True:
            try:
                await self._read(stop)
                return
            except StoreBeganAnew:
                self._gap("the store began anew; what it held before is lost")
                self._position = START
            except AWAY as exc:
                if not self._is_away:
                    logger.warning("the tape cannot be read: %s", exc, extra={"action": "tape_unread"})
                self._is_away = True
            if await wait_or_stop(stop, RETRY_S):
                return

    async def _read(self, stop: asyncio.Event) -> None:
        """Read on from our place until stopped, and then what the tape held at that moment."""
        if self._position == START:
            self._generation = await streams.generation(self._redis, schema.GENERATION)
        reader = Reader(
            self._redis, schema.TAPE, generation=self._generation, position=self._position,
            decode=decode_entry,
        )  # fmt: skip
        reading = asyncio.create_task(reader.run(stop), name="read tape")
        try:
            while (chunk := await reader.next()) is not None:
                self._is_away = False
                self._take(chunk)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _take(self, chunk: Chunk) -> None:
        if chunk.hole is not None:
            self._gap(f"{chunk.hole.entries} entries of the tape were gone before they were recorded")
        for item in chunk.items:
            if item.problem:
                self._gap(f"an entry of the tape cannot be read: {item.problem}")
            else:
                self._take_entry(item.value, int(item.entry.id.partition("-")[0]) * 1_000)
        self._position = chunk.end

    def _take_entry(self, entry: schema.TapeEntry, recv_us: int) -> None:
        self._conn = entry.conn
        for row in entry.rows:
            if row.ticker in self._markets or (not row.ticker and isinstance(row, schema.GapRow | schema.MalformedRow)):
                self._write(entry.conn, recv_us, row)

    def _gap(self, reason: str) -> None:
        logger.warning("%s", reason, extra={"action": "record_gap"})
        now_us = self._clock.wall_us()
        self._write(self._conn, now_us, schema.GapRow(now_us, TimeSource.RECEIVED, "", reason, 0, 0, 0))

    # ---- files ---------------------------------------------------------------------------------------------------

    def _write(self, conn: int, recv_us: int, row: schema.TapeRow) -> None:
        assert self._file is not None, "a file is open while we run"
        self._file.write(conn, recv_us, row)
        self._done.rows += 1
        self._done.gaps += isinstance(row, schema.GapRow)

    async def _flush(self) -> None:
        assert self._file is not None, "a file is open while we run"
        self._file.flush()
        if self._file.bytes >= self._rotate_bytes or self._hour_now() != self._hour:
            self._finish("rotated")
            self._open()

    def _open(self) -> None:
        self._hour = self._hour_now()
        began = datetime.fromtimestamp(self._clock.wall_us() / 1_000_000, tz=UTC)
        self._file = TapeFile(self._folder, f"tape-{began:%Y%m%dT%H%M%SZ}", sorted(self._markets))
        self._done.files.append(self._file.path.name)

    def _finish(self, reason: str) -> None:
        if self._file is not None:
            self._file.finish(reason)
            self._done.bytes += self._file.bytes
            self._file = None

    def _hour_now(self) -> int:
        return self._clock.wall_us() // 3_600_000_000
