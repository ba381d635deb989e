"""Bring a database to the plan: what it is, what that differs by, and the statements that change it.

    storage = Storage(connection)
    report = storage.apply()            every step in a transaction of its own; a second run finds nothing to do

One at a time, by a lock in the database. A step that fails leaves those before it done and the command repeatable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.dateparse import parse_duration
from timescale.db.models.fields import TimescaleDateTimeField

from kalshimm.db import steps
from kalshimm.db.plan import AGGREGATES, HISTORY, Aggregate, HistoryTable
from kalshimm.db.steps import Actual, Policy, Step, Wanted
from kalshimm.errors import ConfigurationError, KalshimmError

LOCK = 7_315_802_604  # any number, the same in every kalshimm
OLDEST_TIMESCALE = (2, 19)  # the first that says columnstore and refreshes in batches

VERSION = "SELECT extversion, current_setting('timescaledb.license') FROM pg_extension WHERE extname = 'timescaledb'"
CHUNKS = """
SELECT hypertable_name, time_interval FROM timescaledb_information.dimensions
WHERE hypertable_schema = current_schema() AND dimension_number = 1
"""
COLUMNSTORES = """
SELECT hypertable::text, segmentby, orderby FROM timescaledb_information.hypertable_columnstore_settings
WHERE orderby IS NOT NULL
"""
POLICIES = """
SELECT hypertable_name, proc_name,
       coalesce(config->>'drop_after', config->>'compress_after', config->>'start_offset')::interval,
       (config->>'end_offset')::interval,
       CASE proc_name WHEN %s THEN schedule_interval END,
       (config->>'buckets_per_batch')::integer
FROM timescaledb_information.jobs WHERE hypertable_schema = current_schema()
"""
CONTINUOUS = """
SELECT view_name, obj_description(format('%I.%I', view_schema, view_name)::regclass, 'pg_class')
FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()
"""
VIEWS = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'v' AND relname = ANY(%s)
"""
INDEXES = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'i' AND relname = ANY(%s)
"""
MISSING = (
    "SELECT name FROM unnest(%s::text[]) WITH ORDINALITY AS t (name, n) WHERE to_regclass(name) IS NULL ORDER BY n"
)
SIZES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relname = ANY(%s)
"""
TIMESCALE_SIZES = """
SELECT hypertable_name, hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass)
FROM timescaledb_information.hypertables WHERE hypertable_schema = current_schema()
UNION ALL
SELECT view_name, hypertable_size(
    format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass)
FROM timescaledb_information.continuous_aggregates WHERE view_schema = current_schema()
"""


class Kept(msgspec.Struct, frozen=True):
    """One table or view: what it is here, for how many days it is kept (0 for ever), and what this run changed.

    `bytes` is what it takes on disk with its indexes, packed where it is; None for an ordinary view.
    """

    name: str
    kind: str
    kept_days: int
    bytes: int | None
    changes: list[str]
    is_outdated: bool = False


class Report(msgspec.Struct, frozen=True):
    """What a run found and did. An outdated aggregate is one whose definition only a rebuild brings up to date."""

    server: str
    tables: list[Kept]

    @property
    def changes(self) -> int:
        return sum(len(table.changes) for table in self.tables)


