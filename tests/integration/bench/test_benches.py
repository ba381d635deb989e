"""The benches from end to end, as short as they can be: what they print. No figure is judged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from kalshimm.settings import BASE_DIR
from tests.fixtures.stack import eventually

REPORT = {
    *("bench", "figure", "unit", "against", "reference", "ratio", "floor", "aim", "judged", "verdict", "void"),
    *("name", "spread", "against_spread", "others", "rounds", "discarded", "cpus_busy"),
}


def run(manage: Any, name: str, *options: str, deadline_s: float = 60.0) -> dict[str, Any]:
    result = manage("bench", name, "--rounds", "1", "--seconds", "0.05", "--json", *options, deadline_s=deadline_s)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    assert report.keys() == REPORT
    assert report["bench"] == name
    assert report["figure"] > 0
    assert report["against"] > 0
    return report


def test_books_are_measured_against_typed_decode(manage: Any) -> None:
    report = run(manage, "books")
    assert (report["floor"], report["aim"], report["judged"]) == (0.35, 0.43, "ratio")
    assert report["rounds"][0]["more"]["json_loads_per_cpu_s"] > 0


def test_decisions_are_measured_beside_typed_decode(manage: Any) -> None:
    report = run(manage, "engine")
    assert (report["floor"], report["aim"], report["judged"]) == (20_000, 60_000, "figure at 2.0 M/s typed decode")
    assert [one["name"] for one in report["others"]] == ["where both quotes rest", "with lifetimes", "with trades"]
    assert {one["floor"] for one in report["others"]} == {20_000}
    more = report["rounds"][0]["more"]
    assert more.keys() == {
        *("quoting_part", "quoting_per_cpu_s", "is_recorded"),
        *("lifetimes_quoting_part", "lifetimes_per_cpu_s", "trades_quoting_part", "trades_per_cpu_s"),
    }


@pytest.mark.long
def test_the_gateway_is_measured_against_its_path_without_a_socket(manage: Any) -> None:
    report = run(manage, "gateway")
    assert (report["floor"], report["aim"], report["judged"]) == (0.6, 0.8, "ratio")
    (reconnect,) = report["others"]
    assert (reconnect["name"], reconnect["floor"], reconnect["aim"]) == ("reconnect", 15, 5)
    assert reconnect["figure"] > 0
    assert report["rounds"][0]["more"]["messages_a_batch"] >= 1


@pytest.mark.long
def test_latency_is_measured_against_a_bare_socketpair(manage: Any) -> None:
    report = run(manage, "latency")
    assert (report["floor"], report["aim"], report["judged"]) == (5, 3, "ratio")
    (faster,) = report["others"]
    assert faster["name"] == "latency at 5,000 messages/s"
    (one,) = report["rounds"]
    for rate in (1_000, 5_000):
        for way in ("", "floor_"):
            p50, p90, p99 = (one["more"][f"{way}p{part}_us_at_{rate}"] for part in (50, 90, 99))
            assert 0 < p50 <= p90 <= p99


@pytest.mark.long
def test_orders_are_timed_from_the_move_that_they_answer(manage: Any) -> None:
    report = run(manage, "tick_to_order", deadline_s=110)
    assert (report["floor"], report["aim"], report["judged"]) == (3, 2, "ratio")
    (written,) = report["others"]
    assert (written["name"], written["floor"], written["aim"]) == ("journal written", 3, 2)
    (one,) = report["rounds"]
    for way in ("", "written_", "direct_"):
        p50, p90, p99 = (one["more"][f"{way}p{part}_us"] for part in (50, 90, 99))
        assert 0 < p50 <= p90 <= p99
    assert one["more"]["missed_part"] < 1
    assert one["more"]["sync_p50_us"] > 0


@pytest.mark.long
def test_a_sustained_rate_is_played_through_the_real_processes(manage: Any) -> None:
    report = run(manage, "sustained", "--rate", "2000", deadline_s=110)
    assert (report["floor"], report["aim"], report["judged"]) == (20_000, 50_000, "figure at 2.0 M/s typed decode")
    more = report["rounds"][0]["more"]
    assert {"gateway_cpus", "writer_cpus", "trader_3_cpus", "blaster_share_of_cpu", "writer_behind_s"} <= more.keys()


def of_home(home: Path) -> list[psutil.Process]:
    """Return the living processes that belong to a throw-away home below `home`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), process.environ().get("KALSHIMM_HOME", "")]
            if process.status() != psutil.STATUS_ZOMBIE and any(str(home) in word for word in words):
                found.append(process)
    return found


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_bench_that_is_ended_leaves_neither_process_nor_folder(number: signal.Signals, tmp_path: Path) -> None:
    bench = subprocess.Popen(
        [sys.executable, str(BASE_DIR / "manage.py"), "bench", "gateway", "--seconds", "0.1", "--rounds", "1000"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: len(of_home(tmp_path)) >= 2, "blaster and gateway run", within_s=60)
        bench.send_signal(number)
        assert bench.wait(30) == 128 + number
    finally:
        bench.kill()
    assert of_home(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_fleet_is_measured_by_the_age_of_its_beats(manage: Any) -> None:
    report = run(manage, "fleet", "--rate", "2")
    assert (report["figure"], report["floor"], report["aim"]) == (2, 60, 150)
    more = report["rounds"][0]["more"]
    assert 0 < more["oldest_beat_s"] <= 3
    assert more["pss_mib"] > 0
