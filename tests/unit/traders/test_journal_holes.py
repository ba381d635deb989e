"""Lines that are missing in the middle of a journal: noticed, said, and never skipped (faults.md C1, D9)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.schema import VERSION, FillState, JournalEntry
from kalshimm.errors import KalshimmError
from markets.core.units import Side
from traders.core.inventory import Inventory
from traders.core.liveorders import Kept
from traders.journal import (
    Checkpoint,
    Journal,
    JournalHole,
    JournalLost,
    Recovered,
    gaps,
    load_checkpoint,
    read_records,
    record,
    recover,
    save_checkpoint,
)

COUNT_CX = 100


def a_line(number: int) -> JournalEntry:
    fill = FillState("a", "a", f"t{number}", 0, 4_000, COUNT_CX, False, 0, COUNT_CX, False)
    return JournalEntry(VERSION, 7, number, 1_000 + number, "paper", "dry-run", "M", fill)


def lines(*numbers: int) -> tuple[JournalEntry, ...]:
    return tuple(a_line(number) for number in numbers)


def after(number: int) -> Checkpoint:
    """Return what the lines up to a number come to: each is a fill of 100."""
    inventory = Inventory()
    for _ in range(number):
        inventory = inventory.after(Side.YES, 4_000, COUNT_CX, fee_ud=0)
    return Checkpoint(number, inventory)


def left_in(folder: Path, *numbers: int, checkpoint: Checkpoint | None = None) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "journal").write_bytes(b"".join(map(record, lines(*numbers))))
    if checkpoint is not None:
        save_checkpoint(folder / "checkpoint.json", checkpoint)


def found(folder: Path, stored: Checkpoint) -> Recovered:
    """Return what a process goes on from."""
    kept = load_checkpoint(folder / "checkpoint.json")
    journal = Journal(folder / "journal", first_number=max((kept or stored).number, stored.number))
    try:
        return recover(kept, journal.entries(), stored, folder)
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("checkpoint", "numbers", "missing"),
    [
        (2, (3, 4, 6, 7), "line 5 is"),
        (2, (3, 7, 8), "lines 4 to 6 are"),
        (2, (4, 5, 8), "lines 3, 6 to 7 are"),
        (2, (9,), "lines 3 to 8 are"),
        (0, (5, 6), "lines 1 to 4 are"),
    ],
)
def test_a_hole_that_nothing_fills_keeps_the_trader_from_trading(
    tmp_path: Path, checkpoint: int, numbers: tuple[int, ...], missing: str
) -> None:
    left_in(tmp_path, *numbers, checkpoint=after(checkpoint))
    with pytest.raises(JournalHole) as refusal:
        found(tmp_path, after(1))
    said = str(refusal.value)
    assert said.startswith(f"Trader 7: of its journal {missing} missing in {tmp_path}")
    assert "the database has them only up to 1" in said
    assert "move journal and checkpoint.json out of that folder" in said
    assert isinstance(refusal.value, KalshimmError)


def test_it_stays_so_at_each_start(tmp_path: Path) -> None:
    left_in(tmp_path, 1, 2, 4)
    for _ in range(3):
        with pytest.raises(JournalHole, match="line 3 is"):
            found(tmp_path, Checkpoint())


def test_with_the_files_out_of_the_way_it_goes_on_from_the_database(tmp_path: Path) -> None:
    left_in(tmp_path, 1, 2, 4, checkpoint=after(1))
    for name in ("journal", "checkpoint.json"):
        (tmp_path / name).rename(tmp_path / f"{name}.old")
    assert found(tmp_path, after(2)).state == after(2)


def test_where_the_database_has_what_is_missing_it_is_gone_by_and_newer_lines_count_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    knows = Kept(next_number=42)
    left_in(tmp_path, 3, 6, 7, 8, checkpoint=Checkpoint(2, after(2).inventory, control_id="5-0"))
    with caplog.at_level(logging.WARNING):
        before, later, state = found(tmp_path, Checkpoint(6, after(6).inventory, live=knows))
    assert (state.number, state.inventory, state.control_id) == (8, after(8).inventory, "5-0")
    assert (before.number, before.live, later) == (6, knows, lines(7, 8))
    assert "lines 4 to 5 are missing; the database has them" in caplog.text
    assert str(tmp_path) in caplog.text


def test_the_database_is_not_gone_by_where_it_has_only_a_part_of_what_is_missing(tmp_path: Path) -> None:
    left_in(tmp_path, 3, 7, checkpoint=after(2))
    with pytest.raises(JournalHole, match="lines 4 to 6 are"):
        found(tmp_path, after(5))
    assert found(tmp_path, after(6)).state == after(7), "it has stored more since"


def test_lines_that_the_checkpoint_contains_need_not_be_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left_in(tmp_path, 1, 2, 5, 9, 10, checkpoint=after(8))
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, after(5)).state == after(10)
    assert "lines 6 to 8 are missing, and not in the database" in caplog.text


@pytest.mark.parametrize("stored", [4, 5, 6])
def test_nothing_is_said_where_nothing_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stored: int
) -> None:
    left_in(tmp_path, 5, 6, 7, checkpoint=after(6))
    assert found(tmp_path, after(stored)).state == after(7)
    assert not caplog.records


def test_a_lost_journal_whose_lines_no_checkpoint_and_no_database_lacks_is_no_hole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_in(tmp_path, checkpoint=after(6))
    assert found(tmp_path, after(6)).state == after(6)
    assert not caplog.records
    assert found(tmp_path, after(4)).state == after(6)
    assert "lines 5 to 6 are missing, and not in the database" in caplog.text


# Damage


def damaged(folder: Path, number: int) -> bytes:
    """Turn a bit in the middle of one line; return the file."""
    path = folder / "journal"
    content = bytearray(path.read_bytes())
    size = len(content) // len(read_records(bytes(content))[0])
    content[(number - 1) * size + size // 2] ^= 1
    path.write_bytes(content)
    return bytes(content)


def test_damage_in_the_middle_hides_no_line_behind_it_and_is_a_hole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left_in(tmp_path, 1, 2, 3, 4, 5)
    content = damaged(tmp_path, 3)
    for _ in range(2):
        with pytest.raises(JournalHole, match="line 3 is"):
            found(tmp_path, after(2))
    assert (tmp_path / "journal.damaged-4").read_bytes() == content, "for a person to look at"
    assert "damaged" in caplog.text
    assert found(tmp_path, after(3)).state == after(5)


def test_damage_at_the_end_is_torn_and_no_hole(tmp_path: Path) -> None:
    left_in(tmp_path, 1, 2, 3)
    damaged(tmp_path, 3)
    assert found(tmp_path, Checkpoint()).state == after(2)


def test_half_a_line_that_was_written_again_behind_itself_is_no_hole(tmp_path: Path) -> None:
    left_in(tmp_path)
    written = [record(a_line(number)) for number in (1, 2, 3)]
    (tmp_path / "journal").write_bytes(written[0] + written[1][:9] + written[1] + written[2])
    assert found(tmp_path, Checkpoint()).state == after(3)


def test_a_journal_that_does_not_read_back_whole_is_not_compacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("traders.journal.COMPACT_BYTES", 1)
    left_in(tmp_path, 1, 2, 3, 4)
    journal = Journal(tmp_path / "journal", first_number=0)
    journal.acknowledge(1)
    content = damaged(tmp_path, 3)
    with pytest.raises(JournalLost, match="damaged at byte"):
        journal.compact(after(4))
    assert (tmp_path / "journal").read_bytes() == content


@given(above=st.integers(0, 12), numbers=st.sets(st.integers(1, 12)))
def test_what_is_missing_is_all_between_that_is_not_there(above: int, numbers: set[int]) -> None:
    missing = {number for first, last in gaps(above, lines(*sorted(numbers))) for number in range(first, last + 1)}
    assert missing == {number for number in range(above + 1, max(numbers, default=0)) if number not in numbers}
