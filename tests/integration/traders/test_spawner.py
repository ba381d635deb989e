from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from traderworld import ROOT, HandMadeMarket, Watcher, Workers

from kalshimm.errors import NotReachable
from markets.core.grid import PriceRange
from tests.fixtures.stack import eventually
from traders import spawner
from traders.core.facts import MarketFacts
from traders.core.pipeline import Choice, StrategyChoices
from traders.processes import living, read_ended, read_running, stop_all, trader_folder
from traders.start import Start, write_start

HOUR_US = 3_600_000_000
PEER_MIB = 284


def a_start(home: Path, redis_url: str, *, trader: int = 1, closes_in_us: int = HOUR_US, mode: str = "dry-run") -> None:
    """Write what the supervisor would."""
    start = Start(
        trader=trader,
        name=f"trader-{trader}",
        instance="instance",
        ticker="HAND-1",
        mode=mode,
        account="paper",
        strategies=StrategyChoices(Choice("join_best")),
        limits={},
        facts=MarketFacts((PriceRange(0, 10_000, 100),), time.time_ns() // 1_000 + closes_in_us),
        redis_url=redis_url,
    )
    write_start(trader_folder(home, trader), start)


def descriptors(pid: int) -> dict[int, str]:
    """Return what a process holds open, by descriptor, in the kernel's names."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(link.name)] = str(link.readlink())
        except FileNotFoundError:
            continue
    return found


def of_its_own(pid: int) -> set[str]:
    """Return what a process holds beyond input, output and errors."""
    return {name for descriptor, name in descriptors(pid).items() if descriptor > 2}


def spawn(home: Path, trader: int = 1) -> int:
    answer = spawner.ask(home, spawner.Request(spawn=trader))
    assert "pid" in answer, answer
    return int(answer["pid"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_spawned_trader_has_nothing_of_the_spawners_and_is_nobodys_child(
    workers: Workers, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    process = workers.spawner()
    held = of_its_own(process.pid)
    assert len([name for name in held if name.startswith("socket:")]) == 1, "the spawner opens no socket but its own"
    assert [name for name in held if name.startswith("anon_inode:")] == [], "nor an event loop"
    assert psutil.Process(process.pid).num_threads() == 1
    a_start(workers.home, redis_url)
    market.start()
    pid = spawn(workers.home)
    eventually(lambda: watcher.is_quoting(1), "the trader quotes")
    theirs = set(descriptors(process.pid).values()) - {os.devnull}  # a name that says nothing of who opened it
    assert held <= theirs
    assert of_its_own(pid).isdisjoint(theirs)
    assert descriptors(pid)[0] == os.devnull
    assert {descriptors(pid)[1], descriptors(pid)[2]} == {str(trader_folder(workers.home, 1) / "log")}
    assert psutil.Process(process.pid).num_threads() == 1, "still: the next fork copies no other"
    assert psutil.Process(pid).ppid() != process.pid
    assert os.getsid(pid) not in (os.getsid(process.pid), process.pid)
    assert psutil.Process(pid).cmdline()[0] == "manage.py trader 1"


def test_a_trader_outlives_the_spawner_and_stop_all_ends_it_cleanly(
    workers: Workers, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    process = workers.spawner()
    a_start(workers.home, redis_url)
    market.start()
    pid = spawn(workers.home)
    eventually(lambda: watcher.is_quoting(1), "the trader quotes")
    process.terminate()
    assert process.wait(10) == 0
    assert living(workers.home)[1].pid == pid
    assert stop_all(workers.home, 10.0) == []
    assert living(workers.home) == {}
    ended = read_ended(trader_folder(workers.home, 1))
    assert ended is not None
    assert (ended.code, ended.state, ended.instance) == (0, "stopped", "instance")
    statuses = [entry.body for entry in watcher.journal(1)][-4:]
    assert [getattr(body, "state", getattr(body, "status", "")) for body in statuses] == [
        "draining",
        "canceled",
        "canceled",
        "stopped",
    ]


def test_the_preload_loads_everything_a_trader_imports(home: Path, redis_url: str, market: HandMadeMarket) -> None:
    """A module imported after the fork costs every trader its own memory and time."""
    a_start(home, redis_url, closes_in_us=1_500_000)
    market.start()
    script = (
        "import sys, gc, pathlib\n"
        "from traders import spawner, process\n"
        "spawner.preload()\n"
        "loaded = set(sys.modules)\n"
        "assert gc.get_freeze_count() > 50_000, gc.get_freeze_count()\n"
        "try:\n"
        f"    process.main(pathlib.Path({str(home)!r}), 1)\n"
        "finally:\n"
        "    print(sorted(set(sys.modules) - loaded))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "kalshimm.settings"},
        cwd=Path(__file__).resolve().parents[3],
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    ended = read_ended(trader_folder(home, 1))
    assert ended is not None
    assert (ended.code, ended.reason) == (0, "market closed")


def test_a_second_spawner_on_one_home_refuses_with_the_pid_of_the_first(workers: Workers) -> None:
    first = workers.spawner()
    second = workers.start("spawner")
    assert second.wait(30) == 1
    assert f"process {first.pid}" in workers.output("spawner")
    assert first.poll() is None


def test_a_second_process_of_one_trader_refuses_and_touches_nothing(
    workers: Workers, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    workers.spawner()
    a_start(workers.home, redis_url)
    market.start()
    pid = spawn(workers.home)
    eventually(lambda: watcher.is_quoting(1), "the trader quotes")
    second = workers.start("trader", "1")
    assert second.wait(30) == 1
    assert f"process {pid}" in workers.output("trader")
    running = read_running(trader_folder(workers.home, 1))
    assert running is not None
    assert running.identity.pid == pid
    assert read_ended(trader_folder(workers.home, 1)) is None


def test_G2_a_live_trader_whose_start_file_gives_it_no_lease_is_refused(workers: Workers, redis_url: str) -> None:
    a_start(workers.home, redis_url, mode="live")
    process = workers.start("trader", "1")
    assert process.wait(30) == 1
    ended = read_ended(trader_folder(workers.home, 1))
    assert ended is not None
    assert (ended.state, ended.code) == ("failed", 1)
    assert "is set to live, and its start file says otherwise" in ended.reason


def test_when_the_spawner_answers_the_trader_can_be_found(
    workers: Workers, redis_url: str, market: HandMadeMarket
) -> None:
    """Else whoever stops all traders of a home would miss one that was forked a moment ago."""
    workers.spawner()
    a_start(workers.home, redis_url)
    pid = spawn(workers.home)
    assert living(workers.home)[1].pid == pid


def test_a_child_that_ends_before_it_begins_is_told_as_such(workers: Workers) -> None:
    workers.spawner()
    answer = spawner.ask(workers.home, spawner.Request(spawn=1))
    assert answer == {"ended": "it ended before it began; see its log"}
    assert "start.json is missing" in (trader_folder(workers.home, 1) / "log").read_text()


ENDS_ITSELF = """
import asyncio, pathlib, sys
import django
django.setup()
from traders import process

async def decide():
    sys.exit("enough")

async def trade(*_):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(decide())
    return "asked to stop"

process._trade = trade
process.main(pathlib.Path(sys.argv[1]), 1)
"""


def test_A6_a_strategy_that_ends_the_process_has_not_ended_it_in_order(home: Path, redis_url: str) -> None:
    """Else whoever looks would start it again and again, as one that was asked to stop."""
    a_start(home, redis_url)
    settings = os.environ | {"DJANGO_SETTINGS_MODULE": "kalshimm.settings"}
    done = subprocess.run([sys.executable, "-c", ENDS_ITSELF, str(home)], env=settings, cwd=ROOT, check=False)
    assert done.returncode == 1
    ended = read_ended(trader_folder(home, 1))
    assert ended is not None
    assert (ended.code, ended.state, ended.reason) == (1, "failed", "SystemExit: enough")


def test_the_socket_has_its_name_only_once_somebody_listens(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saw it before, as where a killed spawner's lay, would be refused."""
    path = spawner.socket_path(workers.home)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    named: list[bool] = []
    listen = socket.socket.listen

    def look_and_listen(listener: socket.socket, backlog: int) -> None:
        named.append(path.is_socket())
        listen(listener, backlog)

    monkeypatch.setattr(socket.socket, "listen", look_and_listen)
    with spawner._listen(path):
        assert named == [False]
        assert path.is_socket()


def test_a_home_too_deep_for_a_socket_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(spawner.SocketPathTooLong, match="KALSHIMM_HOME"):
        spawner.socket_path(tmp_path / ("x" * 90))


def test_without_a_spawner_asking_it_says_what_to_start(home: Path) -> None:
    with pytest.raises(NotReachable, match=r"manage\.py spawner"):
        spawner.ask(home, spawner.Request(ping=True))


def test_a_request_it_does_not_know_is_answered_with_an_error_and_it_goes_on(workers: Workers) -> None:
    process = workers.spawner()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(spawner.socket_path(workers.home)))
        client.sendall(b'{"spwan": 1}\n')
        assert b"error" in client.recv(4_096)
    assert spawner.ask(workers.home, spawner.Request(ping=True))["pid"] == process.pid


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_idle_paper_trader_takes_an_eighth_of_what_a_peers_modules_take(
    workers: Workers, redis_url: str, market: HandMadeMarket, watcher: Watcher
) -> None:
    """284 MiB are the modules alone of a well-known bot (freqtrade); the aim is a fifteenth of it."""
    workers.spawner()
    market.start()
    pids = []
    for trader in (1, 2, 3):
        a_start(workers.home, redis_url, trader=trader)
        pids.append(spawn(workers.home, trader))
    for trader in (1, 2, 3):
        eventually(lambda trader=trader: watcher.is_quoting(trader), "the trader quotes")
    own_mib = [psutil.Process(pid).memory_full_info().pss / (1 << 20) for pid in pids]
    print(f"PSS of idle paper traders: {', '.join(f'{mib:.1f}' for mib in own_mib)} MiB; floor 35.5, aim 18.9")
    assert max(own_mib) < PEER_MIB / 8
