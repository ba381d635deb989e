"""The writer while its stores fail: rows D6, D7, D8, D10, D11, D12, D14 and A13 through the real process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from feed import schema
from tests.faults.postgres import PrivatePostgres, SmallDisk
from tests.faults.writerground import BEFORE, TABLES, Ground

pytestmark = pytest.mark.long

TAPE_BYTES = 3 << 20  # what the load puts there in some 20 s


@pytest.fixture
def ground(tmp_path: Path, module_database: str) -> Iterator[Ground]:
    ground = Ground(tmp_path, module_database)
    yield ground
    ground.close()


@pytest.fixture
def narrow_ground(tmp_path: Path, module_database: str) -> Iterator[Ground]:
    """One whose tape is dropped beyond 3 MiB."""
    ground = Ground(tmp_path, module_database, KALSHIMM_TAPE_BYTES=str(TAPE_BYTES))
    yield ground
    ground.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(tmp_path / "server")
    yield server
    server.close()


def until_deltas(ground: Ground, count: int) -> None:
    ground.until(lambda: ground.counters().get("deltas", 0) >= count, f"{count} deltas are stored")


def deltas(ground: Ground) -> int:
    return int(ground.rows("SELECT count(*) FROM markets_book_delta")[0][0])


def finish(ground: Ground, *, malformed: int = 0) -> None:
    """Have everything stored, and judge it."""
    ground.until_stored()
    assert ground.writer.stop() == 0
    ground.judge(malformed=malformed)


# ---- Redis -----------------------------------------------------------------------------------------------------------


def test_D6_what_is_trimmed_past_the_watermark_is_a_gap_row_and_an_alarm(ground: Ground) -> None:
    with ground.load:
        ground.start()
        until_deltas(ground, 500)
        ground.writer.kill()
        ground.until(lambda: ground.redis.xlen(schema.TAPE) >= 100, "entries wait")
        trimmed = ground.redis.xtrim(schema.TAPE, maxlen=40, approximate=False)
        ground.log.note("store", f"{trimmed} entries trimmed past the watermark")
        ground.start()
        ground.until(ground.gaps, "a gap row")
    finish(ground)
    assert ground.missing_entries()
    assert "STREAM_HOLE" in ground.alerts()


def test_D7_a_poison_entry_is_set_aside_and_everything_else_is_stored(ground: Ground) -> None:
    with ground.load:
        ground.start()
        until_deltas(ground, 500)
    # Between beats of the load, so that the numbers of its entries stay theirs: these come last.
    poison = [schema.DeltaRow(BEFORE, 0, "M-1", 9, 7, 4_200, 1)]  # a side that is none
    entry = schema.encode(schema.TapeEntry(schema.VERSION, 1, poison))
    for payload in (b"\xc1 poison", entry):
        ground.redis.xadd(schema.TAPE, {schema.FIELD: payload})
        ground.log.note("store", "a poison entry")
    with ground.load:
        ground.until(lambda: ground.counters().get("poisoned") == 2, "both are set aside")
    finish(ground, malformed=2)
    assert "ENTRY_POISONED" in ground.alerts()


def test_D14_everything_a_second_time_changes_nothing(ground: Ground) -> None:
    with ground.load:
        ground.until(lambda: ground.redis.xlen(schema.TAPE) >= 200, "entries wait")
    entries = {stream: ground.redis.xrange(stream) for stream in (schema.TAPE, schema.JOURNAL)}
    ground.start()
    ground.until_stored()
    before = {table: ground.rows(f"SELECT count(*) FROM {table}") for table in TABLES if "log" not in table}
    for stream, found in entries.items():
        for _, fields in found:
            ground.redis.xadd(stream, fields)
    ground.log.note("store", f"{len(entries[schema.TAPE])} entries put again")
    finish(ground)
    assert {table: ground.rows(f"SELECT count(*) FROM {table}") for table in before} == before


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("harm", ["fast", "immediate", "backend"])
def test_D8_a_restarted_server_or_a_killed_backend_costs_no_row(
    tmp_path: Path, own_server: PrivatePostgres, harm: str
) -> None:
    ground = Ground(tmp_path, own_server.url)
    try:
        with ground.load:
            ground.start()
            until_deltas(ground, 500)
            if harm == "backend":
                (pid,) = ground.rows("SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'kalshimm'")[0]
                os.kill(pid, signal.SIGKILL)
            else:
                own_server.restart(harm)
            ground.log.note("store", f"PostgreSQL: {harm}")
            ground.until(lambda: ground.writer.output().count("is stored again"), "the writer goes on")
            until_deltas(ground, ground.counters().get("deltas", 0) + 500)
        finish(ground)
        assert "DATABASE_AWAY" in ground.alerts()
        assert ground.gaps() == []
    finally:
        ground.close()


def test_D10_a_commit_whose_answer_is_lost_is_not_repeated(ground: Ground) -> None:
    with ground.load:
        ground.start()
        until_deltas(ground, 500)
        for number in range(1, 6):
            ground.to_postgres.lose_answer_to(b"COMMIT")
            ground.until(lambda n=number: len(ground.log.of("answer dropped")) >= n, "a commit's answer is lost")
            until_deltas(ground, ground.counters().get("deltas", 0) + 500)
    finish(ground)
    assert ground.gaps() == []
    # Rows that were sent a second time would have been inserted, and rolled back: PostgreSQL counts those too.
    ground.until(lambda: ground.inserted() - ground.inserted_before >= deltas(ground), "the counts are in")
    assert ground.inserted() - ground.inserted_before == deltas(ground)


def test_D10_a_batch_that_was_cut_off_before_its_commit_is_repeated(ground: Ground) -> None:
    with ground.load:
        ground.start()
        until_deltas(ground, 500)
        for number in range(1, 6):
            ground.to_postgres.cut_after(20_000 + 7_001 * number, "up")
            ground.until(lambda n=number: len(ground.log.of("cut up")) >= n, "a batch is cut off")
            until_deltas(ground, ground.counters().get("deltas", 0) + 500)
    finish(ground)
    assert ground.gaps() == []


def test_D11_a_locked_table_delays_its_stream_alone_and_loses_nothing(ground: Ground) -> None:
    with ground.load, psycopg.connect(ground.database_url) as locker:
        ground.start()
        until_deltas(ground, 500)
        locker.execute("LOCK TABLE markets_book_delta IN ACCESS EXCLUSIVE MODE")
        ground.log.note("store", "markets_book_delta locked")
        ground.until(lambda: "DATABASE_LOCKED" in ground.alerts(), "the lock is told of")
        fills = ground.counters()["fills"]
        ground.until(lambda: ground.counters()["fills"] >= fills + 5, "the journal goes on")
        ground.until(lambda: "WRITER_LAG" in ground.alerts(), "the lag is told of")
        locker.rollback()
        ground.until(lambda: "is stored again" in ground.writer.output(), "the tape goes on")
    finish(ground)
    assert ground.gaps() == []


def test_D12_a_database_that_takes_no_writes_is_named_and_waited_for(ground: Ground) -> None:
    name = ground.rows("SELECT current_database()")[0][0]
    with ground.load, psycopg.connect(ground.database_url, autocommit=True) as admin:
        ground.start()
        until_deltas(ground, 500)
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        admin.execute(sessions + " AND application_name = 'kalshimm'")
        ground.log.note("store", "read-only")
        ground.until(lambda: "DATABASE_READ_ONLY" in ground.alerts(), "it is told of")
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        until_deltas(ground, ground.counters().get("deltas", 0) + 500)
    finish(ground)
    assert ground.gaps() == []


def test_D12_a_full_disk_is_named_and_waited_for_until_there_is_room(
    tmp_path: Path, own_server: PrivatePostgres
) -> None:
    with SmallDisk(tmp_path / "disk", megabytes=2, owner=own_server.user) as disk:
        ground = Ground(tmp_path, own_server.url)
        try:
            own_server.move_table("markets_book_delta", disk.path)
            with ground.load:
                ground.start()
                ground.until(lambda: "DATABASE_FULL" in ground.alerts(), "the full disk is told of")
                ground.log.note("store", "the table's disk is full")
                assert str(own_server.data) in ground.writer.output()
                disk.grow(megabytes=256)
                stored = deltas(ground)
                ground.until(lambda: deltas(ground) > stored + 500, "it goes on by itself")
            finish(ground)
            assert ground.gaps() == []
        finally:
            ground.close()
            own_server.close()


# ---- A13 -------------------------------------------------------------------------------------------------------------


def test_A13_a_slow_database_shows_as_lag_and_what_is_dropped_in_the_end_is_marked_to_the_entry(
    narrow_ground: Ground,
) -> None:
    ground = narrow_ground
    with ground.load:
        ground.start()
        until_deltas(ground, 500)
        ground.to_postgres.throttle(20_000)  # a tenth of what the load needs
        ground.until(lambda: "WRITER_LAG" in ground.alerts(), "the lag is told of")
        ground.until(lambda: "STREAM_OVERFLOW" in ground.alerts(), "the tape outgrows its bound")
        # What was dropped so far the writer may have in hand. All that waits now is more than a commit may hold.
        newest = ground.redis.xrevrange(schema.TAPE, count=1)[0][0]
        ground.until(lambda: ground.redis.xrange(schema.TAPE, count=1)[0][0] > newest, "unread entries are dropped")
        ground.to_postgres.pass_all()
        ground.until(ground.gaps, "a gap row")
    finish(ground)
    dropped = ground.missing_entries()
    assert dropped
    assert "STREAM_HOLE" in ground.alerts()
