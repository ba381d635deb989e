"""Put what the books gathered onto the streams: packed beforehand, in one write a time.

A write of tape that failed is repeated until it succeeds, before anything newer: its reader drops by its key what it
sees twice. What does not fit the bounded backlog is lost, and a gap row says so.

Book streams are never repeated. Nobody knows how much of a failed write a reader has, and a delta that came twice, or
after its successor, would spoil a book without a trace. So the owner tells every book anew, and the feed is silent
until that has arrived. Of the feed and of the latest states only the newest is ever sent: an old one would look fresh.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from feed import schema
from feed.outbox import Taken
from kalshimm.runtime.resp import Pipe, pack

logger = logging.getLogger(__name__)

ROWS_AN_ENTRY = 50
WRITE_BYTES = 4 << 20  # of one write, about: the whole backlog at once would not be answered in time
BACKLOG_BYTES = 256 << 20  # some four million rows while Redis is away
FEED_ENTRIES = 1_000
GONE_STREAM_S = 600  # of a market nobody wants any more: markets that roll would fill the store
BOOK_STREAM_ENTRIES = 5_000  # at least the last two snapshots, one each 1,000 deltas
REPORT_EVERY = 20  # failed attempts between two alerts

Command = tuple[Any, ...]


class Kind(enum.IntEnum):
    """What becomes of a piece when its write failed: it waits, it waits whatever overflows, or it is dropped."""

    TAPE = enum.auto()
    LIVES = enum.auto()
    ONCE = enum.auto()


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Packed commands that belong together."""

    data: bytes
    commands: int
    kind: Kind


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
    return Piece(b"".join(packed), len(packed), Kind.TAPE)


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
    return Piece(b"".join(packed), len(packed), Kind.ONCE)


def pack_states(states: dict[str, schema.MarketState]) -> Piece:
    """Return the HSET of the latest state of each market that changed."""
    command: list[Any] = ["HSET", schema.MARKETS]
    for ticker, state in states.items():
        command += (ticker, schema.encode(state))
    return Piece(pack(tuple(command)), 1, Kind.ONCE)


def pack_feed(state: schema.FeedState) -> Piece:
    """Return the XADD that shows readers the connection's state."""
    return Piece(xadd(schema.FEED, schema.encode(state), most=FEED_ENTRIES), 1, Kind.ONCE)


def pack_lives(taken: Taken) -> Piece:
    """Return the commands that let book streams begin to live, and end with their markets."""
    commands: list[Command] = []
    for ticker in sorted(taken.gone - taken.leased):
        commands.append(("HDEL", schema.MARKETS, ticker))
        commands.append(("EXPIRE", schema.book_stream(ticker), str(GONE_STREAM_S)))
    commands += [("PERSIST", schema.book_stream(ticker)) for ticker in sorted(taken.leased)]
    return Piece(b"".join(map(pack, commands)), len(commands), Kind.LIVES)


