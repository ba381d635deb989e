"""`manage.py storage` and what it makes: the same assertions on TimescaleDB and on plain PostgreSQL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from pytest_django.fixtures import Settings
from storedrows import DAY, a_row, a_sample, deltas, insert, now

from feed.models import MalformedFrame
from kalshimm.db import plan, storage
from kalshimm.db.jobs import failed_jobs
from kalshimm.db.retention import delete_old_rows
from kalshimm.db.storage import Storage, chunk_widths
from kalshimm.errors import KalshimmError
from kalshimm.management.commands.health import failing
from markets.models import Ticker
from tests.integration.db.conftest import Server
from traders.models import RateSample

Manage = Callable[..., subprocess.CompletedProcess[str]]


def test_the_plan_names_every_history_table_and_every_retention() -> None:
    assert {table.name for table in plan.HISTORY} == set(chunk_widths())
    assert {one.kept for one in (*plan.HISTORY, *plan.ORDINARY, *plan.AGGREGATES)} == set(plan.RETENTION_DAYS)


def test_a_second_run_changes_nothing_and_says_so(server: Server) -> None:
    server.storage()
    again = server.storage()
    assert again.changes == 0
    assert {table.name for table in again.tables} == {one.name for one in (*plan.HISTORY, *plan.AGGREGATES)}
    kinds = {table.kind for table in again.tables}
    assert kinds == ({"hypertable", "continuous aggregate"} if server.is_timescale else {"table", "view"})


@pytest.mark.django_db
def test_the_command_prints_one_document() -> None:
    out, err = StringIO(), StringIO()
    call_command("storage", "--json", stdout=out, stderr=err)
    (line,) = out.getvalue().splitlines()
    document = json.loads(line)
    assert document["server"] == "plain PostgreSQL"
    changes = {table["name"]: table["changes"] for table in document["tables"]}
    assert changes["markets_candle_1m"] == ["made a view"]
    assert "markets_candle_1m: made a view" in err.getvalue()


@pytest.fixture
def shared_database(database_url: str) -> Iterator[dict[str, str | None]]:
    """The environment of commands on the tests' plain database, which has no views before and after."""
    yield {"DATABASE_URL": database_url}
    with connection.cursor() as cursor:
        for view in plan.AGGREGATES:
            cursor.execute(f"DROP VIEW IF EXISTS {view.name}")
            cursor.execute(f"DROP INDEX IF EXISTS {view.index}")


def test_two_at_once_do_it_once(manage: Manage, shared_database: dict[str, str | None]) -> None:
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: manage("storage", "--json", env=shared_database), range(2)))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    tables = [table for run in runs for table in json.loads(run.stdout)["tables"]]
    assert sum(len(table["changes"]) for table in tables) == 2 * len(plan.AGGREGATES)  # views and indexes


@pytest.mark.django_db
def test_a_database_without_the_tables_is_sent_to_migrate() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE ops_beat")
    with pytest.raises(KalshimmError, match=r"no table ops_beat; run `manage.py migrate`"):
        Storage(connection).apply()


def test_it_says_what_each_table_takes(server: Server) -> None:
    server.storage()
    insert(server, deltas(server.a_market(), now(), range(200)))
    sizes = {table.name: table.bytes for table in server.storage().tables}
    assert (sizes["markets_book_delta"] or 0) > 200 * 50
    assert (sizes["markets_candle_1m"] is not None) is server.is_timescale


def test_a_prepared_database_has_the_views(manage: Manage, shared_database: dict[str, str | None]) -> None:
    done = manage("prepare", env=shared_database)
    assert done.returncode == 0, done.stderr
    assert Storage(connection).apply().changes == 0


def stored(server: Server, market: int) -> list[tuple[Any, ...]]:
    return server.rows(
        "SELECT time, conn, seq, side, time_source, price_cc, delta_cx FROM markets_book_delta WHERE market = %s"
        " ORDER BY time, conn, seq",
        market,
    )


def packed(server: Server, table: str) -> int:
    """Return how many chunks of a table lie in the columnstore."""
    query = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = %s AND is_compressed"
    return server.rows(query, table)[0][0] if server.is_timescale else 0


