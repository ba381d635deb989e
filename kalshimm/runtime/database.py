"""PostgreSQL for workers: one connection whose every wait ends."""

from __future__ import annotations

from typing import Any

import psycopg

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


async def where(connection: AsyncConnection) -> str:
    """Return in words where the server is, and its data folder where we may know it: what an alarm has to name."""
    address = f"PostgreSQL at {connection.info.host}:{connection.info.port}"
    try:
        row = await (await connection.execute("SELECT current_setting('data_directory')")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return address
    return f"{address}, data in {row[0]}" if row else address
