"""Recorded frames through the real path, at their recorded times: session → books → stream → writer → tables.

Each recording is published on a tape stream of its own, read by a writer of its own, so a replay neither waits for
nor disturbs the live tape. The identity of a connection is a hash of recording and ordinal: a second replay of the
same file meets its own rows and adds none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psycopg

from feed import schema
from feed.books import Books
from feed.kalshi.session import Session
from feed.publisher import pack_tape
from feed.recording import RecordedFrame, connection_identity, identity, read_frames
from feed.sinks.tape import TapeSink
from feed.writer import StreamWriter
from kalshimm.errors import NotReachable
from kalshimm.runtime import streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.resp import Pipe

logger = logging.getLogger(__name__)

FRAMES_A_TURN = 2_000
WRITER_SILENT_MAX_S = 30.0
STREAM_ENTRIES_MAX = 2_000  # some 100,000 rows: the reader waits for the writer here

COUNTED = {
    schema.DeltaRow: "deltas",
    schema.SnapshotRow: "snapshots",
    schema.TickerRow: "tickers",
    schema.TradeRow: "trades",
    schema.GapRow: "gaps",
    schema.MalformedRow: "malformed",
}
# Behind a recorded connection history knows nothing of its markets.
RECORDING_ENDS = "the recording of this connection ends"
TABLES = ("deltas", "snapshots", "tickers", "trades")


class ReplayResult(msgspec.Struct):
    """What a replay saw and what it added to the tables."""

    files: int = 0
    frames: int = 0
    deltas: int = 0
    snapshots: int = 0
    tickers: int = 0
    trades: int = 0
    connections: int = 0
    gaps: int = 0
    negative_levels: int = 0
    crossed_books: int = 0
    malformed: int = 0
    rows: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    seconds: float = 0.0
    frames_per_s: int = 0

    def add(self, counters: Counter[str]) -> None:
        """Take in the counters of one connection's books."""
        self.connections += 1
        for name in (
            "deltas",
            "snapshots",
            "tickers",
            "trades",
            "gaps",
            "negative_levels",
            "crossed_books",
            "malformed",
        ):
            setattr(self, name, getattr(self, name) + counters[name])


Progress = Callable[[Path, int], None]


