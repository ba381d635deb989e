from __future__ import annotations

import asyncio
import errno
import logging
import resource
from pathlib import Path

import msgspec
import pytest

from feed.schema import VERSION, Decision, FillState, JournalBody, JournalEntry, LatchChange, OrderState
from markets.core.units import Side
from traders import journal as journal_module
from traders.core.inventory import Inventory
from traders.core.limits import Latch
from traders.journal import (
    CHECKPOINT_VERSION,
    COMPACT_BYTES,
    Checkpoint,
    Journal,
    JournalLost,
    load_checkpoint,
    read_records,
)


def an_entry(number: int, body: JournalBody | None = None) -> JournalEntry:
    return JournalEntry(VERSION, 1, number, 1_000 + number, "paper", "dry-run", "M", body or Decision("why", {}, 1))


def an_order(client_order_id: str, status: str = "resting") -> OrderState:
    return OrderState(client_order_id, client_order_id, 0, 4_000, 100, 0, 100, status, "")


def a_fill(count_cx: int = 100) -> FillState:
    return FillState("a", "a", "t", 0, 4_000, count_cx, False, None, count_cx, False)


def a_journal(path: Path, entries: int) -> Journal:
    journal = Journal(path / "journal", first_number=0)
    for number in range(1, entries + 1):
        journal.append(an_entry(number))
    return journal


def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    a_journal(tmp_path, 3).close()
    again = Journal(tmp_path / "journal", first_number=0)
    assert again.entries() == tuple(an_entry(number) for number in (1, 2, 3))
    assert again.last_number == 3


@pytest.mark.parametrize("cut", [1, 7, 8, 9])
def test_a_torn_last_record_is_dropped_and_said(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    a_journal(tmp_path, 3).close()
    path = tmp_path / "journal"
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING):
        again = Journal(path, first_number=0)
    assert again.last_number == 2
    assert "torn" in caplog.text
    again.append(an_entry(3))
    assert read_records(path.read_bytes())[0] == [an_entry(number) for number in (1, 2, 3)]


def test_a_damaged_record_ends_what_can_be_trusted(tmp_path: Path) -> None:
    a_journal(tmp_path, 2).close()
    content = bytearray((tmp_path / "journal").read_bytes())
    content[-1] ^= 0xFF
    assert [entry.number for entry in read_records(bytes(content))[0]] == [1]


def test_numbers_rise_by_one_and_never_start_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", first_number=41)
    journal.append(an_entry(42))
    with pytest.raises(ValueError, match="follows 42"):
        journal.append(an_entry(42))


def test_what_the_writer_has_stored_is_forgotten(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, 3)
    journal.acknowledge(2)
    assert [entry.number for entry in journal.entries()] == [3]
    assert journal.unsent == 1


