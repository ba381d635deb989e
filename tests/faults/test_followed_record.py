"""A soak writes so much that journals are compacted between two looks: no line of them may be missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from feed.schema import VERSION, JournalEntry, StateChange
from tests.faults.records import FollowedRecord
from traders import journal
from traders.journal import Checkpoint, Journal


def write(book: Journal, count: int) -> None:
    for _ in range(count):
        number = book.last_number + 1
        book.append(JournalEntry(VERSION, 1, number, number, "local", "live", "KXA-1", StateChange("quoting", "")))


def compact(book: Journal) -> None:
    """Take everything out of the file, as when the database has it all."""
    book.acknowledge(book.last_number)
    book.compact(Checkpoint(number=book.last_number))


def numbers(record: FollowedRecord) -> list[int]:
    return [line.number for line in record.read().lines]


def test_lines_that_were_compacted_away_before_the_next_look_are_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "COMPACT_BYTES", 1)
    path = tmp_path / "journal"
    record = FollowedRecord(path)
    assert numbers(record) == []
    book = Journal(path, first_number=0)
    write(book, 3)
    assert numbers(record) == [1, 2, 3]
    write(book, 2)
    compact(book)
    write(book, 1)
    assert numbers(record) == [1, 2, 3, 4, 5, 6]
    assert path.stat().st_size < 200, "it was compacted"


def test_a_line_that_is_half_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = Journal(path, first_number=0)
    write(book, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    record = FollowedRecord(path)
    assert numbers(record) == [1]
    with path.open("ab") as file:
        file.write(whole[-3:])
    assert numbers(record) == [1, 2]


def test_a_line_that_a_crash_has_torn_is_not_a_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    book = Journal(path, first_number=0)
    write(book, 2)
    with path.open("ab") as file:
        file.write(b"\x40\x00\x00")
    record = FollowedRecord(path)
    assert numbers(record) == [1, 2]
    write(Journal(path, first_number=0), 1)  # the next process cuts it off
    assert numbers(record) == [1, 2, 3]
