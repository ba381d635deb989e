"""Put what the books gathered onto the streams: packed beforehand, in one write a time.

A write that failed is repeated with the same commands until it succeeds, before anything newer: a reader that sees an
entry twice drops it by its key. What does not fit the bounded backlog is lost, and a gap row says so.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import RedisError

from feed import schema
from feed.books import Taken
from kalshimm.runtime.resp import Pipe, pack

logger = logging.getLogger(__name__)

ROWS_AN_ENTRY = 50
BACKLOG_BYTES = 256 << 20  # some four million rows while Redis is away
FEED_ENTRIES = 1_000
GONE_STREAM_S = 600  # of a market nobody wants any more: markets that roll would fill the store
BOOK_STREAM_ENTRIES = 5_000  # at least the last two snapshots, one each 1,000 deltas
REPORT_EVERY = 20  # failed attempts between two alerts

Command = tuple[Any, ...]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Packed commands that belong together; `entries` of them are tape entries, which outlive an overflow."""

    data: bytes
    commands: int
    is_tape: bool


def tape_entries(conn: int, rows: Sequence[schema.Row]) -> list[bytes]:
    """Return the payloads of the TapeEntries that carry `rows`, up to 50 in each."""
    return [
        schema.encode((schema.VERSION, conn, rows[i : i + ROWS_AN_ENTRY])) for i in range(0, len(rows), ROWS_AN_ENTRY)
    ]


def tape_commands(stream: str, conn: int, rows: Sequence[schema.Row]) -> list[Command]:
    """Return the XADDs that put `rows` on the tape, up to 50 in an entry."""
    return [("XADD", stream, "*", schema.FIELD, payload) for payload in tape_entries(conn, rows)]


@functools.lru_cache(maxsize=20_000)
def _xadd_head(stream: str, most: int) -> bytes:
    """Return the packed XADD of one entry up to its payload; `most` 0 bounds nothing."""
    bound = ("MAXLEN", "~", str(most)) if most else ()
    whole: bytes = pack(("XADD", stream, *bound, "*", schema.FIELD, b""))
    return whole[: whole.rindex(b"$0\r\n")]


def xadd(stream: str, payload: bytes, *, most: int = 0) -> bytes:
    """Return the packed command that appends one entry to a stream of about `most` entries."""
    return b"%b$%d\r\n%b\r\n" % (_xadd_head(stream, most), len(payload), payload)


def pack_tape(stream: str, conn: int, rows: Sequence[schema.Row]) -> Piece:
    """Return the commands that put `rows` on a tape."""
    packed = [xadd(stream, payload) for payload in tape_entries(conn, rows)]
    return Piece(b"".join(packed), len(packed), True)


def pack_books(events: dict[str, list[schema.BookEvent]]) -> Piece:
    """Return the commands that put each market's events on its book stream."""
    packed = [
        xadd(
            schema.book_stream(ticker),
            schema.encode(schema.BookEntry(schema.VERSION, happened)),
            most=BOOK_STREAM_ENTRIES,
        )
        for ticker, happened in events.items()
    ]
    return Piece(b"".join(packed), len(packed), False)


def pack_states(states: dict[str, schema.MarketState]) -> Piece:
    """Return the HSET of the latest state of each market that changed."""
    command: list[Any] = ["HSET", schema.MARKETS]
    for ticker, state in states.items():
        command += (ticker, schema.encode(state))
    return Piece(pack(tuple(command)), 1, False)


def pack_feed(state: schema.FeedState) -> Piece:
    """Return the XADD that shows readers the connection's state."""
    return Piece(xadd(schema.FEED, schema.encode(state), most=FEED_ENTRIES), 1, False)


def pack_lives(taken: Taken) -> Piece:
    """Return the commands that let book streams begin to live, and end with their markets."""
    commands: list[Command] = []
    for ticker in sorted(taken.gone - taken.leased):
        commands.append(("HDEL", schema.MARKETS, ticker))
        commands.append(("EXPIRE", schema.book_stream(ticker), str(GONE_STREAM_S)))
    commands += [("PERSIST", schema.book_stream(ticker)) for ticker in sorted(taken.leased)]
    return Piece(b"".join(map(pack, commands)), len(commands), False)