def test_it_is_compacted_only_as_far_as_writer_and_checkpoint_both_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", first_number=0)
    long = Decision("x" * (COMPACT_BYTES // 4), {}, 1)
    for number in range(1, 7):
        journal.append(an_entry(number, long))
    journal.acknowledge(5)
    journal.compact(Checkpoint(number=3))
    journal.append(an_entry(7, long))
    kept, _ = read_records((tmp_path / "journal").read_bytes())
    assert [entry.number for entry in kept] == [4, 5, 6, 7]


def held(*counts_cx: int) -> Inventory:
    inventory = Inventory()
    for count_cx in counts_cx:
        inventory = inventory.after(Side.YES, 4_000, count_cx)
    return inventory


def test_a_latch_is_kept_until_it_is_released() -> None:
    on = LatchChange(True, "DAILY_LOSS", "too much", {"result_ud": -5}, 77)
    latched = Checkpoint().after(an_entry(1, on))
    assert latched.risk.latch == Latch("DAILY_LOSS", 77, {"result_ud": -5})
    off = LatchChange(False, "DAILY_LOSS", "too much", {"result_ud": -5}, 77, by="somebody")
    assert latched.after(an_entry(2, off)).risk.latch is None


def test_checkpoint_and_journal_give_the_state_whichever_line_the_checkpoint_stands_at() -> None:
    bodies = [an_order("a"), a_fill(), an_order("a", "filled"), an_order("b"), a_fill(50), an_order("c")]
    entries = [an_entry(number, body) for number, body in enumerate(bodies, start=1)]
    results = set()
    for at in range(len(entries) + 1):
        state = Checkpoint()
        for entry in entries[:at]:
            state = state.after(entry)
        for entry in entries:  # the file may still hold what the checkpoint contains
            state = state.after(entry)
        results.add((state.number, state.inventory, tuple(order.client_order_id for order in state.open_orders)))
    assert results == {(6, held(100, 50), ("b", "c"))}


def test_there_is_no_checkpoint_at_first(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.json") is None


def test_a_checkpoint_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(msgspec.json.encode(Checkpoint(version=CHECKPOINT_VERSION + 1)))
    with pytest.raises(msgspec.ValidationError, match=f"version {CHECKPOINT_VERSION + 1}"):
        load_checkpoint(path)


def test_a_checkpoint_of_an_earlier_version_gives_way_to_the_database(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(b'{"number":5,"inventory":{"position_cx":7,"cash_ud":-1,"fills":1},"version":1}')
    assert load_checkpoint(path) is None


def test_the_database_counts_only_where_it_is_ahead_of_the_files() -> None:
    files = Checkpoint(10, held(100), control_id="5-0")
    behind, ahead = Checkpoint(10, held(7)), Checkpoint(11, held(7))
    assert files.or_newer(behind) == files
    assert files.or_newer(ahead) == Checkpoint(11, held(7), control_id="5-0")


def test_E3_a_record_that_does_not_fit_on_the_disk_leaves_no_half(tmp_path: Path) -> None:
    journal = a_journal(tmp_path, 3)
    size = (tmp_path / "journal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(OSError, match=r"bytes were written|File too large"):
            journal.append(an_entry(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (tmp_path / "journal").stat().st_size == size
    journal.append(an_entry(4))
    assert [entry.number for entry in read_records((tmp_path / "journal").read_bytes())[0]] == [1, 2, 3, 4]


def test_E3_each_record_that_does_not_fit_leaves_no_half(tmp_path: Path) -> None:
    """Who cancels on a full disk tries to write down more than once."""
    journal = a_journal(tmp_path, 3)
    size = (tmp_path / "journal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        for _ in range(3):
            with pytest.raises(OSError, match=r"bytes were written|File too large"):
                journal.append(an_entry(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    journal.append(an_entry(4))
    assert [entry.number for entry in read_records((tmp_path / "journal").read_bytes())[0]] == [1, 2, 3, 4]


async def test_whoever_waits_for_the_disk_meanwhile_shares_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(journal_module, "_to_disk", synced.append)
    journal = a_journal(tmp_path, 3)

    await asyncio.gather(*(journal.synced() for _ in range(5)))
    assert len(synced) == 1
    await journal.synced()
    assert len(synced) == 1

    journal.append(an_entry(4))
    await journal.synced()
    assert len(synced) == 2


def _refuses(_descriptor: int) -> None:
    raise OSError(errno.EIO, "it is gone")


async def test_E3_a_disk_that_fails_is_told_to_everybody_who_waits_and_is_not_believed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error the system may have dropped what it could not write, and calls the next try a success."""

    monkeypatch.setattr(journal_module, "_to_disk", _refuses)
    journal = a_journal(tmp_path, 1)

    told = await asyncio.gather(*(journal.synced() for _ in range(3)), return_exceptions=True)

    assert [type(one) for one in told] == [JournalLost] * 3
    assert "it is gone" in str(told[0])
    assert str(tmp_path / "journal") in str(told[0])
    monkeypatch.setattr(journal_module, "_to_disk", lambda _descriptor: None)
    journal.append(an_entry(2))  # what happens until the process has ended is written down as far as that goes
    for _ in range(2):
        with pytest.raises(JournalLost):
            await journal.synced()


async def test_E3_after_a_disk_that_failed_the_next_process_goes_by_what_is_really_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = a_journal(tmp_path, 1)
    await journal.synced()
    monkeypatch.setattr(journal_module, "_to_disk", _refuses)
    journal.append(an_entry(2))
    with pytest.raises(JournalLost):
        await journal.synced()
    again = Journal(tmp_path / "journal", first_number=0)
    assert [entry.number for entry in again.entries()] == [1, 2]
    await again.synced()  # they were written anew, and need no word of the one that failed


def test_a_position_that_fills_do_not_explain_is_taken_as_it_is_only_under_another_grant() -> None:
    drifted = Checkpoint(outside_cx=500, drifted_under=7)

    assert drifted.outside_under(7) == 500  # a crash is nobody's permission
    assert drifted.outside_under(8) is None
    assert Checkpoint(outside_cx=500).outside_under(8) == 500