class Replay:
    """Replays recordings one after the other.

    Args:
        use_yes_price: NO levels of raw frames are at YES prices.
        progress: Told after each turn: the file, and frames read of it so far.
    """

    def __init__(
        self, *, redis_url: str, dsn: str, clock: Clock, use_yes_price: bool = False, progress: Progress | None = None
    ) -> None:
        self._redis = streams.connect(redis_url)
        self._pipe = Pipe(redis_url)
        self._reading = streams.connect(redis_url, block_s=0.5)
        self._dsn, self._clock = dsn, clock
        self._use_yes_price = use_yes_price
        self._progress = progress
        self._received_us = 0  # of the last frame, 0 where the recorder kept no time
        self.result = ReplayResult()

    async def run(self, paths: Sequence[Path]) -> ReplayResult:
        """Replay all `paths` and return what happened.

        Raises:
            BadRecording: A file is broken; what came before the break is stored.
        """
        began = time.monotonic()
        try:
            for path in paths:
                await self._replay(path)
                self.result.files += 1
        finally:
            self._pipe.close()
            await self._redis.aclose()
            await self._reading.aclose()
        self.result.seconds = round(time.monotonic() - began, 3)
        self.result.frames_per_s = int(self.result.frames / max(self.result.seconds, 0.001))
        return self.result

    async def _replay(self, path: Path) -> None:
        recording = identity(path)
        stream = f"kmm:tape:replay:{recording:x}"
        await self._forget(stream)  # what a replay that was killed left
        writer = StreamWriter(client=self._reading, dsn=self._dsn, sink=TapeSink(stream), clock=self._clock)
        stop = asyncio.Event()
        writing = asyncio.create_task(writer.run(stop), name="replay-writer")
        try:
            await self._publish(path, recording, stream, writing)
        finally:
            stop.set()
            await writing
            left = await self._redis.xlen(stream)
            await self._forget(stream)
        if left:
            raise NotReachable(
                f"{path.name}: the database went away with {left} stream entries unstored; replay again."
            )
        for table in TABLES:
            self.result.rows[table] += writer.stored[table]

    async def _publish(self, path: Path, recording: int, stream: str, writing: asyncio.Task[None]) -> None:
        connection, seen = -1, 0
        books: Books | KeptRows | None = None
        try:
            for frame in read_frames(path):
                if not frame.frame and frame.row is None:
                    continue  # the recorder's own event, which says nothing of the market
                if frame.connection != connection or books is None:
                    await self._finish(stream, books)
                    connection = frame.connection
                    books = self._books(frame, recording)
                self._received_us = frame.recv_us or 0
                _receive(books, frame)
                seen += bool(frame.frame)
                if frame.frame and seen % FRAMES_A_TURN == 0:
                    await self._send(stream, books.conn, _rows(books))
                    await self._wait_for_writer(stream, writing)
                    self._tell(path, seen)
        finally:
            # A broken file ends here too: what was good before the break is kept.
            await self._finish(stream, books)
            self.result.frames += seen
        self._tell(path, seen)

    def _books(self, frame: RecordedFrame, recording: int) -> Books | KeptRows:
        if frame.conn is not None:
            return KeptRows(frame.conn)
        identity_ = connection_identity(recording, frame.connection)
        return Books(identity_, Session(use_yes_price=self._use_yes_price, adopt=True))

    async def _finish(self, stream: str, books: Books | KeptRows | None) -> None:
        if books is None or not books.counters["frames"]:
            return
        rows = _rows(books)
        if isinstance(books, Books):
            # Behind everything that happened, though the recorder's clock may be behind the exchange's.
            newest_us = max(map(schema.time_of, rows), default=0)
            books.disconnected(RECORDING_ENDS, max(newest_us, self._received_us) + 1)
            rows += _rows(books)
        await self._send(stream, books.conn, rows)
        self.result.add(books.counters)

    async def _send(self, stream: str, conn: int, rows: Sequence[schema.Row]) -> None:
        if rows:
            piece = pack_tape(stream, conn, rows)
            await self._pipe.send(piece.data, piece.commands)

    async def _wait_for_writer(self, stream: str, writing: asyncio.Task[None]) -> None:
        """Hold the reader back while the writer is far behind."""
        give_up = time.monotonic() + WRITER_SILENT_MAX_S
        before = length = await self._redis.xlen(stream)
        while length > STREAM_ENTRIES_MAX:
            if writing.done():
                await writing  # raises what ended it
            if length < before:
                before, give_up = length, time.monotonic() + WRITER_SILENT_MAX_S
            if time.monotonic() > give_up:
                raise NotReachable(f"Nothing was stored for {WRITER_SILENT_MAX_S:.0f} s; is the database away?")
            await asyncio.sleep(0.01)
            length = await self._redis.xlen(stream)

    async def _forget(self, stream: str) -> None:
        """Take away the stream and its watermark: the next replay of this file begins at its beginning."""
        await self._redis.delete(stream)
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute("DELETE FROM feed_watermark WHERE stream = %s", (stream,))

    def _tell(self, path: Path, seen: int) -> None:
        if self._progress is not None:
            self._progress(path, seen)


class KeptRows:
    """Rows of a connection as they stood on the tape: nothing is to be worked out anew."""

    def __init__(self, conn: int) -> None:
        self.conn = conn
        self.counters: Counter[str] = Counter()
        self._rows: list[schema.TapeRow] = []

    def add(self, row: schema.TapeRow) -> None:
        self._rows.append(row)
        self.counters["frames"] += 1
        self.counters[COUNTED.get(type(row), "others")] += 1

    def take_rows(self) -> list[schema.TapeRow]:
        rows, self._rows = self._rows, []
        return rows


def _rows(books: Books | KeptRows) -> list[schema.Row]:
    return [*books.take_rows()] if isinstance(books, KeptRows) else books.take().rows


def _receive(books: Books | KeptRows, frame: RecordedFrame) -> None:
    if isinstance(books, KeptRows):
        assert frame.row is not None, "a connection's lines are of one kind"
        books.add(frame.row)
        return
    received_us = frame.recv_us or 0
    if received_us:
        books.tick(received_us)
    books.receive(frame.frame, received_us)
