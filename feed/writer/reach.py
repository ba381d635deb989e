"""How far history reaches where nothing happens: the venue is quiet, and yet it is known that nothing is missing.

    one instant of the store     newest entry of kmm:feed, newest id of the tape
    once that id is committed    all that the connection told up to its entry is stored

The gateway sends rows before the state that follows them. Without this, a quiet market's book could not be told from
that of a market whose gateway is dead, or whose writer is behind.
"""

from __future__ import annotations

import logging

import msgspec
import redis.asyncio as redis_async

from feed import schema
from feed.sinks.base import to_time
from feed.writer import watermark
from feed.writer.reading import stream_info
from feed.writer.trouble import STORES
from kalshimm.runtime import database

logger = logging.getLogger(__name__)

REACH_EVERY_S = 0.5
SILENT_MAX_MS = int(schema.CONNECTION_SILENT_MAX_S * 1_000)

SET = """
UPDATE feed_connection SET stored_until = %(until)s
WHERE identity = %(conn)s AND (stored_until IS NULL OR stored_until < %(until)s)
"""


class Sight(msgspec.Struct, frozen=True):
    """What was seen in one instant: the store's generation, the tape's newest id, and what the connection had told.

    `until_us` is up to when, exchange time in microseconds since 1970.
    """

    generation: str
    newest_id: str
    conn: int
    until_us: int


def told_until_us(state: schema.FeedState) -> int | None:
    """Return up to when, by exchange time, a connection had told everything; None where it is not to be trusted."""
    is_known = state.version == schema.VERSION and state.state == "connected"
    if not is_known or state.frame_age_ms >= SILENT_MAX_MS:
        return None
    return state.written_us - max(0, state.lag_ms or 0) * 1_000


class Reach:
    """Notes with the feed's connection up to when all of it is stored."""

    def __init__(self, client: redis_async.Redis, dsn: str) -> None:
        self._redis, self._dsn = client, dsn
        self._connection: database.AsyncConnection | None = None
        self._seen: Sight | None = None  # and its rows were not all committed when we looked last

    async def look(self) -> None:
        """Note what is known; a store that is away is tried again, and told of by who writes the tape."""
        try:
            self._seen = self._seen or await self._look_around()
            if self._seen is not None and await self._note(self._seen):
                self._seen = None
        except (*STORES, msgspec.MsgspecError) as exc:
            logger.debug("how far history reaches is not known: %s", exc)
            await self.close()

    async def close(self) -> None:
        self._seen = None
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _look_around(self) -> Sight | None:
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(schema.GENERATION)
        pipeline.xrevrange(schema.FEED, count=1)
        pipeline.xinfo_stream(schema.TAPE)
        generation, newest, told = await pipeline.execute(raise_on_error=False)
        for answer in (generation, newest):
            if isinstance(answer, Exception):
                raise answer
        if not newest or not generation:
            return None
        state = schema.decode_feed(newest[0][1][schema.FIELD])
        until_us = told_until_us(state)
        if until_us is None:
            return None
        return Sight(generation.decode(), stream_info(told).last_id, state.conn, until_us)

    async def _note(self, seen: Sight) -> bool:
        """Note what was seen, if the tape is stored so far; return whether it is, or never will be."""
        if self._connection is None:
            self._connection = await database.connect(self._dsn)
        stored, newest = await watermark.read(self._connection, schema.TAPE, seen.generation)
        if stored is None:
            return newest is not None  # the store began anew since
        if watermark.in_order(stored.entry_id) < watermark.in_order(seen.newest_id):
            return False
        await self._connection.execute(SET, {"until": to_time(seen.until_us), "conn": seen.conn})
        return True
