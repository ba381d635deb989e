"""Small numbers for long names, filled in the transaction that first uses them."""

from __future__ import annotations

from typing import Any

from kalshimm.runtime.database import AsyncConnection

REMEMBERED = 20_000  # of the newest names at the start: most of those that come are among them


class Dictionary:
    """One dictionary table. `numbers` holds what is known of it, also what the running transaction has made."""

    def __init__(self, table: str, column: str, kind: str) -> None:
        self._newest = f"SELECT {column}, id FROM {table} ORDER BY id DESC LIMIT {REMEMBERED}"  # noqa: S608
        self._select = f"SELECT {column}, id FROM {table} WHERE {column} = ANY(%s::{kind}[])"  # noqa: S608
        self._insert = (
            f"INSERT INTO {table} ({column}) SELECT unnest(%s::{kind}[]) ON CONFLICT DO NOTHING RETURNING {column}, id"
        )
        self.numbers: dict[Any, int] = {}
        self._fresh: set[Any] = set()

    @property
    def is_committed(self) -> bool:
        """Whether all numbers stand, whatever becomes of the running transaction."""
        return not self._fresh

    async def load(self, connection: AsyncConnection) -> None:
        """Know what this database says of the newest names, and nothing else."""
        self.numbers = dict(await (await connection.execute(self._newest)).fetchall())
        self._fresh.clear()

    async def resolve(self, connection: AsyncConnection, names: set[Any]) -> None:
        """Find the number of each name, making those that are missing."""
        for statement in (self._select, self._insert, self._select):
            missing = sorted(names - self.numbers.keys())
            if not missing:
                return
            found = dict(await (await connection.execute(statement, (missing,))).fetchall())
            self.numbers.update(found)
            self._fresh.update(found)

    def committed(self) -> None:
        """What was found or made is there to stay."""
        self._fresh.clear()

    def rolled_back(self) -> None:
        """Forget what the transaction had found: it may have made it."""
        for name in self._fresh:
            del self.numbers[name]
        self._fresh.clear()
