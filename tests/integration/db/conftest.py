"""Two servers for one set of tests: the suite's plain PostgreSQL, and one with TimescaleDB."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django.plugin import DjangoDbBlocker

from kalshimm.db import retention
from kalshimm.db.storage import Report, Storage
from tests.fixtures import timescale

TIMESCALE = "timescale"  # its alias among Django's databases
_markets = count(1)


class Server:
    """A migrated database, and what keeps its history as planned, called instead of waited for."""

    is_timescale = False

    def __init__(self, database: BaseDatabaseWrapper) -> None:
        self.connection = database
        self.alias = database.alias

    def storage(self, **options: Any) -> Report:
        return Storage(self.connection).apply(**options)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def a_market(self) -> int:
        """Return a number that no other test's rows have."""
        return next(_markets)

    def pack(self, table: str) -> None:
        """Put what is old enough into the columnstore, where there is one."""

    def refresh(self, view: str) -> None:
        """Compute the view, where it is kept computed."""

    def drop_old(self, table: str, now: datetime) -> None:
        """Drop what is older than the retention that the settings give."""
        from django.conf import settings

        del table
        retention.delete_old_rows(self.connection, now, settings.RETENTION_DAYS, rows_a_delete=3)


class TimescaleServer(Server):
    is_timescale = True

    def pack(self, table: str) -> None:
        self._run_job(table, "policy_compression")

    def refresh(self, view: str) -> None:
        self._run_job(view, "policy_refresh_continuous_aggregate")

    def drop_old(self, table: str, now: datetime) -> None:
        del now  # its own clock
        self._run_job(table, "policy_retention")

    def _run_job(self, name: str, kind: str) -> None:
        ((job,),) = self.rows(
            "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = %s AND proc_name = %s", name, kind
        )
        self.rows(f"CALL run_job({job})")


@pytest.fixture(scope="module")
def timescale_database(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BaseDatabaseWrapper]:
    """A server with TimescaleDB for the tests of one module, not yet migrated."""
    timescale.require()
    process = timescale.TimescaleProcess(tmp_path_factory.mktemp("timescale"))
    connections.settings[TIMESCALE] = process.settings(connections.settings["default"])
    try:
        with django_db_blocker.unblock():
            yield connections[TIMESCALE]
            connections[TIMESCALE].close()
    finally:
        del connections[TIMESCALE]
        del connections.settings[TIMESCALE]
        process.close()


@pytest.fixture(scope="module")
def migrated_timescale(timescale_database: BaseDatabaseWrapper) -> TimescaleServer:
    call_command("migrate", database=TIMESCALE, verbosity=0)
    return TimescaleServer(timescale_database)


@pytest.fixture(
    params=[pytest.param("plain", marks=pytest.mark.django_db), pytest.param(TIMESCALE, marks=pytest.mark.long)]
)
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn; rows of the plain one are rolled back after the test."""
    if request.param == TIMESCALE:
        return request.getfixturevalue("migrated_timescale")
    return Server(connection)


@pytest.fixture
def chance() -> random.Random:
    return random.Random(4)
