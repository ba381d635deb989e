"""`manage.py bench faults` from end to end: counts are nothing, every bar has its samples; times are printed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_benches import of_home

from kalshimm.settings import BASE_DIR
from tests.fixtures.stack import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

COUNTS = ("duplicates", "orphans", "breaches", "dry_run_writes", "limited")
DEADLINE_S = 540.0
OWN_STORES = {"DATABASE_URL": None, "REDIS_URL": None}  # others look for what benches leave in the tests' own server


def measured(manage: Callable[..., Any], runs: int, *bars: str) -> dict[str, Any]:
    """Measure these bars so many times, print what came of it, and return what is said of each."""
    argv = ("bench", "faults", "--runs", str(runs), "--json", "--only", *bars)
    done = manage(*argv, env=OWN_STORES, deadline_s=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    document: dict[str, Any] = json.loads(line)
    assert (document["bench"], document["runs"]) == ("faults", runs)
    told = {bar["name"]: bar for bar in document["bars"]}
    assert told.keys() == set(bars)
    for bar in told.values():
        print(f"{bar['what']}: {bar['value']:g} {bar['unit']} ({bar['judged']}), p50 {bar['p50']}, {bar['verdict']}")
    print(document["conditions"])
    return told


def test_what_takes_under_three_seconds_is_measured_twenty_times(manage: Callable[..., Any]) -> None:
    told = measured(manage, 20, "gap_invalid", "gap_valid")
    for name in ("gap_invalid", "gap_valid"):
        assert len(told[name]["samples"]) == 20
        assert all(sample > 0 for sample in told[name]["samples"])
        assert told[name]["judged"] == "p95 of 20"
    for distrusted, trusted in zip(told["gap_invalid"]["samples"], told["gap_valid"]["samples"], strict=True):
        assert distrusted <= trusted


def test_what_takes_longer_is_measured_three_times_and_nothing_is_doubled_orphaned_or_over_a_limit(
    manage: Callable[..., Any],
) -> None:
    times = (
        "cut_pulled",
        "kill_last_create",
        "death_seen",
        "death_quoting",
        "frozen_pulled",
        "adoption",
        "kill_start",
        "kill_command",
    )
    told = measured(manage, 3, *COUNTS, *times)
    assert {name: told[name]["value"] for name in COUNTS} == dict.fromkeys(COUNTS, 0)
    assert {name: len(told[name]["samples"]) for name in times} == dict.fromkeys(times, 3)
    for seen_ms, quoting_s in zip(told["death_seen"]["samples"], told["death_quoting"]["samples"], strict=True):
        assert 0 <= seen_ms <= quoting_s * 1_000


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder in which a socket's path is not too long."""
    path = Path(tempfile.mkdtemp(prefix="kmm-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_that_is_ended_leaves_neither_process_nor_folder(number: signal.Signals, short_folder: Path) -> None:
    argv = ["bench", "faults", "--runs", "1000", "--only", "gap_invalid"]
    bench = subprocess.Popen(
        [sys.executable, str(BASE_DIR / "manage.py"), *argv],
        env={name: value for name, value in os.environ.items() if name not in OWN_STORES}
        | {"TMPDIR": str(short_folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: list(short_folder.glob("*/traders/*/process.json")) != [], "a trader runs", within_s=120)
        bench.send_signal(number)
        assert bench.wait(60) == 128 + number
    finally:
        bench.kill()
    assert of_home(short_folder) == []
    assert list(short_folder.iterdir()) == []
