"""What the writer asks of a sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from kalshimm.runtime.database import AsyncConnection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_time(time_us: int) -> datetime:
    """Return microseconds since 1970 as a time. Raises OverflowError outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=time_us)


class Entry(msgspec.Struct, frozen=True):
    """One stream entry: its id in the store, and its payload."""

    id: str
    payload: bytes


class Batch(Protocol):
    """What one transaction stores; it must leave the same rows when it is run twice."""

    @property
    def rows(self) -> int:
        """How many rows it has taken in."""
        ...

    async def add(self, values: Sequence[Any]) -> None:
        """Take in decoded entries; their rows may go out at once."""
        ...

    async def finish(self) -> Counter[str]:
        """Store what is still here and return how many rows were new, by kind."""
        ...

    async def abandon(self, exc: BaseException) -> None:
        """Leave the connection fit for a rollback."""
        ...


class Sink(Protocol):
    """Stores one stream's entries.

    Attributes:
        stream: Its key.
        is_trimmed: Whether nobody else reads the stream, so that what is stored can be taken off it.
    """

    stream: str
    is_trimmed: bool

    async def load(self, connection: AsyncConnection) -> None:
        """Called with each new connection, before anything is stored on it."""
        ...

    def decode(self, entry: Entry) -> Any:
        """Return what the entry says. Raises one of feed.writer.trouble.ENTRIES for one that cannot be read."""
        ...

    def batch(self, connection: AsyncConnection) -> Batch:
        """Return a batch that stores inside the caller's transaction."""
        ...

    def committed(self) -> None:
        """The transaction of the last batch stands: what was remembered in it may be relied on."""
        ...

    def rolled_back(self) -> None:
        """It does not: forget what was remembered in it."""
        ...


class Gathered:
    """A batch that only gathers; its sink stores all of it at the end."""

    def __init__(self, sink: GatheringSink, connection: AsyncConnection) -> None:
        self._sink, self._connection = sink, connection
        self._values: list[Any] = []

    @property
    def rows(self) -> int:
        return len(self._values)

    async def add(self, values: Sequence[Any]) -> None:
        self._values += values

    async def finish(self) -> Counter[str]:
        return await self._sink.store(self._connection, self._values)

    async def abandon(self, exc: BaseException) -> None:
        """Nothing is open."""


class GatheringSink(Protocol):
    """Stores what a whole batch gathered, in one go."""

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        """Store decoded entries and return how many rows were new, by kind."""
        ...
