"""The rows of faults.md that have a test through the real processes, counted: each carries its row's name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"^\s*(?:async )?def test_((?:[A-Z]\d+_)+)", re.MULTILINE)
# Part D as far as gateway, writer and readers go.
FEED = {
    *(f"B{n}" for n in range(1, 15)),
    *(f"D{n}" for n in (*range(1, 9), *range(10, 15))),
}
ORDERS = {
    *("B15", "B16", "I5", "I6", "I10"),
    *(f"C{n}" for n in range(1, 20)),
    *(f"F{n}" for n in range(1, 14)),
}
# Of parts D and E, as orders of live traders see them. Days are a matter of calendars, not of processes (E8).
STORES = {f"D{n}" for n in (*range(1, 5), *range(8, 14))}
HOST = {f"E{n}" for n in range(1, 7)}
FLEET = {*(f"A{n}" for n in range(1, 19)), "D9", "E7", "G1", "G2", "G3"}


def rows_of(folder: Path, names: str = "test_*.py") -> set[str]:
    """Return the IDs that names of tests in a folder carry."""
    texts = (path.read_text() for path in folder.rglob(names))
    return {row for text in texts for names in NAMED.findall(text) for row in names.split("_") if row}


@pytest.mark.parametrize("rows", [FEED, ORDERS, FLEET], ids=["feed", "orders", "fleet"])
def test_every_row_has_a_test_through_the_real_processes(rows: set[str]) -> None:
    assert sorted(rows - rows_of(TESTS / "faults")) == []


@pytest.mark.parametrize("rows", [STORES, HOST], ids=["stores", "host"])
def test_every_row_of_stores_and_host_has_a_test_on_orders_of_live_traders(rows: set[str]) -> None:
    assert sorted(rows - rows_of(TESTS / "faults", "test_live_*.py")) == []


def test_the_days_of_the_calendar_have_a_test_of_the_models() -> None:
    assert "E8" in rows_of(TESTS / "unit")