def test_rows_older_than_a_day_are_packed_and_read_back_equal(server: Server) -> None:
    server.storage()
    market = server.a_market()
    insert(server, [*deltas(market, now() - 3 * DAY, range(1_000)), *deltas(market, now(), range(1_000, 1_010))])
    before = stored(server, market)
    chunks = packed(server, "markets_book_delta")
    server.pack("markets_book_delta")
    assert packed(server, "markets_book_delta") > chunks or not server.is_timescale
    assert stored(server, market) == before
    assert len(before) == 1_010


def test_D14_late_and_repeated_rows_of_packed_time_are_stored_once(server: Server) -> None:
    server.storage()
    market, begin = server.a_market(), now() - 4 * DAY
    insert(server, deltas(market, begin, range(0, 600, 2)))
    server.pack("markets_book_delta")
    assert packed(server, "markets_book_delta") or not server.is_timescale
    insert(server, deltas(market, begin, range(600)))  # every second one is late, the others are repeated
    insert(server, deltas(market, begin, range(600)))
    server.pack("markets_book_delta")
    assert [row[2] for row in stored(server, market)] == list(range(600))


MODELS = {model._meta.db_table: model for model in apps.get_models()}


def test_the_columnstore_knows_every_column_of_the_key() -> None:
    """Else a late row could be told from a packed one only by unpacking."""
    for table in plan.HISTORY:
        key = {field.column for field in MODELS[table.name]._meta.pk_fields}
        assert key <= set(f"{table.segment_by}, {table.order_by}".split(", ")), table.name


@pytest.mark.parametrize("table", [table.name for table in plan.HISTORY])
def test_D14_a_row_of_any_table_that_comes_again_after_packing_is_stored_once(server: Server, table: str) -> None:
    server.storage()
    time, number = now() - 11 * DAY, 1_000 + server.a_market()
    old = [a_row(MODELS[table], time + n * timedelta(seconds=1), number) for n in range(3)]
    insert(server, old[:2])
    server.pack(table)
    assert packed(server, table) or not server.is_timescale
    insert(server, old)
    stored = MODELS[table]._default_manager.using(server.alias).filter(time__in=[row.time for row in old])
    assert stored.count() == 3


def test_what_is_older_than_the_retention_goes_and_nothing_else(server: Server, settings: Settings) -> None:
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"book_delta": 20}
    server.storage()
    market = server.a_market()
    old = [row for age in (23, 30, 400) for row in deltas(market, now() - age * DAY, range(7))]
    young = [row for age in (0, 10, 18) for row in deltas(market, now() - age * DAY, range(7))]
    insert(server, [*old, *young])
    server.drop_old("markets_book_delta", now())
    assert {row[0] for row in stored(server, market)} == {row.time for row in young}


def test_a_retention_of_0_keeps_for_ever(server: Server, settings: Settings) -> None:
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"rate_sample": 0}
    server.storage()
    assert server.storage().changes == 0
    trader = server.a_market()
    insert(server, [a_sample(trader, now() - 3_000 * DAY)])
    if server.is_timescale:
        assert policies(server, "policy_retention").get("traders_ratesample") is None
    else:
        server.drop_old("traders_ratesample", now())
    assert RateSample.objects.using(server.alias).filter(trader=trader).count() == 1


@pytest.mark.long
def test_on_timescaledb_only_ordinary_tables_lose_row_by_row(migrated_timescale: Server) -> None:
    server, trader = migrated_timescale, migrated_timescale.a_market()
    insert(server, [a_sample(trader, now() - 3_000 * DAY)])
    broken = MalformedFrame(time=now() - 3_000 * DAY, reason="long ago", frame=b"{", digest=1)
    broken.save(using=server.alias)
    assert delete_old_rows(server.connection, now(), plan.RETENTION_DAYS) == {"feed_malformedframe": 1}
    assert RateSample.objects.using(server.alias).filter(trader=trader).count() == 1


def test_a_retention_that_makes_no_sense_is_refused_with_its_name(manage: Manage) -> None:
    done = manage("storage", env={"KALSHIMM_RETENTION_TRADE_DAYS": "-1"})
    assert done.returncode == 2
    assert done.stderr == "KALSHIMM_RETENTION_TRADE_DAYS: expected 0 to 36500, found -1\n"


def policies(server: Server, kind: str) -> dict[str, dict[str, str]]:
    query = "SELECT hypertable_name, config FROM timescaledb_information.jobs WHERE proc_name = %s"
    return {
        name: json.loads(config) if isinstance(config, str) else config for name, config in server.rows(query, kind)
    }


