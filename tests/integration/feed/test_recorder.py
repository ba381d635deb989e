"""The recorder beside a tape that a test writes by hand, and its command as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import connection, connections

from feed import schema
from feed.management.commands.record import _markets
from feed.recorder import Recorder
from feed.recording import read_frames
from feed.replay import Replay
from feed.tapefile import OPEN_SUFFIX, SUFFIX
from kalshimm.errors import BadRecording, StoreSilent
from kalshimm.runtime.clock import ManualClock, SystemClock
from markets.models import Event, Market, Series
from tests.fixtures.stack import eventually

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 15.0
CONN = 77
Manage = Callable[..., subprocess.CompletedProcess[str]]


def delta(ticker: str, seq: int) -> schema.DeltaRow:
    return schema.DeltaRow(1_795_337_400_000_000 + seq, 0, ticker, seq, 0, 4_200, 100)


class Tape:
    """The tape as the gateway writes it."""

    def __init__(self, client: redis.Redis) -> None:
        self.redis = client

    def add(self, *rows: schema.TapeRow) -> bytes:
        entry = schema.encode(schema.TapeEntry(schema.VERSION, CONN, list(rows)))
        return self.redis.xadd(schema.TAPE, {schema.FIELD: entry})  # type: ignore[return-value]

    def holders(self) -> set[str]:
        return {member.decode() for member in self.redis.zrange(schema.INTEREST, 0, -1)}


@pytest.fixture
def tape(redis_client: redis.Redis) -> Tape:
    redis_client.set(schema.GENERATION, "first")
    return Tape(redis_client)


class Running:
    """A recorder at work; `finish` stops it and gives the rows of its files."""

    def __init__(self, redis_url: str, folder: Path, **options: object) -> None:
        async def markets() -> frozenset[str]:
            return frozenset({"M-1", "M-2"})

        given = {"clock": SystemClock(), "markets": markets} | options
        self.recorder = Recorder(redis_url=redis_url, folder=folder, holder="record-1", **given)  # type: ignore[arg-type]
        self.folder, self.stop = folder, asyncio.Event()
        self.task = asyncio.create_task(self.recorder.run(self.stop))

    async def until(self, condition: Callable[[], object], what: str) -> None:
        give_up = time.monotonic() + DEADLINE_S
        while not condition():
            if self.task.done():
                await self.task
            assert time.monotonic() < give_up, f"never: {what}"
            await asyncio.sleep(0.01)

    async def rows(self, count: int) -> None:
        await self.until(lambda: self.recorder.done.rows >= count, f"{count} rows")

    async def finish(self) -> list[schema.TapeRow]:
        self.stop.set()
        await asyncio.wait_for(self.task, DEADLINE_S)
        return rows_of(*sorted(self.folder.glob(f"*{SUFFIX}")))


def rows_of(*paths: Path) -> list[schema.TapeRow]:
    return [frame.row for path in paths for frame in read_frames(path) if frame.row is not None]


@pytest.fixture
async def running(tape: Tape, redis_url: str, tmp_path: Path) -> AsyncIterator[Running]:
    tape.add(delta("M-1", 1))  # before we were here
    running = Running(redis_url, tmp_path)
    await running.until(tape.holders, "interest")
    yield running
    running.stop.set()
    await asyncio.wait({running.task})


async def test_it_holds_interest_in_its_markets_while_it_runs(running: Running, tape: Tape) -> None:
    assert tape.holders() == {"M-1|tape:record-1", "M-2|tape:record-1"}
    left_s = tape.redis.zscore(schema.INTEREST, "M-1|tape:record-1") - time.time()  # type: ignore[operator]
    assert schema.INTEREST_LEASE_S - 10 < left_s <= schema.INTEREST_LEASE_S
    await running.finish()
    assert tape.holders() == set()


async def test_it_keeps_its_markets_and_the_gaps_of_everybody(running: Running, tape: Tape) -> None:
    gap = schema.GapRow(1, 2, "", "sequence gap", 1, 3, 9)
    others_gap = schema.GapRow(1, 2, "M-9", "unsubscribed", 1, 3, 9)
    tape.add(delta("M-1", 2), delta("M-9", 3), gap, others_gap)
    tape.add(delta("M-2", 4))
    await running.rows(3)
    assert await running.finish() == [delta("M-1", 2), gap, delta("M-2", 4)]
    assert (running.recorder.done.rows, running.recorder.done.gaps) == (3, 1)


async def test_what_came_until_the_stop_is_kept(running: Running, tape: Tape) -> None:
    for number in range(500):
        tape.add(delta("M-1", number))
    assert await running.finish() == [delta("M-1", number) for number in range(500)]


async def test_A13_entries_trimmed_before_they_were_recorded_are_a_gap(
    tape: Tape, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(redis_url, tmp_path)
    tape.add(delta("M-1", 1))
    await running.until(tape.holders, "interest")
    tape.add(delta("M-1", 2))
    await running.rows(1)
    pipeline = tape.redis.pipeline()  # in one step: nobody could have read them
    for number in range(3, 6):
        payload = schema.encode(schema.TapeEntry(schema.VERSION, CONN, [delta("M-1", number)]))
        pipeline.xadd(schema.TAPE, {schema.FIELD: payload})
    pipeline.xtrim(schema.TAPE, maxlen=1, approximate=False)
    pipeline.execute()
    rows = await running.finish()
    assert isinstance(rows[-2], schema.GapRow)
    assert rows[-2].reason == "2 entries of the tape were gone before they were recorded"
    assert rows[-1] == delta("M-1", 5)


async def test_D1_a_store_that_began_anew_is_a_gap_and_it_goes_on(running: Running, tape: Tape) -> None:
    tape.add(delta("M-1", 2))
    await running.rows(1)
    tape.redis.flushall()
    tape.redis.set(schema.GENERATION, "second")
    tape.add(delta("M-1", 3))
    await running.rows(3)
    before, gap, after = await running.finish()
    assert (before, after) == (delta("M-1", 2), delta("M-1", 3))
    assert isinstance(gap, schema.GapRow)
    assert "began anew" in gap.reason


async def test_D1_a_cut_connection_to_the_store_loses_nothing(running: Running, tape: Tape) -> None:
    tape.add(delta("M-1", 2))
    await running.rows(1)
    tape.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    tape.add(delta("M-1", 3))
    await running.rows(2)
    assert await running.finish() == [delta("M-1", 2), delta("M-1", 3)]


async def test_an_entry_that_nobody_can_read_is_a_gap(running: Running, tape: Tape) -> None:
    tape.redis.xadd(schema.TAPE, {schema.FIELD: b"\xc1"})
    tape.add(delta("M-1", 2))
    await running.rows(2)
    gap, after = await running.finish()
    assert isinstance(gap, schema.GapRow)
    assert "cannot be read" in gap.reason
    assert after == delta("M-1", 2)


async def test_a_new_hour_and_a_full_file_begin_another(
    tape: Tape, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.recorder.FLUSH_EVERY_S", 0.01)
    clock = ManualClock(wall_us=3_600_000_000 * 1_000 - 1)
    running = Running(redis_url, tmp_path, clock=clock)
    await running.until(tape.holders, "interest")
    tape.add(delta("M-1", 2))
    await running.rows(1)
    clock.advance_us(1)
    await running.until(lambda: len(running.recorder.done.files) == 2, "a second file")
    tape.add(delta("M-1", 3))
    await running.rows(2)
    await running.finish()
    paths = [tmp_path / name for name in running.recorder.done.files]
    assert [rows_of(path) for path in paths] == [[delta("M-1", 2)], [delta("M-1", 3)]]
    assert running.recorder.done.bytes == sum(path.stat().st_size for path in paths)


async def test_markets_listed_later_are_taken_up(
    tape: Tape, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.recorder.MARKETS_EVERY_S", 0.01)
    listed = {"M-1"}

    async def markets() -> frozenset[str]:
        return frozenset(listed)

    running = Running(redis_url, tmp_path, markets=markets)
    await running.until(tape.holders, "interest")
    listed.add("M-3")
    listed.remove("M-1")
    await running.until(lambda: len(tape.holders()) == 2, "interest in both")
    tape.add(delta("M-1", 1), delta("M-3", 2))
    await running.rows(2)
    assert await running.finish() == [delta("M-1", 1), delta("M-3", 2)]


def list_market(ticker: str) -> None:
    now = datetime.now(UTC)
    series, _ = Series.objects.get_or_create(ticker="S", defaults={"seen_at": now})
    event, _ = Event.objects.get_or_create(ticker="S-1", defaults={"series": series, "seen_at": now})
    until = {"open_time": now, "close_time": now + timedelta(hours=1), "seen_at": now}
    Market.objects.create(ticker=ticker, event=event, price_ranges=[[0, 10_000, 100]], **until)
    connection.close()  # each thread has one of its own


async def test_D8_a_database_that_was_restarted_ends_no_recording_of_a_series(
    tape: Tape, redis_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feed.recorder.MARKETS_EVERY_S", 0.01)
    await asyncio.to_thread(list_market, "M-1")
    running = Running(redis_url, tmp_path, markets=sync_to_async(lambda: _markets([], ["S"])))
    await running.until(tape.holders, "interest")
    session = await sync_to_async(lambda: connection.connection.info.backend_pid)()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s)", [session])
    await asyncio.to_thread(list_market, "M-2")
    await running.until(lambda: "M-2|tape:record-1" in tape.holders(), "the new market is taken up")
    tape.add(delta("M-2", 1))
    await running.rows(1)
    assert await running.finish() == [delta("M-2", 1)]
    await sync_to_async(connections.close_all)()  # those of its own thread


async def test_an_entry_of_another_version_is_a_gap(running: Running, tape: Tape) -> None:
    other = schema.encode(schema.TapeEntry(schema.VERSION + 1, CONN, [delta("M-1", 2)]))
    tape.redis.xadd(schema.TAPE, {schema.FIELD: other})
    await running.rows(1)
    (gap,) = await running.finish()
    assert isinstance(gap, schema.GapRow)
    assert "tape version" in gap.reason


async def test_without_a_store_it_does_not_begin(tmp_path: Path) -> None:
    running = Running("redis://127.0.0.1:1/0", tmp_path)
    with pytest.raises(StoreSilent):
        await running.task
    assert running.recorder.done.files == []


async def test_replayed_into_the_tables_its_rows_keep_their_connection(
    running: Running, tape: Tape, redis_url: str, database_url: str
) -> None:
    gap = schema.GapRow(1_795_337_400_000_000, 2, "", "sequence gap", 1, 3, 9)
    tape.add(delta("M-1", 2), gap, delta("M-1", 9))
    await running.rows(3)
    await running.finish()
    paths = [running.folder / name for name in running.recorder.done.files]
    for is_new in (True, False):
        result = await Replay(redis_url=redis_url, dsn=database_url, clock=SystemClock()).run(paths)
        assert (result.deltas, result.gaps, result.connections, result.rows["deltas"]) == (2, 1, 1, 2 * is_new)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        select = (
            "SELECT c.identity, d.seq FROM markets_book_delta d JOIN feed_connection c ON c.id = d.conn ORDER BY seq"
        )
        assert await (await connection.execute(select)).fetchall() == [(CONN, 2), (CONN, 9)]
        assert await (await connection.execute("SELECT reason, received FROM feed_feedgap")).fetchall() == [
            ("sequence gap", 9)
        ]


# ---- the command ---------------------------------------------------------------------------------------------------


def start(folder: Path, database_url: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "record", "M-1", "--out", str(folder), *options],
        env=os.environ | {"DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_finishes_the_file_and_tells_what_is_in_it(tape: Tape, database_url: str, tmp_path: Path) -> None:
    process = start(tmp_path, database_url, "--json")
    eventually(tape.holders, "interest")
    tape.add(delta("M-1", 1))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, stderr
    (line,) = stdout.splitlines()
    told = json.loads(line)
    assert (told["rows"], told["gaps"], told["markets"], len(told["files"])) == (1, 0, 1, 1)
    assert rows_of(tmp_path / told["files"][0]) == [delta("M-1", 1)]
    assert "1 rows of 1 markets, 0 gaps" in stderr


def test_killed_it_leaves_a_file_whose_flushed_part_is_whole(tape: Tape, database_url: str, tmp_path: Path) -> None:
    process = start(tmp_path, database_url)
    eventually(tape.holders, "interest")
    try:
        (path,) = tmp_path.glob(f"*{OPEN_SUFFIX}")
        size = path.stat().st_size
        tape.add(delta("M-1", 1), delta("M-1", 2))
        eventually(lambda: path.stat().st_size > size, "it flushes")
    finally:
        process.kill()
        process.communicate()
    rows: list[schema.TapeRow] = []
    with pytest.raises(BadRecording, match="recorder was cut off"):
        rows.extend(frame.row for frame in read_frames(path) if frame.row is not None)
    assert rows == [delta("M-1", 1), delta("M-1", 2)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "MARKET: name at least one market"),
        (("M-1", "--for", "soon"), "no duration such as 90s"),
        (("--series", "S"), "--series: the catalogue has no market of S"),
    ],
)
def test_what_cannot_be_recorded_is_a_usage_error(
    options: tuple[str, ...], said: str, manage: Manage, database_url: str, tape: Tape, tmp_path: Path
) -> None:
    run = manage("record", *options, "--out", str(tmp_path), env={"DATABASE_URL": database_url})
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr
    assert "Traceback" not in run.stderr
