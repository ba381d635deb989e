"""Rows of part D about PostgreSQL, as live traders' orders see it: they need none, and it has everything afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from tests.faults.postgres import PrivatePostgres, SmallDisk

pytestmark = pytest.mark.long

ROUNDS = 3  # of pulling and quoting anew, while it is away
NEWER = "0099_from_the_future"
HOT = ("traders_order", "traders_decision")
SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def module_database(server: PrivatePostgres) -> str:
    """Instead of one that all modules share a server for: this one is stopped, locked and broken."""
    return server.url


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def goes_on(live: LiveCase) -> None:
    """Have the trader do all it can, some times: it pulls its quotes, quotes anew, and has fills."""
    for _ in range(ROUNDS):
        live.pause()
        live.resume()
        live.until_quotes("it quotes without a database")
        live.hit_some()


def until_told(live: LiveCase, alert: str) -> None:
    live.until(lambda: alert in live.alerts(), f"{alert} is told")


def until_caught_up(live: LiveCase) -> None:
    live.until(lambda: "is stored again" in live.output(live.rig.writer), "the writer goes on by itself")
    live.judge()
    live.until_written()


# ---- D8 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["fast", "immediate", "backend"])
def test_D8_a_server_that_is_restarted_under_a_live_trader_costs_it_nothing(
    live: LiveCase, server: PrivatePostgres, harm: str
) -> None:
    if harm == "backend":
        with psycopg.connect(server.url, autocommit=True) as admin:
            admin.execute(SESSIONS)
    else:
        server.restart(harm)
    live.rig.log.note("store", f"PostgreSQL: {harm}")
    goes_on(live)
    until_told(live, "DATABASE_AWAY")
    until_caught_up(live)


# ---- D9 --------------------------------------------------------------------------------------------------------------


def test_D9_a_database_that_is_away_stops_no_live_trader_and_has_all_of_it_afterwards(live: LiveCase) -> None:
    live.rig.postgres.refuse()
    until_told(live, "DATABASE_AWAY")
    goes_on(live)
    live.trader.end()
    live.trader.start()  # what it left stands in its folder alone
    live.until_quotes("it starts anew from its own files")
    goes_on(live)
    written = live.trader.record.read().last_number
    live.until(lambda: live.trader.beat().counters["journal_unsent"] == 0, "it has sent its journal")  # type: ignore[union-attr]
    assert acknowledged(live) < written, "and keeps what nobody has stored"
    live.rig.postgres.pass_all()
    until_caught_up(live)
    live.until(lambda: acknowledged(live) >= written, "its journal is acknowledged")


def test_D9_with_redis_gone_too_the_journal_stands_in_the_traders_folder_alone(live: LiveCase) -> None:
    """Nothing that it wrote had been stored anywhere else when both went."""
    live.rig.postgres.refuse()
    until_told(live, "DATABASE_AWAY")
    goes_on(live)
    live.rig.valkey.kill()
    live.until(lambda: not live.resting(), "it pulls its quotes")
    live.rig.valkey.start(empty=True)
    live.until_quotes("it quotes again")
    live.rig.postgres.pass_all()
    until_caught_up(live)


def acknowledged(live: LiveCase) -> int:
    """Return up to which line the trader knows its journal to be stored."""
    told = live.rig.redis.hget("kmm:ack", str(live.trader.number))
    return int(told) if told else 0  # type: ignore[arg-type]


# ---- D10 -------------------------------------------------------------------------------------------------------------


def test_D10_rows_of_orders_whose_commit_was_not_answered_are_there_once(live: LiveCase) -> None:
    for number in range(1, 4):
        live.rig.postgres.lose_answer_to(b"COMMIT")
        live.pause()
        live.resume()
        live.until_quotes()
        live.hit_some()
        live.until(lambda number=number: len(live.log.of("answer dropped")) >= number, "a commit's answer is lost")
    live.judge(faults=3)
    live.until_written()


# ---- D11, D12 --------------------------------------------------------------------------------------------------------


def test_D11_a_report_that_locks_the_tables_of_orders_keeps_no_order_up(
    live: LiveCase, server: PrivatePostgres
) -> None:
    with psycopg.connect(server.url) as locker:
        locker.execute(f"LOCK TABLE {', '.join(HOT)} IN ACCESS EXCLUSIVE MODE")
        live.did("the tables of orders are locked")
        goes_on(live)
        until_told(live, "DATABASE_LOCKED")
        goes_on(live)
    until_caught_up(live)


def test_D12_a_database_that_takes_no_writes_is_told_of_and_holds_no_order_up(
    live: LiveCase, server: PrivatePostgres
) -> None:
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute(SESSIONS)
        live.did("read-only")
        until_told(live, "DATABASE_READ_ONLY")
        goes_on(live)
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")
    until_caught_up(live)


def test_D13_a_schema_that_became_newer_is_not_written_to_and_holds_no_order_up(
    live: LiveCase, server: PrivatePostgres
) -> None:
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('feed', %s, now())", (NEWER,))
        admin.execute(SESSIONS)
        live.did("the schema is of a newer version")
        live.until(lambda: NEWER in live.output(live.rig.writer), "the writer names the migration")
        goes_on(live)
        before = acknowledged(live)
        goes_on(live)
        assert acknowledged(live) == before, "nothing is stored meanwhile"
        admin.execute("DELETE FROM django_migrations WHERE name = %s", (NEWER,))
    if not live.rig.writer.is_running:
        live.rig.writer.start()  # as its supervisor does
    live.judge()
    live.until_written()


def test_D12_E3_a_database_whose_disk_is_full_is_told_of_and_goes_on_once_there_is_room(
    live: LiveCase, server: PrivatePostgres
) -> None:
    with SmallDisk(server.data.parent / "disk", megabytes=16, owner=server.user) as disk:
        server.move_table("traders_decision", disk.path)
        ballast = disk.path / "ballast"
        fill_up(ballast)
        live.did("the disk of the journal's table is full")
        while "DATABASE_FULL" not in live.alerts():
            goes_on(live)
        assert str(server.data) in live.output(live.rig.writer), "it says where"
        goes_on(live)
        ballast.unlink()
        until_caught_up(live)
        server.move_back("traders_decision")


def fill_up(ballast: Path) -> None:
    """Take all the room that a disk has left."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
