"""Put what the books gathered onto the streams, in one round trip a time.

A failed round trip is repeated with the same entries until it succeeds: a reader that sees one twice drops it by
its key. What does not fit the bounded backlog is lost, and a gap row says so.
"""

from __future__ import annotations

import logging
from typing import Any

import redis.asyncio as redis_async
from redis.exceptions import RedisError

from feed import schema
from feed.books import Books, Taken

logger = logging.getLogger(__name__)

ROWS_AN_ENTRY = 50
BACKLOG_COMMANDS = 20_000  # about a million rows while Redis is away
FEED_ENTRIES = 1_000
GONE_STREAM_S = 600  # of a market nobody wants any more: markets that roll would fill the store
BOOK_STREAM_ENTRIES = 5_000  # at least the last two snapshots, one each 1,000 deltas

Command = tuple[Any, ...]


def tape_commands(stream: str, conn: int, rows: list[schema.TapeRow]) -> list[Command]:
    """Return the XADDs that put `rows` on the tape, up to 50 in an entry."""
    return [
        (
            "XADD",
            stream,
            "*",
            schema.FIELD,
            schema.encode(schema.TapeEntry(schema.VERSION, conn, rows[i : i + ROWS_AN_ENTRY])),
        )
        for i in range(0, len(rows), ROWS_AN_ENTRY)
    ]


def book_commands(events: dict[str, list[schema.BookEvent]]) -> list[Command]:
    """Return the XADDs that put each market's events on its book stream."""
    return [
        (
            "XADD",
            schema.book_stream(ticker),
            "MAXLEN",
            "~",
            BOOK_STREAM_ENTRIES,
            "*",
            schema.FIELD,
            schema.encode(schema.BookEntry(schema.VERSION, happened)),
        )
        for ticker, happened in events.items()
    ]


def state_commands(books: Books, tickers: set[str]) -> list[Command]:
    """Return the HSET of the latest state of each market that changed."""
    if not tickers:
        return []
    command: list[Any] = ["HSET", schema.MARKETS]
    for ticker in tickers:
        command += (ticker, schema.encode(books.state(ticker)))
    return [tuple(command)]


def feed_command(state: schema.FeedState) -> Command:
    """Return the XADD that shows readers the connection's state."""
    return ("XADD", schema.FEED, "MAXLEN", "~", FEED_ENTRIES, "*", schema.FIELD, schema.encode(state))


class Publisher:
    """Sends commands in order; keeps what could not be sent."""

    def __init__(self, client: redis_async.Redis) -> None:
        self._client = client
        self._backlog: list[Command] = []
        self.lost = 0
        self.is_failing = False

    def add(self, books: Books, taken: Taken) -> None:
        """Queue what gathered: tape first, then books, then lists."""
        for ticker in sorted(taken.gone - taken.leased):
            self._backlog.append(("HDEL", schema.MARKETS, ticker))
            self._backlog.append(("EXPIRE", schema.book_stream(ticker), GONE_STREAM_S))
        self._backlog += tape_commands(schema.TAPE, books.conn, taken.rows)
        self._backlog += [("PERSIST", schema.book_stream(ticker)) for ticker in sorted(taken.leased)]
        self._backlog += book_commands(taken.events)
        self._backlog += state_commands(books, taken.changed)

    def add_feed(self, state: schema.FeedState) -> None:
        """Queue the connection's state behind the book events that it concerns."""
        self._backlog.append(feed_command(state))

    def _keep(self, commands: list[Command]) -> None:
        """Keep what fits, the newest; of book streams nothing at all once something must go: a part would mislead."""
        if len(commands) > BACKLOG_COMMANDS:
            tape = [command for command in commands if command[1] == schema.TAPE]
            fitting = tape[-BACKLOG_COMMANDS:]
            self.lost += len(commands) - len(fitting)
            commands = fitting
        self._backlog = commands

    async def send(self) -> bool:
        """Send everything queued; return False, keeping it, when Redis does not take it.

        What exceeds the backlog's bound is dropped, oldest first, and counted in `lost`.
        """
        if not self._backlog:
            return True
        sending, self._backlog = self._backlog, []
        pipeline = self._client.pipeline(transaction=False)
        for command in sending:
            pipeline.execute_command(*command)
        try:
            await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as exc:
            if not self.is_failing:
                logger.error("Redis does not take the tape: %s", exc, extra={"action": "publish_failed"})
            self.is_failing = True
            self._keep(sending + self._backlog)
            return False
        if self.is_failing:
            logger.warning("Redis takes the tape again, %d entries lost", self.lost, extra={"action": "publish_again"})
        self.is_failing = False
        return True
