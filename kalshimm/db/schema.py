"""Making tables: hypertables where TimescaleDB is, ordinary ones where it is not, the same keys on both."""

from __future__ import annotations

from typing import Any

from django.db.models import Field, Model
from timescale.db.backends.postgresql.schema import TimescaleSchemaEditor
from timescale.db.models.fields import TimescaleDateTimeField


class DatabaseSchemaEditor(TimescaleSchemaEditor):
    """Keeps a primary key that contains the time column: without it upserts and duplicate checks are impossible."""

    # Every key begins with the time: TimescaleDB's own index on it would only cost space and speed.
    sql_add_hypertable = (
        "SELECT create_hypertable({table}, {partition_column}, chunk_time_interval => interval {interval}, "
        "migrate_data => {migrate}, create_default_indexes => false)"
    )

    def _has_timescale(self) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
            return cursor.fetchone() is not None

    def _create_hypertable(self, model: type[Model], field: Field[Any, Any], should_migrate: bool = False) -> None:
        if self._has_timescale():
            super()._create_hypertable(model, field, should_migrate)

    def _set_chunk_time_interval(self, model: type[Model], field: Field[Any, Any]) -> None:
        if self._has_timescale():
            super()._set_chunk_time_interval(model, field)

    def _drop_primary_key(self, model: type[Model]) -> None:
        times = {f.column for f in model._meta.local_fields if isinstance(f, TimescaleDateTimeField)}
        key = {f.column for f in model._meta.pk_fields}
        if not times <= key:
            super()._drop_primary_key(model)