class Publisher:
    """Sends pieces in order, one write at a time; keeps what could not be sent.

    `is_stuck` is set while nothing leaves by itself: the line is down, or Redis refuses. `lost` counts the commands
    that were dropped, and `lost_since_s` is the event loop's time since which some are missing.

    Args:
        on_sent: Called when a write was taken and nothing is under way any more.
    """

    def __init__(self, redis_url: str, *, on_sent: Callable[[], None] = lambda: None) -> None:
        self._pipe = Pipe(redis_url)
        self._on_sent = on_sent
        self._waiting: list[Piece] = []
        self._states: dict[str, schema.MarketState] = {}
        self._feed: schema.FeedState | None = None
        self._generations: dict[int, int] = {}  # as the feed was told last
        self._under_way: list[Piece] = []
        self._states_under_way: dict[str, schema.MarketState] = {}
        self._answered = asyncio.Event()  # nothing is under way
        self._answered.set()
        self._written_s = self._taken_s = 0.0
        self._slowest_s = 0.0
        self._failures = 0
        self._are_books_told = True
        self.are_books_wanted = True
        self.is_stuck = asyncio.Event()
        self.lost = 0
        self.lost_since_s = 0.0

    def add(self, conn: int, taken: Taken) -> None:
        """Queue what gathered: streams that end, tape, streams that begin, books.

        After a write that failed books are dropped until `tell_books`.
        """
        for ticker in taken.gone:
            self._states.pop(ticker, None)
            self._states_under_way.pop(ticker, None)
        if taken.gone or taken.leased:
            self._waiting.append(pack_lives(taken))
        if taken.rows:
            self._waiting.append(pack_tape(schema.TAPE, conn, taken.rows))
        if taken.events and self.are_books_wanted:
            self._waiting.append(pack_books(taken.events))

    def add_states(self, states: dict[str, schema.MarketState]) -> None:
        """Queue the latest of each market, for lists."""
        self._states.update(states)

    def add_feed(self, state: schema.FeedState) -> None:
        """Queue the connection's state behind the book events that it concerns.

        One that ends a generation also goes before them: whoever reads them one by one must not decide on a book that
        was known to be broken when it was told.
        """
        self._feed = state

    def tell_books(self) -> None:
        """Take books again: what is added next tells each of them whole."""
        self.are_books_wanted = True

    @property
    def is_idle(self) -> bool:
        """Whether what is queued now would leave at once."""
        return self._answered.is_set() and not self.is_stuck.is_set()

    def start(self) -> None:
        """Write what is queued, unless a write is under way: no task need wake for it."""
        if not self._has_work or not self.is_idle:
            return
        if self._pipe.is_open:
            self._write()
        elif self._written_s:
            self._failed(RedisConnectionError("Redis closed the connection."))
        else:
            self.is_stuck.set()  # a line is to be opened first

    async def open(self) -> bool:
        """Connect unless connected; return whether there is a line."""
        try:
            await self._pipe.open()
        except (RedisError, OSError, TimeoutError) as exc:
            self._failed(exc)
            return False
        return True

    async def send(self) -> bool:
        """Send everything queued, over a new connection if need be; return False, keeping it, when Redis does not.

        What exceeds the backlog's bound is dropped, oldest first, and counted in `lost`.
        """
        failures = self._failures
        while self._has_work or not self._answered.is_set():
            if self._answered.is_set():
                if not await self.open():
                    return False
                self._write()
            await self._answered.wait()
            if self._failures > failures:
                return False
        if self._failures:
            logger.warning("Redis takes the tape again, %d commands lost", self.lost, extra={"action": "publish_again"})
        self._failures = 0
        self.is_stuck.clear()
        return True

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting or self._states or (self._feed is not None and self._are_books_told))

    def _write(self) -> None:
        self._under_way, self._waiting = _first_of(self._waiting)
        if self._feed is not None and self._are_books_told and _ends_one(self._generations, self._feed.generations):
            self._tell_feed(self._feed, at=0)
        if not self._waiting:
            self._add_newest()
        data = b"".join([piece.data for piece in self._under_way])
        self._written_s = asyncio.get_running_loop().time()
        self._answered.clear()
        self._pipe.write(data, sum([piece.commands for piece in self._under_way]), self._on_answer)

    def _add_newest(self) -> None:
        """Let the latest states and the feed follow everything that they rest on."""
        if self._states:
            self._under_way.append(pack_states(self._states))
            self._states_under_way, self._states = self._states, {}
        if self._feed is not None and self._are_books_told:
            self._tell_feed(self._feed, at=len(self._under_way))
            self._feed = None

    def _tell_feed(self, state: schema.FeedState, *, at: int) -> None:
        self._under_way.insert(at, pack_feed(state))
        self._generations = state.generations

    def _on_answer(self, _last: Any, exc: Exception | None) -> None:
        self._answered.set()
        self._slowest_s = max(self._slowest_s, asyncio.get_running_loop().time() - self._written_s)
        if exc is not None:
            self._failed(exc)
            return
        self._under_way, self._states_under_way, self._taken_s = [], {}, self._written_s
        if self.are_books_wanted and not self._waiting:
            self._are_books_told = True
        self._on_sent()

    def _failed(self, exc: Exception) -> None:
        self.is_stuck.set()
        if self._failures % REPORT_EVERY == 0:
            fields = {"action": "publish_failed", "alert": "STREAM_WRITE_FAILED"}
            logger.error("Redis does not take the tape: %s", str(exc) or type(exc).__name__, extra=fields)
        self._failures += 1
        self.are_books_wanted = self._are_books_told = False
        self._keep([piece for piece in self._under_way + self._waiting if piece.kind is not Kind.ONCE])
        self._states = self._states_under_way | self._states
        self._under_way, self._states_under_way = [], {}

    def _keep(self, pieces: list[Piece]) -> None:
        """Keep what fits of the tape, the newest."""
        left = BACKLOG_BYTES
        kept: list[Piece] = []
        lost = 0
        for piece in reversed(pieces):
            left -= len(piece.data) if piece.kind is Kind.TAPE else 0
            if left >= 0 or piece.kind is not Kind.TAPE:
                kept.append(piece)
            else:
                lost += piece.commands
        if lost and not self.lost:
            self.lost_since_s = self._taken_s
        self.lost += lost
        self._waiting = kept[::-1]

    def take_slowest_s(self) -> float:
        """Return how long the slowest write since the last call took, answered or given up."""
        slowest_s, self._slowest_s = self._slowest_s, 0.0
        return slowest_s

    def close(self) -> None:
        self._pipe.close()


def _ends_one(told: dict[int, int], now: dict[int, int]) -> bool:
    """Return whether a subscription's books are no longer of the generation that was told, or are none any more."""
    return any(now.get(sid) != generation for sid, generation in told.items())


def _first_of(pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces of the next write, and those that must wait for the one behind it."""
    size = 0
    for count, piece in enumerate(pieces):
        size += len(piece.data)
        if size > WRITE_BYTES:
            return pieces[: count + 1], pieces[count + 1 :]
    return pieces, []
