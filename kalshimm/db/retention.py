"""Retention where the database has no policies of its own: on plain PostgreSQL, and for ordinary tables everywhere.

There every row older than its retention is deleted. TimescaleDB drops whole chunks of its hypertables, once all of
their time is that old: it keeps some rows for up to a chunk's width longer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from kalshimm.db.plan import HISTORY, ORDINARY, HistoryTable, OrdinaryTable
from kalshimm.db.storage import timescale_version

logger = logging.getLogger(__name__)

ROWS_A_DELETE = 10_000  # a transaction of some ten milliseconds: the writer never waits for one

# The rows come in order of time along the key, and the next batch begins where this one ended: rows just deleted,
# which the index still holds, are not walked over again.
DELETE_BATCH = """
DELETE FROM {table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {table} WHERE time >= %(since)s AND time < %(before)s ORDER BY time LIMIT %(most)s
)) RETURNING time
"""
BEGINNING = "-infinity"


def delete_old_rows(
    connection: BaseDatabaseWrapper,
    now: datetime,
    retention_days: Mapping[str, int],
    *,
    rows_a_delete: int = ROWS_A_DELETE,
) -> dict[str, int]:
    """Delete what is older than its retention, in small transactions; return how many rows went, by table.

    On TimescaleDB its own policies see to the hypertables. Running twice at once or being cut short does no harm.
    """
    on_timescale = timescale_version(connection) is not None
    gone: dict[str, int] = {}
    for table in ORDINARY if on_timescale else (*HISTORY, *ORDINARY):
        days = retention_days[table.kept]
        if days:
            gone[table.name] = _delete(connection, table, now - timedelta(days=days), rows_a_delete)
    deleted = {name: count for name, count in gone.items() if count}
    if deleted:
        logger.info("old history deleted: %s", deleted, extra={"action": "history_deleted"})
    return gone


def _delete(connection: BaseDatabaseWrapper, table: HistoryTable | OrdinaryTable, before: datetime, most: int) -> int:
    statement = sql.SQL(DELETE_BATCH).format(table=sql.Identifier(table.name))
    since: datetime | str = BEGINNING
    deleted = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(statement, {"since": since, "before": before, "most": most})
            times = [time for (time,) in cursor.fetchall()]
            deleted += len(times)
            if len(times) < most:
                return deleted
            since = max(times)
