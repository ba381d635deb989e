"""The backend that `DATABASES["default"]["ENGINE"]` names.

django-timescaledb demands the extension at the first connection; here it is made only where the server offers it,
so the same migrations run on TimescaleDB and on plain PostgreSQL.
"""

from __future__ import annotations

from django.db import transaction
from timescale.db.backends.postgresql.base import DatabaseWrapper as TimescaleWrapper

from kalshimm.db.plan import AGGREGATES
from kalshimm.db.schema import DatabaseSchemaEditor

MAKE_TIME_BUCKET = """
CREATE OR REPLACE FUNCTION time_bucket(width interval, ts timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
AS $$ SELECT date_bin(width, ts, '2000-01-03 00:00:00+00') $$
"""
AVAILABLE = "SELECT installed_version IS NOT NULL FROM pg_available_extensions WHERE name = 'timescaledb'"


class DatabaseWrapper(TimescaleWrapper):
    """PostgreSQL with TimescaleDB where there is one."""

    SchemaEditorClass = DatabaseSchemaEditor

    def prepare_database(self) -> None:
        """Make the extension where the server offers it; else a `time_bucket` of the same results.

        Called by `migrate` before the first migration, so both stand before any table does.
        """
        super(TimescaleWrapper, self).prepare_database()
        with self.cursor() as cursor:
            cursor.execute(AVAILABLE)
            found = cursor.fetchone()
            if found is None:
                cursor.execute(MAKE_TIME_BUCKET)
            elif not found[0]:
                self._make_extension()

    def _make_extension(self) -> None:
        """Make it in the place of our own `time_bucket` and what stands on that, if this was a plain PostgreSQL."""
        with transaction.atomic(self.alias), self.cursor() as cursor:
            for view in AGGREGATES:
                cursor.execute(f"DROP VIEW IF EXISTS {view.name}")  # `manage.py storage` makes them anew
                cursor.execute(f"DROP INDEX IF EXISTS {view.index}")
            cursor.execute("DROP FUNCTION IF EXISTS time_bucket(interval, timestamptz)")
            cursor.execute("CREATE EXTENSION timescaledb")