class Publisher:
    """Sends pieces in order; keeps what could not be sent. `lost` counts the commands that were dropped."""

    def __init__(self, redis_url: str) -> None:
        self._pipe = Pipe(redis_url)
        self._waiting: list[Piece] = []
        self._under_way: list[Piece] = []
        self._answer: asyncio.Future[None] | None = None
        self._written_s = 0.0
        self._slowest_s = 0.0
        self.lost = 0
        self._failures = 0

    def add(self, conn: int, taken: Taken) -> None:
        """Queue what gathered: streams that end, tape, streams that begin, books."""
        if taken.gone or taken.leased:
            self._waiting.append(pack_lives(taken))
        if taken.rows:
            self._waiting.append(pack_tape(schema.TAPE, conn, taken.rows))
        if taken.events:
            self._waiting.append(pack_books(taken.events))

    def add_states(self, states: dict[str, schema.MarketState]) -> None:
        """Queue the latest of each market, for lists."""
        if states:
            self._waiting.append(pack_states(states))

    def add_feed(self, state: schema.FeedState) -> None:
        """Queue the connection's state behind the book events that it concerns."""
        self._waiting.append(pack_feed(state))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way: what is queued now would leave at once."""
        return self._answer is None

    def start(self) -> None:
        """Write what is queued now, if nothing is under way: no task need wake first. `send` waits for the answer."""
        if self._waiting and self._answer is None and self._pipe.is_open:
            self._write()

    async def send(self) -> bool:
        """Send everything queued; return False, keeping it, when Redis does not take it.

        What exceeds the backlog's bound is dropped, oldest first, and counted in `lost`.
        """
        try:
            while self._waiting or self._answer is not None:
                if self._answer is None:
                    await self._pipe.open()
                    self._write()
                await self._answered()
        except (RedisError, OSError, TimeoutError) as exc:
            self._report(exc)
            self._keep(self._under_way + self._waiting)
            self._under_way = []
            return False
        if self._failures:
            logger.warning("Redis takes the tape again, %d commands lost", self.lost, extra={"action": "publish_again"})
        self._failures = 0
        return True

    def _write(self) -> None:
        self._under_way, self._waiting = self._waiting, []
        data = b"".join([piece.data for piece in self._under_way])
        self._written_s = asyncio.get_running_loop().time()
        self._answer = self._pipe.write(data, sum(piece.commands for piece in self._under_way))

    async def _answered(self) -> None:
        assert self._answer is not None, "something was written"
        try:
            await self._pipe.answered(self._answer)
        finally:
            self._answer = None
            self._slowest_s = max(self._slowest_s, asyncio.get_running_loop().time() - self._written_s)
        self._under_way = []

    def take_slowest_s(self) -> float:
        """Return how long the slowest write since the last call took, answered or given up."""
        slowest_s, self._slowest_s = self._slowest_s, 0.0
        return slowest_s

    def close(self) -> None:
        self._pipe.close()

    def _report(self, exc: Exception) -> None:
        if self._failures % REPORT_EVERY == 0:
            fields = {"action": "publish_failed", "alert": "STREAM_WRITE_FAILED"}
            logger.error("Redis does not take the tape: %s", str(exc) or type(exc).__name__, extra=fields)
        self._failures += 1

    def _keep(self, pieces: list[Piece]) -> None:
        """Keep what fits, the newest; of book streams nothing at all once something must go: a part would mislead."""
        if sum(len(p.data) for p in pieces) > BACKLOG_BYTES:
            kept: list[Piece] = []
            left = BACKLOG_BYTES
            for piece in reversed(pieces):
                left -= len(piece.data) if piece.is_tape else 0
                if left < 0:
                    break
                if piece.is_tape:
                    kept.append(piece)
            self.lost += sum(p.commands for p in pieces) - sum(p.commands for p in kept)
            pieces = kept[::-1]
        self._waiting = pieces