class Storage:
    """One database, seen through Django's connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.wanted = Wanted(HISTORY, AGGREGATES, settings.RETENTION_DAYS, chunk_widths())

    def apply(self, *, rebuild: bool = False, say: Callable[[Step], None] = lambda _step: None) -> Report:
        """Change what differs from the plan.

        Args:
            rebuild: Compute aggregates whose definition has changed anew, from the rows still kept.
            say: Called before each step: moving a large table into chunks takes long.

        Raises:
            ConfigurationError: The server's TimescaleDB is too old or lacks its community part.
            KalshimmError: The database is not migrated.
        """
        for (name,) in self._rows(MISSING, [[table.name for table in HISTORY]]):
            raise KalshimmError(f"The database has no table {name}; run `manage.py migrate` first.")
        with self._alone():
            self._connection.prepare_database()  # the server may have got TimescaleDB since it was migrated
            version = timescale_version(self._connection)
            actual = self.read() if version else Actual(views=self._views(), indexes=self._indexes())
            todo = (
                steps.timescale_steps(self.wanted, actual, rebuild=rebuild)
                if version
                else steps.plain_steps(self.wanted, actual)
            )
            done = list(self._carry_out(todo, say))
            outdated = [] if rebuild else steps.outdated(self.wanted, actual)
            sizes = self._sizes(on_timescale=version is not None)
        table, view = ("hypertable", "continuous aggregate") if version else ("table", "view")

        def kept(one: HistoryTable | Aggregate) -> Kept:
            # An ordinary view shows what its table still holds.
            rows = one if version or isinstance(one, HistoryTable) else steps.source_of(self.wanted, one)
            return Kept(
                name=one.name,
                kind=table if isinstance(one, HistoryTable) else view,
                kept_days=self.wanted.retention_days[rows.kept],
                bytes=sizes.get(one.name),
                changes=[step.words for step in done if step.subject == one.name],
                is_outdated=one.name in outdated,
            )

        server = f"TimescaleDB {version}" if version else "plain PostgreSQL"
        return Report(server, [kept(one) for one in (*HISTORY, *AGGREGATES)])

    def read(self) -> Actual:
        """Return what a server with TimescaleDB holds."""
        continuous = {name: mark or "" for name, mark in self._rows(CONTINUOUS)}
        return Actual(
            chunks=dict(self._rows(CHUNKS)),
            columnstores={name: (_columns(by or ""), _columns(order)) for name, by, order in self._rows(COLUMNSTORES)},
            policies={(name, kind): Policy(*times) for name, kind, *times in self._rows(POLICIES, [steps.REFRESH])},
            aggregates=continuous,
            views={name: mark for name, mark in self._views().items() if name not in continuous},
        )

    def _views(self) -> dict[str, str]:
        names = [view.name for view in self.wanted.aggregates]
        return {name: mark or "" for name, mark in self._rows(VIEWS, [names])}

    def _indexes(self) -> frozenset[str]:
        return frozenset(name for (name,) in self._rows(INDEXES, [[view.index for view in self.wanted.aggregates]]))

    def _sizes(self, *, on_timescale: bool) -> dict[str, int]:
        if on_timescale:
            return dict(self._rows(TIMESCALE_SIZES))
        return dict(self._rows(SIZES, [[table.name for table in HISTORY]]))

    def _carry_out(self, todo: Iterator[Step], say: Callable[[Step], None]) -> Iterator[Step]:
        for step in todo:
            say(step)
            with transaction.atomic(self._connection.alias), self._connection.cursor() as cursor:
                for statement in step.statements:
                    cursor.execute(statement)
            yield step

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            yield
        finally:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])

    def _rows(self, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())


def _columns(listed: str) -> str:
    """Return columns as the plan lists them: TimescaleDB quotes some and sets no spaces."""
    return ", ".join(listed.replace('"', "").split(","))


def chunk_widths() -> dict[str, timedelta]:
    """Return how much time a chunk of each history table holds, as its model says."""
    widths: dict[str, timedelta] = {}
    for model in apps.get_models():
        for field in model._meta.local_fields:
            if isinstance(field, TimescaleDateTimeField):
                width = parse_duration(field.interval)
                assert width is not None, f"{model.__name__}.{field.name} has no interval"
                widths[model._meta.db_table] = width
    return widths


def timescale_version(connection: BaseDatabaseWrapper) -> str | None:
    """Return the version of TimescaleDB in this database, None where it is plain PostgreSQL.

    Raises:
        ConfigurationError: It is too old, or the edition without columnstore and continuous aggregates.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
        if cursor.fetchone() is None:
            return None
        cursor.execute(VERSION)
        version, licence = cursor.fetchone()
    if tuple(map(int, version.split("-")[0].split(".")[:2])) < OLDEST_TIMESCALE:
        oldest = ".".join(map(str, OLDEST_TIMESCALE))
        raise ConfigurationError("DATABASE_URL", f"TimescaleDB {version} is too old; expected {oldest} or newer")
    if licence != "timescale":
        raise ConfigurationError(
            "DATABASE_URL",
            f"TimescaleDB runs there with timescaledb.license = {licence}, without columnstore and continuous "
            "aggregates; expected timescale (the community edition), or a database without the extension",
        )
    return str(version)
