"""PostgreSQL for workers: one connection, and binary COPY into a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from kalshimm.errors import StoreSilent

AsyncConnection = psycopg.AsyncConnection[Any]

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT = "60s"


def conninfo(settings: dict[str, Any]) -> str:
    """Return the connection string of one entry of Django's DATABASES."""
    return psycopg.conninfo.make_conninfo(
        dbname=settings["NAME"],
        user=settings["USER"],
        password=settings["PASSWORD"],
        host=settings["HOST"],
        port=settings["PORT"],
        **{
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "kalshimm",
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT}",
            **settings.get("OPTIONS", {}),
        },
    )


async def connect(dsn: str) -> AsyncConnection:
    """Return one connection in autocommit mode.

    Raises:
        StoreSilent: The server does not answer or refuses.
    """
    try:
        return await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    except psycopg.OperationalError as exc:
        raise StoreSilent("PostgreSQL", exc) from exc


class Table(msgspec.Struct, frozen=True):
    """Where rows go: columns in order, with the PostgreSQL type of each (binary COPY converts nothing)."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


async def copy_new(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> int:
    """COPY rows into `table`, leaving out those whose key is there already; return how many are new.

    Rows go straight in, inside a savepoint; only when one of them is there already does the batch go through a
    temporary table. The caller owns the transaction.
    """
    try:
        async with connection.transaction():
            await _copy(connection, table.name, table, rows)
        return len(rows)
    except psycopg.errors.UniqueViolation:
        return await _copy_through_temporary(connection, table, rows)


async def _copy(connection: AsyncConnection, target: str, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(target), _columns(table))
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(table.types)
        for row in rows:
            await copy.write_row(row)


async def _copy_through_temporary(connection: AsyncConnection, table: Table, rows: Sequence[Sequence[Any]]) -> int:
    temporary = f"new_{table.name}"
    names = {"temporary": sql.Identifier(temporary), "table": sql.Identifier(table.name), "columns": _columns(table)}
    create = "CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
    insert = "INSERT INTO {table} ({columns}) SELECT {columns} FROM {temporary} ON CONFLICT DO NOTHING"
    await connection.execute(sql.SQL(create).format(**names))
    await _copy(connection, temporary, table, rows)
    cursor = await connection.execute(sql.SQL(insert).format(**names))
    await connection.execute(sql.SQL("DROP TABLE {temporary}").format(**names))
    return cursor.rowcount


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, table.columns))
