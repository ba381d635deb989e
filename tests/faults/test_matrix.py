"""The rows of faults.md that the feed answers for, counted: each has a test that carries its name."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"^\s*(?:async )?def test_((?:[A-Z]\d+_)+)", re.MULTILINE)
# Parts A, B and D as far as gateway, writer and readers go; their order side comes with engine and fleet.
ROWS = {
    *(f"A{n}" for n in range(10, 14)),
    *(f"B{n}" for n in range(1, 15)),
    *(f"D{n}" for n in (*range(1, 9), *range(10, 15))),
}


def rows_of(folder: Path) -> set[str]:
    """Return the IDs that names of tests in a folder carry."""
    texts = (path.read_text() for path in folder.rglob("test_*.py"))
    return {row for text in texts for names in NAMED.findall(text) for row in names.split("_") if row}


def test_every_row_of_the_feed_has_a_test_through_the_real_processes() -> None:
    assert sorted(ROWS - rows_of(TESTS / "faults")) == []
