"""Binary COPY of rows whose key may be there already."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.copy import AsyncLibpqWriter

from kalshimm.runtime.database import AsyncConnection

FLUSH_BYTES = 64 * 1024  # psycopg would keep a MiB to itself, and the server would run dry and be flooded in turn
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC; binary timestamptz is an int8 of microseconds since then
# The calendar of Python and of people: PostgreSQL's own goes on to the year 294276, where nobody could read it.
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


class Table(msgspec.Struct, frozen=True):
    """Where rows go: columns in order, with the PostgreSQL type of each (binary COPY converts nothing).

    A timestamptz is given as `int8`, the same bytes: see `to_timestamp`.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


def to_timestamp(time_us: int) -> int:
    """Return microseconds since 1970 as PostgreSQL's binary timestamptz.

    Raises:
        ValueError: The time lies outside the years 1 to 9999.
    """
    if not FIRST_US <= time_us <= LAST_US:
        raise ValueError(f"{time_us} us is no time of the calendar")
    return time_us - POSTGRES_EPOCH_US


class NewRows:
    """Rows on their way into a table, in the caller's transaction; what is there already is left out.

    They go straight in, by a COPY inside a savepoint that is held open over many writes. Only when one of them turns
    out to be there already do they go again, through a temporary table. Nothing else can run on the connection between
    the first write and `finish`.
    """

    def __init__(self, connection: AsyncConnection, table: Table) -> None:
        self._connection, self._table = connection, table
        self._blobs: list[bytes] = []
        self._rows = 0
        self._copying: AsyncExitStack | None = None
        self._copy: psycopg.AsyncCopy | None = None

    async def write(self, blob: bytes, rows: int) -> None:
        """Send rows packed as COPY's binary format has them, without its header."""
        self._blobs.append(blob)
        self._rows += rows
        if self._copy is None:
            self._copying = AsyncExitStack()
            await self._copying.enter_async_context(self._connection.transaction())
            cursor = await self._copying.enter_async_context(self._connection.cursor())
            statement, writer = (
                _copy_in(self._table.name, self._table),
                AsyncLibpqWriter(cursor, flush_threshold=FLUSH_BYTES),
            )
            self._copy = await self._copying.enter_async_context(cursor.copy(statement, writer=writer))
            await self._copy.write(HEADER)
        await self._copy.write(blob)

    async def finish(self) -> int:
        """End the COPY and return how many rows were new; more may be written afterwards."""
        copying, blobs, rows = self._copying, self._blobs, self._rows
        self._copying, self._copy, self._blobs, self._rows = None, None, [], 0
        if copying is None:
            return 0
        try:
            await copying.aclose()
            return rows
        except psycopg.errors.UniqueViolation:
            return await _insert_missing(self._connection, self._table, blobs)

    async def abandon(self, exc: BaseException) -> None:
        """Give up an open COPY because of `exc`, so that the transaction can be rolled back."""
        copying, self._copying, self._copy = self._copying, None, None
        if copying is not None:
            await copying.__aexit__(type(exc), exc, exc.__traceback__)


async def copy_new(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> int:
    """COPY rows into `table`, leaving out those whose key is there already; return how many are new.

    The caller owns the transaction.
    """
    try:
        async with connection.transaction():
            await _copy_rows(connection, table.name, table, rows)
        return len(rows)
    except psycopg.errors.UniqueViolation:
        return await _insert_missing(connection, table, rows)


async def _copy_rows(
    connection: AsyncConnection, target: str, table: Table, rows: Sequence[bytes] | Sequence[Sequence[Any]]
) -> None:
    async with connection.cursor() as cursor, cursor.copy(_copy_in(target, table)) as copy:
        copy.set_types(table.types)
        if isinstance(rows[0], bytes):
            await copy.write(HEADER)
        for row in rows:
            await (copy.write(row) if isinstance(row, bytes) else copy.write_row(row))


async def _insert_missing(
    connection: AsyncConnection, table: Table, rows: Sequence[bytes] | Sequence[Sequence[Any]]
) -> int:
    """Insert those rows whose key is not there yet, through a temporary table; return how many."""
    temporary = f"new_{table.name}"
    names = {"temporary": sql.Identifier(temporary), "table": sql.Identifier(table.name), "columns": _columns(table)}
    create = "CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
    insert = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {temporary} ON CONFLICT DO NOTHING"
    await connection.execute(sql.SQL(create).format(**names))
    await _copy_rows(connection, temporary, table, rows)
    cursor = await connection.execute(sql.SQL(insert).format(**names))
    await connection.execute(sql.SQL("DROP TABLE {temporary}").format(**names))
    return cursor.rowcount


def _copy_in(target: str, table: Table) -> sql.Composed:
    return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(target), _columns(table))


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, table.columns))
