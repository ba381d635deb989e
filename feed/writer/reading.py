"""Reading a stream ahead of the database: entries in order, decoded, with what is missing between them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio as redis_async
from redis.exceptions import ResponseError

from feed import schema
from feed.sinks.base import Entry
from feed.writer.trouble import ENTRIES, StoreBeganAnew
from feed.writer.watermark import START, Position

ENTRIES_A_CHUNK = 100  # of up to 50 rows
CHUNKS_AHEAD = 12  # bounds what is held in memory beside the running transaction
BLOCK_MS = 500


class StreamInfo(msgspec.Struct, frozen=True):
    """What the store says of a stream: entries there now, and ever added; None before Redis 7, which does not count."""

    length: int = 0
    added: int | None = 0
    last_id: str = "0-0"

    @property
    def taken_off(self) -> int | None:
        """Entries that were on the stream and are no more: all at its head, where alone entries are trimmed."""
        return None if self.added is None else self.added - self.length


class Hole(msgspec.Struct, frozen=True):
    """Entries that left the stream before they were read: numbers from `expected` up to below `received`."""

    expected: int
    received: int

    @property
    def entries(self) -> int:
        return self.received - self.expected


class Item(msgspec.Struct, frozen=True):
    """One entry and what it says, or why it cannot be read."""

    entry: Entry
    value: Any
    problem: str = ""

    @classmethod
    def poison(cls, entry: Entry, exc: Exception) -> Item:
        """Return an entry that nobody can read or store, with the reason; not every error says one."""
        return cls(entry, None, str(exc).strip() or type(exc).__name__)


class Chunk(msgspec.Struct, frozen=True):
    """Items in order; the position of the last; the hole before the first, if there is one.

    `after` is the id of the entry that was read before the chunk and its hole, "0-0" where none was.
    """

    items: list[Item]
    end: Position
    hole: Hole | None = None
    after: str = START.entry_id

    def halves(self) -> tuple[Chunk, Chunk]:
        """Return the same as two chunks; there must be two items."""
        middle = len(self.items) // 2
        first, second = self.items[:middle], self.items[middle:]
        number = None if self.end.number is None else self.end.number - len(second)
        split = first[-1].entry.id
        return Chunk(first, Position(split, number), self.hole, self.after), Chunk(second, self.end, after=split)


def is_same_store(expected: str, found: str) -> bool:
    """Return whether a store's generation is the one that positions were read in."""
    return expected == found


def hole_before(position: Position, info: StreamInfo) -> Hole | None:
    """Return what was taken off the stream behind `position`, which was read; None if nothing, or if nobody counts.

    A stream that was deleted and began anew counts from 0: everything it was given is behind us then.
    """
    if position.number is None or info.added is None or info.taken_off is None:
        return None
    if info.taken_off <= position.number:
        return None
    return Hole(position.number + 1, info.taken_off + 1)


class Reader:
    """Reads one stream from a position on, some chunks ahead of who stores them.

    Args:
        decode: What an entry says. Raises one of ENTRIES for one that cannot be read.
    """

    def __init__(
        self,
        client: redis_async.Redis,
        stream: str,
        *,
        generation: str,
        position: Position,
        decode: Callable[[Entry], Any],
    ) -> None:
        self._client, self._stream, self._generation, self._decode = client, stream, generation, decode
        self._position = position
        self._chunks: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue(CHUNKS_AHEAD)
        self._unwanted: Chunk | Exception | None = None
        self._has_unwanted = False

    async def run(self, stop: asyncio.Event) -> None:
        """Read until stopped, and then what the stream held at that moment; an error is handed on and ends it."""
        try:
            last_number: int | None = None
            while True:
                is_stopping = stop.is_set()
                chunk, info = await self._take()
                if chunk is not None:
                    await self._chunks.put(chunk)
                if is_stopping:
                    last_number = info.added if last_number is None else last_number
                    if chunk is None or (last_number is not None and (self._position.number or 0) >= last_number):
                        break
                elif chunk is None:
                    await self._wait_for_news()
            await self._chunks.put(None)
        except Exception as exc:  # noqa: BLE001 - whoever asks for the next chunk gets it
            await self._chunks.put(exc)

    async def next(self) -> Chunk | None:
        """Wait for a chunk; None when the stream is read to the end and there was a stop."""
        item = await self._get(None)
        if isinstance(item, Exception):
            raise item
        return item

    async def more(self, within_s: float) -> Chunk | None:
        """Return a chunk that comes within this time, or None; an error waits for `next`."""
        try:
            item = await self._get(within_s)
        except TimeoutError:
            return None
        if isinstance(item, Chunk):
            return item
        self._unwanted, self._has_unwanted = item, True
        return None

    async def _get(self, within_s: float | None) -> Chunk | Exception | None:
        if self._has_unwanted:
            self._has_unwanted = False
            return self._unwanted
        if not self._chunks.empty():
            return self._chunks.get_nowait()
        async with asyncio.timeout(within_s):
            return await self._chunks.get()

    async def _take(self) -> tuple[Chunk | None, StreamInfo]:
        """Read on, and in the same instant what the store knows of the stream: between them nothing can be trimmed."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.get(schema.GENERATION)
        pipeline.xinfo_stream(self._stream)
        pipeline.xread({self._stream: self._position.entry_id}, count=ENTRIES_A_CHUNK)
        generation, told, read = await pipeline.execute(raise_on_error=False)
        for answer in (generation, read):
            if isinstance(answer, Exception):
                raise answer
        if not is_same_store(self._generation, generation.decode() if generation else ""):
            raise StoreBeganAnew(f"{self._stream}: the store's generation is another")
        info = stream_info(told)
        if info.added is not None and info.added < (self._position.number or 0):
            raise StoreBeganAnew(f"{self._stream} was deleted")
        hole = hole_before(self._position, info)
        items = [self._item(entry) for entry in _entries(read)]
        if not items and hole is None:
            return None, info
        before = self._position.number if hole is None else hole.received - 1
        after, end_id = self._position.entry_id, items[-1].entry.id if items else info.last_id
        self._position = Position(end_id, None if before is None else before + len(items))
        return Chunk(items, self._position, hole, after), info

    async def _wait_for_news(self) -> None:
        """Return when something is on the stream, or in a while."""
        await self._client.xread({self._stream: self._position.entry_id}, count=1, block=BLOCK_MS)

    def _item(self, entry: Entry) -> Item:
        try:
            return Item(entry, self._decode(entry))
        except ENTRIES as exc:
            return Item.poison(entry, exc)


def stream_info(told: Any) -> StreamInfo:
    """Return the answer to XINFO STREAM as values; a stream that is not there is an empty one."""
    if isinstance(told, ResponseError) and "no such key" in str(told):
        return StreamInfo()
    if isinstance(told, Exception):
        raise told
    added = told.get("entries-added")
    last_id = told["last-generated-id"]
    return StreamInfo(told["length"], added, last_id.decode() if isinstance(last_id, bytes) else last_id)


def _entries(answer: Any) -> list[Entry]:
    if not answer:
        return []
    _stream, found = answer[0] if isinstance(answer, list) else next(iter(answer.items()))
    return [Entry(entry_id.decode(), fields.get(schema.FIELD, b"")) for entry_id, fields in found]
