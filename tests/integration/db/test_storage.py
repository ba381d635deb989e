"""`manage.py storage` and what it makes: the same assertions on TimescaleDB and on plain PostgreSQL."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import groupby
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Model
from pytest_django.fixtures import Settings

from kalshimm.db import plan, storage
from kalshimm.db.jobs import failed_jobs
from kalshimm.db.retention import delete_old_rows
from kalshimm.db.storage import Storage, chunk_widths
from kalshimm.errors import KalshimmError
from kalshimm.management.commands.health import failing
from markets.models import BookDelta, Ticker, Trade
from tests.integration.db.conftest import Server
from traders.models import RateSample

Manage = Callable[..., subprocess.CompletedProcess[str]]

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC)


def test_the_plan_names_every_history_table_and_every_retention() -> None:
    assert {table.name for table in plan.HISTORY} == set(chunk_widths())
    assert {one.kept for one in (*plan.HISTORY, *plan.AGGREGATES)} == set(plan.RETENTION_DAYS)


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


@pytest.mark.django_db
def test_a_prepared_database_has_the_views() -> None:
    call_command("prepare", stdout=StringIO(), stderr=StringIO())
    assert Storage(connection).apply().changes == 0


def insert(server: Server, rows: Iterable[Model]) -> None:
    rows = list(rows)
    type(rows[0])._default_manager.using(server.alias).bulk_create(rows, ignore_conflicts=True, batch_size=500)


def deltas(market: int, begin: datetime, seqs: Iterable[int]) -> list[BookDelta]:
    return [
        BookDelta(
            time=begin + timedelta(milliseconds=37 * seq), market=market, conn=1, seq=seq, side=seq % 2, time_source=0,
            price_cc=100 * (1 + seq % 99), delta_cx=seq - 500,
        )
        for seq in seqs
    ]  # fmt: skip


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
    trader = server.a_market()
    insert(server, [a_sample(trader, now() - 3_000 * DAY)])
    if server.is_timescale:
        assert policies(server, "policy_retention").get("traders_ratesample") is None
    else:
        server.drop_old("traders_ratesample", now())
    assert RateSample.objects.using(server.alias).filter(trader=trader).count() == 1


@pytest.mark.long
def test_on_timescaledb_nothing_is_deleted_row_by_row(migrated_timescale: Server) -> None:
    server, trader = migrated_timescale, migrated_timescale.a_market()
    insert(server, [a_sample(trader, now() - 3_000 * DAY)])
    assert delete_old_rows(server.connection, now(), plan.RETENTION_DAYS) == {}
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


# -- the views against a computation of their own ----------------------------------------------------------------------


def a_trade(chance: random.Random, market: int, begin: datetime) -> Trade:
    seconds = chance.choice((0, 0, 1, 59, 60, 61, 119, 600))  # many share their time
    return Trade(
        time=begin + timedelta(seconds=seconds), market=market, trade_id=f"{chance.choice('aAzZé0-')}{chance.random()}",
        time_source=0, yes_price_cc=chance.randrange(1, 10_000), count_cx=chance.randrange(1, 10**12),
        taker_side=0, is_block=chance.random() < 0.2,
    )  # fmt: skip


def a_ticker(chance: random.Random, market: int, begin: datetime) -> Ticker:
    def price(*empty: int | None) -> int | None:
        return chance.choice((*empty, chance.randrange(1, 10_000), chance.randrange(1, 10_000)))

    return Ticker(
        time=begin + timedelta(seconds=chance.choice((0, 0, 1, 60, 61, 600))), market=market,
        conn=chance.randrange(1, 3), digest=chance.getrandbits(63), time_source=0,
        yes_bid_cc=price(None, 0), yes_ask_cc=price(None, 10_000),
    )  # fmt: skip


def a_sample(trader: int, time: datetime, chance: random.Random | None = None) -> RateSample:
    chance = chance or random.Random(1)

    def figure(most: int) -> int | None:
        return chance.choice((None, chance.randrange(-most, most), chance.randrange(-most, most)))

    return RateSample(
        time=time, trader=trader, market=trader, mode="dry-run", state="quoting", rate_ud_h=figure(10**15),
        observed_s=chance.randrange(61), present_yes_s=figure(60), present_no_s=None, position_cx=figure(1_000),
        fills=figure(10), trading_ud=figure(10**12),
    )  # fmt: skip


def whole(value: int, divisor: int) -> int:
    """Divide towards zero, as SQL does."""
    return abs(value) // divisor * (1 if value >= 0 else -1)


def candle(rows: list[Trade]) -> tuple[Any, ...]:
    rows = sorted(rows, key=lambda row: (row.time, row.trade_id.encode()))
    prices = [row.yes_price_cc for row in rows if not row.is_block]
    shown = (prices[0], max(prices), min(prices), prices[-1]) if prices else (None,) * 4
    return (*shown, sum(row.count_cx for row in rows), len(rows))


def spread(rows: list[Ticker]) -> tuple[Any, ...]:
    last = max(rows, key=lambda row: (row.time, row.conn, row.digest))
    spreads = [
        row.yes_ask_cc - row.yes_bid_cc for row in rows
        if row.yes_bid_cc is not None and row.yes_ask_cc is not None and row.yes_bid_cc > 0 and row.yes_ask_cc < 10_000
    ]  # fmt: skip
    figures = (sum(spreads), whole(sum(spreads), len(spreads)), min(spreads), max(spreads)) if spreads else (None,) * 4
    return (len(rows), len(spreads), *figures, last.yes_bid_cc, last.yes_ask_cc)


def trader_rate(rows: list[RateSample]) -> tuple[Any, ...]:
    rows = sorted(rows, key=lambda row: row.time)
    rates = [row.rate_ud_h for row in rows if row.rate_ud_h is not None]
    present = [row.present_yes_s for row in rows if row.present_yes_s is not None]
    return (
        len(rows), len(rates), sum(rates) if rates else None, whole(sum(rates), len(rates)) if rates else None,
        sum(row.observed_s for row in rows), sum(present) if present else None, None,
        rows[-1].position_cx, rows[-1].fills, rows[0].trading_ud, rows[-1].trading_ud,
    )  # fmt: skip


def bucket(time: datetime, width: timedelta) -> datetime:
    origin = datetime(2000, 1, 3, tzinfo=UTC)
    return origin + width * ((time - origin) // width)


def expected(rows: Iterable[Any], width: timedelta, compute: Callable[[list[Any]], tuple[Any, ...]]) -> list[Any]:
    ordered = sorted(rows, key=lambda row: row.time)
    return [(time, *compute(list(group))) for time, group in groupby(ordered, key=lambda row: bucket(row.time, width))]


def shown(server: Server, view: str, thing: str, number: int) -> list[Any]:
    columns = {
        "markets_candle_1m": "open_yes_cc, high_yes_cc, low_yes_cc, close_yes_cc, volume_cx, trades",
        "markets_spread_1m": "tickers, quotes, spread_sum_cc, spread_mean_cc, spread_min_cc, spread_max_cc, "
        "last_yes_bid_cc, last_yes_ask_cc",
        "traders_rate_1h": "samples, rates, rate_sum_ud_h, rate_mean_ud_h, observed_s, present_yes_s, present_no_s, "
        "last_position_cx, last_fills, first_trading_ud, last_trading_ud",
    }[view]
    return server.rows(f"SELECT time, {columns} FROM {view} WHERE {thing} = %s ORDER BY time", number)


def three_times(
    server: Server, view: str, thing: str, number: int, first: list[Any], late: list[Any], want: Any
) -> None:
    """Compare a view with what is wanted as rows came, once it was computed, and after late rows were."""
    insert(server, first)
    assert shown(server, view, thing, number) == want(first)
    server.refresh(view)
    assert shown(server, view, thing, number) == want(first)
    insert(server, late)
    server.refresh(view)
    assert shown(server, view, thing, number) == want(first + late)
    if server.is_timescale:
        assert materialized(server, view) > 0


def materialized(server: Server, view: str) -> int:
    ((schema, table),) = server.rows(
        "SELECT materialization_hypertable_schema, materialization_hypertable_name"
        " FROM timescaledb_information.continuous_aggregates WHERE view_name = %s",
        view,
    )
    return server.rows(f"SELECT count(*) FROM {schema}.{table}")[0][0]


def test_candles_are_those_of_the_trades(server: Server, chance: random.Random) -> None:
    server.storage()
    market, begin = server.a_market(), bucket(now() - 2 * DAY, MINUTE)
    rows = [a_trade(chance, market, begin) for _ in range(300)]
    three_times(
        server, "markets_candle_1m", "market", market, rows[:200], rows[200:], lambda r: expected(r, MINUTE, candle)
    )


def test_a_minute_of_block_trades_alone_has_volume_and_no_price(server: Server, chance: random.Random) -> None:
    server.storage()
    trade = a_trade(chance, server.a_market(), now() - DAY)
    trade.is_block = True
    insert(server, [trade])
    ((_, *figures),) = shown(server, "markets_candle_1m", "market", trade.market)
    assert figures == [None, None, None, None, trade.count_cx, 1]


def test_spreads_are_those_of_the_tickers(server: Server, chance: random.Random) -> None:
    server.storage()
    market, begin = server.a_market(), bucket(now() - 2 * DAY, MINUTE)
    rows = [a_ticker(chance, market, begin) for _ in range(300)]
    three_times(
        server, "markets_spread_1m", "market", market, rows[:200], rows[200:], lambda r: expected(r, MINUTE, spread)
    )


def test_rates_of_an_hour_are_those_of_its_samples(server: Server, chance: random.Random) -> None:
    server.storage()
    trader, begin = server.a_market(), bucket(now() - 2 * DAY, timedelta(hours=1))
    rows = [a_sample(trader, begin + minute * MINUTE, chance) for minute in range(300)]
    chance.shuffle(rows)
    three_times(
        server, "traders_rate_1h", "trader", trader, rows[:200], rows[200:],
        lambda r: expected(r, timedelta(hours=1), trader_rate),
    )  # fmt: skip


def test_an_hour_of_unknown_rates_has_an_unknown_mean(server: Server) -> None:
    server.storage()
    sample = a_sample(server.a_market(), now() - DAY)
    sample.rate_ud_h = None
    insert(server, [sample])
    ((_, samples, rates, total, mean, *_),) = shown(server, "traders_rate_1h", "trader", sample.trader)
    assert (samples, rates, total, mean) == (1, 0, None, None)


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