@pytest.mark.long
def test_policies_follow_a_changed_setting(migrated_timescale: Server, settings: Settings) -> None:
    server = migrated_timescale
    server.storage()
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"trade": 7, "beat": 0}
    report = server.storage()
    changes = {table.name: table.changes for table in report.tables if table.changes}
    assert changes == {
        "markets_trade": ["kept 7 days"],
        "ops_beat": ["kept for ever"],
        "markets_candle_1m": ["refreshed each 5 minutes"],  # as far back as rows may still come late
    }
    assert policies(server, "policy_retention")["markets_trade"]["drop_after"] == "7 days"
    assert "ops_beat" not in policies(server, "policy_retention")
    assert policies(server, "policy_refresh_continuous_aggregate")["markets_candle_1m"]["start_offset"] == "7 days"
    assert server.storage().changes == 0
    assert policies(server, "policy_compression").keys() == {table.name for table in plan.HISTORY}


@pytest.mark.long
@pytest.mark.parametrize("widened_to", [90, 0])
def test_what_was_computed_of_rows_long_dropped_outlives_a_retention_that_is_widened(
    migrated_timescale: Server, settings: Settings, widened_to: int
) -> None:
    server, market = migrated_timescale, migrated_timescale.a_market()
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"ticker": 30}
    server.storage(rebuild=True)
    old = a_row(Ticker, now() - 40 * DAY, market)
    insert(server, [old])
    server.rows("CALL refresh_continuous_aggregate('markets_spread_1m', NULL, NULL)")  # as when the row was young
    server.drop_old("markets_ticker", now())
    assert not Ticker.objects.using(server.alias).filter(market=market).exists()
    computed = server.rows("SELECT * FROM markets_spread_1m WHERE market = %s", market)
    assert len(computed) == 1
    settings.RETENTION_DAYS = settings.RETENTION_DAYS | {"ticker": widened_to}
    server.storage()
    server.refresh("markets_spread_1m")
    assert server.rows("SELECT * FROM markets_spread_1m WHERE market = %s", market) == computed
    assert server.storage().changes == 0


@pytest.mark.long
def test_a_job_that_failed_is_told(migrated_timescale: Server) -> None:
    server = migrated_timescale
    server.storage()
    assert failed_jobs(server.connection) == []
    ((job,),) = server.rows(
        "SELECT job_id FROM timescaledb_information.jobs"
        " WHERE hypertable_name = 'ops_beat' AND proc_name = 'policy_retention'"
    )
    # No job runs by itself here: what the scheduler would write of one that did.
    server.rows(
        "INSERT INTO _timescaledb_internal.bgw_job_stat"
        " SELECT %s, now(), now(), now(), '-infinity', false, 3, '1 s', '0', 1, 2, 0, 2, 0, 0",
        job,
    )
    server.rows(
        "INSERT INTO _timescaledb_internal.bgw_job_stat_history"
        " (job_id, pid, execution_start, execution_finish, succeeded, data)"
        """ VALUES (%s, 1, now(), now(), false, '{"error_data": {"message": "no space left"}}')""",
        job,
    )
    (failed,) = failed_jobs(server.connection) or []
    assert (failed.table, failed.failures, failed.message) == ("ops_beat", 2, "no space left")
    (service,) = failing([failed])
    assert (service.ok, service.state, service.last_event) == (False, "failed 2 times", "no space left")
    server.rows("DELETE FROM _timescaledb_internal.bgw_job_stat")
    assert failed_jobs(server.connection) == []


@pytest.mark.django_db
def test_plain_postgresql_has_no_jobs_to_fail() -> None:
    assert failed_jobs(connection) is None


def test_a_changed_definition_is_carried_out_or_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.storage()
    candles, *others = plan.AGGREGATES
    changed = msgspec.structs.replace(candles, select=candles.select.replace("AS trades", "AS prints"))
    monkeypatch.setattr(storage, "AGGREGATES", (changed, *others))
    report = server.storage()
    if server.is_timescale:  # what it holds may reach further back than the rows: only when asked for
        assert [table.name for table in report.tables if table.is_outdated] == ["markets_candle_1m"]
        assert report.changes == 0
        report = server.storage(rebuild=True)
    assert not any(table.is_outdated for table in report.tables)
    server.rows("SELECT prints FROM markets_candle_1m")
    assert server.storage().changes == 0
    monkeypatch.undo()
    server.storage(rebuild=True)
    server.rows("SELECT trades FROM markets_candle_1m")
