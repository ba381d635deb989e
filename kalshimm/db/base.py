"""The backend that `DATABASES["default"]["ENGINE"]` names.

django-timescaledb demands the extension at the first connection; here it is made only where the server offers it,
so the same migrations run on TimescaleDB and on plain PostgreSQL.
"""

from __future__ import annotations

from timescale.db.backends.postgresql.base import DatabaseWrapper as TimescaleWrapper

from kalshimm.db.schema import DatabaseSchemaEditor

MAKE_TIME_BUCKET = """
CREATE OR REPLACE FUNCTION time_bucket(width interval, ts timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT date_bin(width, ts, '2000-01-03 00:00:00+00') $$
"""


class DatabaseWrapper(TimescaleWrapper):
    """PostgreSQL with TimescaleDB where there is one."""

    SchemaEditorClass = DatabaseSchemaEditor

    def prepare_database(self) -> None:
        """Make the extension where the server offers it; else a `time_bucket` of the same results.

        Called by `migrate` before the first migration, so both stand before any table does.
        """
        super(TimescaleWrapper, self).prepare_database()
        with self.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'")
            if cursor.fetchone():
                cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            else:
                cursor.execute(MAKE_TIME_BUCKET)
