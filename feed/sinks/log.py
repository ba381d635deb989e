"""Log records of every process into the service log, and the beats among them into their own table."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from psycopg.types.json import Jsonb

from feed.sinks.base import Entry, Gathered, to_time
from kalshimm.runtime.database import AsyncConnection
from kalshimm.runtime.heartbeat import BEAT_ACTION, BEAT_VERSION, decode_beat
from kalshimm.runtime.logs import LOG_STREAM, LOG_VERSION, decode_log

INSERT_LOG = """
INSERT INTO ops_service_log (time, entry_id, role, name, pid, level, logger, message, fields)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
INSERT_BEAT = """
INSERT INTO ops_beat (time, role, name, pid, boot_id, started_at, loops, lag_ms, state, last_event, counters)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
COUNTED = {INSERT_LOG: "logs", INSERT_BEAT: "beats"}
Row = tuple[str, tuple[Any, ...]]


class LogSink:
    """The log stream."""

    stream = LOG_STREAM
    is_trimmed = True

    async def load(self, connection: AsyncConnection) -> None:
        """Nothing is remembered."""

    def decode(self, entry: Entry) -> Row:
        """Return the statement that stores a record, with its values."""
        r = decode_log(entry.payload)
        if r.version != LOG_VERSION:
            raise ValueError(f"log version {r.version}, expected {LOG_VERSION}")
        if r.fields.get("action") == BEAT_ACTION and isinstance(r.fields.get("beat"), bytes):
            return INSERT_BEAT, _beat(r.fields["beat"])
        fields = {k: _text(v) if isinstance(v, str) else v for k, v in r.fields.items()}
        return INSERT_LOG, (
            to_time(r.time_us), entry.id, r.role[:32], r.name[:64], r.pid, r.level[:10], r.logger[:128],
            _text(r.message), Jsonb(fields),
        )  # fmt: skip

    def batch(self, connection: AsyncConnection) -> Gathered:
        return Gathered(self, connection)

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        groups: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for statement, row in values:
            groups[statement].append(row)
        stored: Counter[str] = Counter()
        async with connection.cursor() as cursor:
            for statement, rows in groups.items():
                await cursor.executemany(statement, rows)
                stored[COUNTED[statement]] += cursor.rowcount
        return stored

    def committed(self) -> None:
        """Nothing is remembered."""

    def rolled_back(self) -> None:
        """Nothing is remembered."""


def _text(value: str) -> str:
    """Return a text that PostgreSQL holds: its text has no NUL, and its JSON no \\u0000."""
    return value.replace("\x00", "\\0")


def _beat(payload: bytes) -> tuple[Any, ...]:
    b = decode_beat(payload)
    if b.version != BEAT_VERSION:
        raise ValueError(f"beat version {b.version}, expected {BEAT_VERSION}")
    return (
        to_time(b.written_us), b.role[:32], b.name[:64], b.pid, b.boot_id, to_time(b.started_us), b.loops, b.lag_ms,
        b.state[:64], _text(b.last_event), Jsonb(b.counters),
    )  # fmt: skip
