"""What the writer asks of a sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from kalshimm.runtime.database import AsyncConnection


class Entry(msgspec.Struct, frozen=True):
    """One stream entry: its id in the store, and its payload."""

    id: str
    payload: bytes


class Sink(Protocol):
    """Stores one stream's entries.

    `decode` is pure; `store` runs inside the caller's transaction and must leave the same rows when it is run twice.
    """

    stream: str

    async def load(self, connection: AsyncConnection) -> None:
        """Called with each new connection, before anything is stored on it."""
        ...

    def decode(self, entry: Entry) -> Sequence[Any]:
        """Return the entry's rows. Raises msgspec.MsgspecError or ValueError for one that cannot be read."""
        ...

    async def store(self, connection: AsyncConnection, rows: list[Any]) -> Counter[str]:
        """Store rows and return how many were new, by kind."""
        ...

    def committed(self) -> None:
        """The transaction of the last `store` stands: what was remembered in it may be relied on."""
        ...

    def rolled_back(self) -> None:
        """It does not: forget what was remembered in it."""
        ...
