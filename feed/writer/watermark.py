"""How far each stream is stored: written in the transaction of the rows, read back after every doubt."""

from __future__ import annotations

import msgspec

from kalshimm.runtime.database import AsyncConnection

SET = """
INSERT INTO feed_watermark (stream, generation, entry_id, entry_number, updated_at) VALUES (%s, %s, %s, %s, now())
ON CONFLICT (stream, generation) DO UPDATE SET
    entry_id = excluded.entry_id, entry_number = excluded.entry_number, updated_at = excluded.updated_at
"""
# Waits for a transaction of ours that outlived its connection: whether it was committed is known after it.
GET = "SELECT entry_id, entry_number FROM feed_watermark WHERE stream = %s AND generation = %s FOR UPDATE"
ANY = "SELECT 1 FROM feed_watermark WHERE stream = %s LIMIT 1"


class Position(msgspec.Struct, frozen=True):
    """A place on a stream: an entry, and how many the store had ever been given with it.

    `number` is None where a writer from before it was counted left its watermark.
    """

    entry_id: str = "0-0"
    number: int | None = 0


START = Position()


async def read(connection: AsyncConnection, stream: str, generation: str) -> Position | None:
    """Return up to where this stream of this store is stored; None if nothing of it is."""
    row = await (await connection.execute(GET, (stream, generation))).fetchone()
    return None if row is None else Position(*row)


async def write(connection: AsyncConnection, stream: str, generation: str, position: Position) -> None:
    """Note that everything up to `position` is stored, once the caller's transaction is committed."""
    await connection.execute(SET, (stream, generation, position.entry_id, position.number))


async def has_history(connection: AsyncConnection, stream: str) -> bool:
    """Return whether any store's stream of this name was ever stored."""
    return await (await connection.execute(ANY, (stream,))).fetchone() is not None
