"""Log records of every process into the service log."""

from __future__ import annotations

from collections import Counter
from typing import Any

from psycopg.types.json import Jsonb

from feed.sinks.base import Entry, Gathered, to_time
from kalshimm.runtime.database import AsyncConnection
from kalshimm.runtime.logs import LOG_STREAM, LOG_VERSION, decode_log

INSERT = """
INSERT INTO ops_service_log (time, entry_id, role, name, pid, level, logger, message, fields)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


class LogSink:
    """The log stream."""

    stream = LOG_STREAM
    is_trimmed = True

    async def load(self, connection: AsyncConnection) -> None:
        """Nothing is remembered."""

    def decode(self, entry: Entry) -> tuple[Any, ...]:
        r = decode_log(entry.payload)
        if r.version != LOG_VERSION:
            raise ValueError(f"log version {r.version}, expected {LOG_VERSION}")
        # PostgreSQL's text holds no NUL, and its JSON no \\u0000.
        message = r.message.replace("\x00", "\\0")
        fields = {k: v.replace("\x00", "\\0") if isinstance(v, str) else v for k, v in r.fields.items()}
        return (
            to_time(r.time_us), entry.id, r.role[:32], r.name[:64], r.pid, r.level[:10], r.logger[:128], message,
            Jsonb(fields),
        )  # fmt: skip

    def batch(self, connection: AsyncConnection) -> Gathered:
        return Gathered(self, connection)

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        async with connection.cursor() as cursor:
            await cursor.executemany(INSERT, values)
            return Counter(logs=cursor.rowcount)

    def committed(self) -> None:
        """Nothing is remembered."""

    def rolled_back(self) -> None:
        """Nothing is remembered."""
