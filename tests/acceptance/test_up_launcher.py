"""One running stack, looked at from outside; the tests stand in the order in which they wear it down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from kalshimm.embedded import postgres
from tests.fixtures.stack import NAMES, ROOT, Stack, eventually


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    running = Stack()
    try:
        running.start_detached()
        yield running
    finally:
        running.close()


@pytest.fixture
def idle() -> Iterator[Stack]:
    """A home on which nothing runs."""
    unused = Stack()
    yield unused
    unused.close()


def test_it_serves_and_logs_in_with_the_link_once(stack: Stack) -> None:
    told = stack.announced()
    assert told is not None
    with urllib.request.urlopen(f"{stack.url}/healthz") as answer:
        assert answer.status == 200
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(str(told["login_url"])) as page:
        assert page.url == f"{stack.url}/"
    with pytest.raises(urllib.error.HTTPError, match="410"):
        browser.open(str(told["login_url"]))


def test_health_finds_every_part_alive(stack: Stack) -> None:
    done = stack.manage("health", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (0, True)
    names = {service["name"].split()[0] for service in told["services"]}
    assert names >= {
        "database",
        "redis",
        "gateway",
        "desk",
        "writer",
        "supervisor",
        "spawner",
        "celery",
        "web",
        "trader",
    }


def test_A16_the_account_desk_is_live_and_a_second_one_is_refused(stack: Stack) -> None:
    def is_live() -> bool:
        told = json.loads(stack.manage("health", "--json").stdout)
        return any(service["name"].split()[0] == "desk" and service["state"] == "live" for service in told["services"])

    eventually(is_live, "the desk has its channels and its reads")
    done = stack.manage("desk")
    assert done.returncode == 1
    assert f"process {stack.part('desk').identity.pid}" in done.stderr


def test_a_second_copy_on_one_home_is_refused_with_the_pid_of_the_first(stack: Stack) -> None:
    told = stack.announced()
    assert told is not None
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = str(other.getsockname()[1])
    done = stack.manage("up", "--port", free)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"process {told['pid']}" in done.stderr


def test_a_port_in_use_is_refused_before_anything_starts(stack: Stack, idle: Stack) -> None:
    done = idle.manage("up", "--port", str(stack.port))
    assert done.returncode == 1
    assert done.stderr == f"Port {stack.port} is in use; free it or choose another with --port or KALSHIMM_PORT.\n"
    assert_nothing_was_started(idle)


def test_a_real_exchange_without_a_key_is_refused_before_anything_starts(idle: Stack) -> None:
    done = idle.manage("up", "--exchange", "demo")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "KALSHI_KEY_ID" in done.stderr
    assert "KALSHI_PRIVATE_KEY_PATH" in done.stderr
    assert_nothing_was_started(idle)


def test_a_missing_recording_is_a_usage_error(idle: Stack) -> None:
    done = idle.manage("up", "--replay", "/nowhere/at/all.ndjson")
    assert done.returncode == 2
    assert "/nowhere/at/all.ndjson does not exist" in done.stderr
    assert_nothing_was_started(idle)


def test_a_broken_recording_is_said_in_a_sentence_and_leaves_nothing(idle: Stack, tmp_path: Path) -> None:
    recording = tmp_path / "cut.ndjson"
    recording.write_text('{"type":"orderbook_snap')
    done = idle.manage("up", "--replay", str(recording))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"exchange failed: {recording}, line 1: expected one JSON object")
    assert not idle.processes()


def test_a_given_store_that_does_not_answer_is_said_before_anything_starts(idle: Stack, free_port: int) -> None:
    environment = idle.environment | {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "check REDIS_URL" in done.stderr.splitlines()[-1]
    assert not idle.processes()


def test_two_copies_with_homes_and_ports_of_their_own_run_side_by_side(stack: Stack, idle: Stack) -> None:
    idle.start_detached("--no-demo")
    for running in (stack, idle):
        with urllib.request.urlopen(f"{running.url}/healthz") as answer:
            assert answer.status == 200
    assert idle.rows("SELECT count(*) FROM traders_trader") == [(0,)]
    assert stack.rows("SELECT count(*) FROM traders_trader") != [(0,)]
    assert idle.manage("down").returncode == 0
    assert idle.processes() == []
    assert stack.manage("health", "--json").returncode == 0


def test_a_killed_part_is_started_again_and_said(stack: Stack) -> None:
    killed = stack.part("writer").identity
    os.kill(killed.pid, signal.SIGKILL)
    eventually(
        lambda: "writer     died with SIGKILL, again in 0.5 s (attempt 1)" in stack.output(), "its death is said"
    )
    eventually(lambda: stack.part("writer").identity != killed, "another writer runs")


def test_a_killed_valkey_comes_back_at_its_address(stack: Stack) -> None:
    kept = stack.home / "valkey" / "server.json"
    killed = json.loads(kept.read_bytes())
    os.kill(killed["identity"]["pid"], signal.SIGKILL)
    eventually(lambda: "valkey     runs again" in stack.output(), "its return is said")
    assert json.loads(kept.read_bytes())["port"] == killed["port"]
    eventually(lambda: stack.manage("health", "--json").returncode == 0, "every worker found it again")


def test_after_a_killed_launcher_up_reuses_what_still_runs(stack: Stack) -> None:
    told = stack.announced()
    assert told is not None
    before = {name: stack.part(name).identity for name in NAMES}
    os.kill(int(str(told["pid"])), signal.SIGKILL)
    (stack.home / "run" / "up.json").unlink()  # to see the next one's
    assert all(identity.lives() for identity in before.values())
    stack.start()
    assert {name: stack.part(name).identity for name in NAMES} == before, stack.output()
    assert stack.output().count("still runs") == len(NAMES) + 2


def test_ctrl_c_stops_everything_within_ten_seconds_and_leaves_no_process(stack: Stack) -> None:
    assert stack.interrupt() == 0, stack.output()
    assert "up         all stopped in " in stack.output()
    assert stack.processes() == []
    assert not postgres.lives(stack.home)
    assert not list((stack.home / "run").glob("*.json"))


def assert_nothing_was_started(stack: Stack) -> None:
    assert stack.processes() == []
    assert not (stack.home / "valkey").exists()
    assert not (stack.home / "postgres").exists()
