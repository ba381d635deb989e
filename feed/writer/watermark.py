"""How far each stream is stored: written in the transaction of the rows, read back after every doubt."""

from __future__ import annotations

import msgspec

from kalshimm.runtime.database import AsyncConnection

SET = """
INSERT INTO feed_watermark (stream, generation, entry_id, entry_number, updated_at) VALUES (%s, %s, %s, %s, now())
ON CONFLICT (stream, generation) DO UPDATE SET
    entry_id = excluded.entry_id, entry_number = excluded.entry_number, updated_at = excluded.updated_at
"""
ALL = "SELECT generation, entry_id, entry_number FROM feed_watermark WHERE stream = %s"
OWN = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"


class Position(msgspec.Struct, frozen=True):
    """A place on a stream: an entry, and how many the store had ever been given with it.

    `number` is None where a writer from before it was counted left its watermark.
    """

    entry_id: str = "0-0"
    number: int | None = 0


START = Position()


async def own(connection: AsyncConnection, stream: str) -> None:
    """Wait until no other session stores this stream, and keep them away as long as this one lasts.

    A session may outlive its process for a moment, with a commit on its way: what is stored is known after it.

    Raises:
        psycopg.errors.LockNotAvailable: Another one does not let go.
    """
    await connection.execute(OWN, (f"kalshimm writer {stream}",))


async def read(connection: AsyncConnection, stream: str, generation: str) -> tuple[Position | None, str | None]:
    """Return up to where this stream of this store is stored, and the newest entry of any store's stream of its name.

    Both are None where nothing is known.
    """
    rows = await (await connection.execute(ALL, (stream,))).fetchall()
    positions = {of: Position(entry_id, number) for of, entry_id, number in rows}
    newest = max((position.entry_id for position in positions.values()), key=in_order, default=None)
    return positions.get(generation), newest


def in_order(entry_id: str) -> tuple[int, int]:
    """Return (milliseconds since 1970 by the store's clock, number within them): what entries' ids are ordered by."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


async def write(connection: AsyncConnection, stream: str, generation: str, position: Position) -> None:
    """Note that everything up to `position` is stored, once the caller's transaction is committed."""
    await connection.execute(SET, (stream, generation, position.entry_id, position.number))
