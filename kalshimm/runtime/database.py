"""PostgreSQL for workers: one connection whose every wait ends."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from kalshimm.errors import StoreSilent

AsyncConnection = psycopg.AsyncConnection[Any]

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT = "60s"
# Ours: a server that vanished is noticed by us; theirs: a session of a worker that vanished holds its locks no longer.
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
SESSION = {
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
SET_FOR_SESSION = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)"


def conninfo(settings: dict[str, Any]) -> str:
    """Return the connection string of one entry of Django's DATABASES."""
    return make_conninfo(
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
    """Return one connection in autocommit mode, for a worker: no lock is waited for long, no peer that is gone.

    Raises:
        StoreSilent: The server does not answer or refuses.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(make_conninfo(dsn, **KEEPALIVE), autocommit=True)
    except psycopg.OperationalError as exc:
        raise StoreSilent("PostgreSQL", exc) from exc
    try:
        await connection.execute(SET_FOR_SESSION, (list(SESSION), list(SESSION.values())))
    except BaseException:
        await connection.close()
        raise
    return connection


async def where(connection: AsyncConnection) -> str:
    """Return in words where the server is, and its data folder where we may know it: what an alarm has to name."""
    address = f"PostgreSQL at {connection.info.host}:{connection.info.port}"
    try:
        row = await (await connection.execute("SELECT current_setting('data_directory')")).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return address
    return f"{address}, data in {row[0]}" if row else address
