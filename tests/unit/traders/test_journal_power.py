"""What a power cut leaves of a trader's files, at whichever moment it comes (faults.md C1, D9)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from feed.schema import VERSION, Decision, FillState, JournalBody, JournalEntry, OrderState
from kalshimm.runtime.clock import SystemClock
from markets.core.grid import PriceRange
from tests.unit.traders.powercut import Disk
from traders.core.facts import MarketFacts
from traders.core.pipeline import Choice, StrategyChoices
from traders.journal import COMPACT_BYTES, Checkpoint, Journal, load_checkpoint, read_records, save_checkpoint
from traders.process import TraderProcess
from traders.start import Start

LONG = Decision("x" * (COMPACT_BYTES // 4), {}, 1)
NOWHERE = cast("Any", None)  # no store is asked


def a_fill(number: int) -> FillState:
    return FillState("a", "a", f"t{number}", 0, 4_000, 100, False, 0, 100, False)


def an_order(client_order_id: str) -> OrderState:
    return OrderState(client_order_id, client_order_id, 0, 4_000, 100, 0, 100, "resting", "")


def an_entry(number: int, body: JournalBody) -> JournalEntry:
    return JournalEntry(VERSION, 1, number, 1_000 + number, "paper", "dry-run", "M", body)


def a_process(folder: Path) -> TraderProcess:
    start = Start(
        trader=1,
        name="m",
        instance="instance",
        ticker="M",
        mode="dry-run",
        account="paper",
        strategies=StrategyChoices(Choice("join_best")),
        limits={},
        facts=MarketFacts((PriceRange(0, 10_000, 100),), 1 << 62),
        redis_url="",
    )
    return TraderProcess(start, folder, client=NOWHERE, pipe=NOWHERE, clock=SystemClock())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trader's folder: a checkpoint, and lines behind it, so many that the next checkpoint lets go of some."""
    path = tmp_path / "trader"
    path.mkdir()
    journal = Journal(path / "journal", first_number=0)
    bodies = [a_fill(1), LONG, a_fill(3), an_order("b"), LONG, a_fill(6), LONG, LONG, a_fill(9)]
    entries = [an_entry(number, body) for number, body in enumerate(bodies, start=1)]
    for entry in entries:
        journal.append(entry)
    journal.close()
    save_checkpoint(path / "checkpoint.json", Checkpoint().after_all(entries[:2]))
    return path


@pytest.fixture
def disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(folder, monkeypatch)
    yield disk
    disk.close()


async def test_a_checkpoint_is_on_the_disk_before_a_line_is_let_go_of_and_the_lines_of_it_before_that(
    folder: Path, disk: Disk
) -> None:
    process = a_process(folder)
    process._write([a_fill(10)])
    process._journal.acknowledge(8)
    disk.calls.clear()
    await process._checkpoint()
    assert disk.calls == [
        "sync journal",
        "sync checkpoint.json", "rename to checkpoint.json", "sync folder",
        "sync journal", "rename to journal", "sync folder",
    ]  # fmt: skip
    kept, _ = read_records((folder / "journal").read_bytes())
    assert [entry.number for entry in kept] == [9, 10]


async def test_whenever_the_power_is_cut_the_files_come_to_the_same_state(
    folder: Path, disk: Disk, tmp_path: Path
) -> None:
    process = a_process(folder)
    process._write([a_fill(10)])
    await process._journal.synced()
    expected, acknowledged = process._state, 8
    process._journal.acknowledge(acknowledged)
    disk.pictures.clear()
    await process._checkpoint()
    for at, picture in enumerate(disk.pictures):
        left = tmp_path / str(at)
        left.mkdir()
        for name, content in picture.items():
            (left / name).write_bytes(content)
        state, lines = what_is_left(left)
        assert shown(state) == shown(expected), disk.calls
        assert set(range(acknowledged + 1, 11)) <= lines, "the database has not got these yet"
    assert len(disk.pictures) == 2 * 6


def what_is_left(folder: Path) -> tuple[Checkpoint, set[int]]:
    kept = load_checkpoint(folder / "checkpoint.json") or Checkpoint()
    journal = Journal(folder / "journal", first_number=kept.number)
    lines = journal.entries()
    journal.close()
    return kept.after_all(lines), {line.number for line in lines}


def shown(state: Checkpoint) -> Any:
    return state.number, state.inventory, state.open_orders


async def test_a_checkpoint_on_its_way_to_the_disk_is_waited_for_when_its_task_is_canceled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could replace the last checkpoint, which is written after that."""
    has_begun, may_end = threading.Event(), threading.Event()

    def slow(path: Path, checkpoint: Checkpoint) -> None:
        has_begun.set()
        assert may_end.wait(20)
        save_checkpoint(path, checkpoint)

    monkeypatch.setattr("traders.process.save_checkpoint", slow)
    process = a_process(folder)
    writing = asyncio.create_task(process._checkpoint())
    await asyncio.to_thread(has_begun.wait, 20)
    writing.cancel()
    await asyncio.sleep(0.01)
    assert not writing.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    kept = load_checkpoint(folder / "checkpoint.json")
    assert kept is not None
    assert kept.number == 9


async def test_what_a_start_reads_is_brought_to_the_disk_anew(folder: Path, disk: Disk) -> None:
    """A process before it may have ended because the disk refused it: it reads well, from memory, and nowhere else."""
    before = (folder / "journal").read_bytes()
    journal = Journal(folder / "journal", first_number=0)
    assert disk.calls == ["sync journal", "rename to journal", "sync folder"]
    assert (folder / "journal").read_bytes() == before
    await journal.synced()
    assert len(disk.calls) == 3, "it is on the disk already"


def test_a_new_journal_has_its_name_on_the_disk_before_a_line_is_in_it(folder: Path, disk: Disk) -> None:
    (folder / "journal").unlink()
    Journal(folder / "journal", first_number=0)
    assert disk.calls[-1] == "sync folder"
    assert "journal" in disk.pictures[-2]


@pytest.mark.parametrize("zeros", [1, 8, 4_096])
def test_zeros_at_the_end_of_a_journal_are_torn_and_no_line(folder: Path, zeros: int) -> None:
    """A power cut can leave a file longer than what was written of it."""
    path = folder / "journal"
    path.write_bytes(path.read_bytes() + bytes(zeros))
    journal = Journal(path, first_number=0)
    assert journal.last_number == 9
    journal.append(an_entry(10, a_fill(10)))
    assert len(read_records(path.read_bytes())[0]) == 10
