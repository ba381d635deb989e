from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from kalshimm.embedded import stores, valkey
from kalshimm.embedded.console import Console
from kalshimm.embedded.keeper import StoreKeeper
from kalshimm.embedded.launcher import Launcher
from kalshimm.embedded.processes import Choice, RunFile
from kalshimm.errors import NotReachable
from kalshimm.runtime.home import folder
from kalshimm.runtime.process import ProcessIdentity
from tests.fixtures.stack import eventually


def test_a_start_that_fails_ends_what_an_earlier_up_left(
    a_home: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port}/0")
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    identity = ProcessIdentity.of(left.pid)
    assert identity is not None
    folder(a_home, "run")
    RunFile("gateway", identity, (), "").write(a_home)
    traders_of: list[Path] = []

    def stop_traders(home_folder: Path, seconds: float) -> list[int]:
        traders_of.append(home_folder)
        return []

    choice = Choice(home=a_home, port=free_port, environment="local")
    with pytest.raises(NotReachable, match="Redis does not answer"):
        Launcher(choice, Console(io.StringIO()), stop_traders=stop_traders).run()
    eventually(lambda: left.poll() is not None, "the worker was ended")
    assert traders_of == [a_home]
    assert not RunFile.path(a_home, "gateway").exists()


@pytest.fixture
def in_use(a_home: Path, monkeypatch: pytest.MonkeyPatch) -> stores.Stores:
    return used_by_an_up(a_home, monkeypatch)


def used_by_an_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> stores.Stores:
    """Return a home's stores as an `up` uses them, with their addresses in the environment."""
    running = stores.ensure(home, lasting=True, durable=False)
    monkeypatch.setenv("DATABASE_URL", running.addresses.database_url)
    monkeypatch.setenv("REDIS_URL", running.addresses.redis_url)
    return running


@pytest.fixture
def said() -> list[tuple[str, str, bool]]:
    return []


@pytest.fixture
def keeper(in_use: stores.Stores, said: list[tuple[str, str, bool]]) -> StoreKeeper:
    return StoreKeeper(in_use, lambda *told: said.append(told))


def kill_valkey(home: Path, kill: Callable[[psutil.Process], None] = psutil.Process.kill) -> None:
    known = valkey._known(home / "valkey")
    assert known is not None
    kill(psutil.Process(known.identity.pid))
    eventually(lambda: not known.identity.lives(), "it died")


def test_a_dead_store_is_started_again(
    a_home: Path, keeper: StoreKeeper, said: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.look()
    assert said == []
    kill_valkey(a_home)
    eventually(lambda: keeper.look() or len(said) == 2, "its return is said")
    assert said == [("valkey", "died, starting it again", True), ("valkey", "runs again", False)]
    assert valkey.lives(a_home)


def test_a_stop_does_not_wait_for_a_store_that_is_coming_back(
    a_home: Path, keeper: StoreKeeper, in_use: stores.Stores
) -> None:
    kill_valkey(a_home)
    with stores._starting(a_home).held(within_s=1.0):  # somebody else's command has it for long
        keeper.look()
        keeper.stop()
    assert not [p for p in psutil.process_iter(["cmdline"]) if "kalshimm.embedded.revival" in (p.info["cmdline"] or ())]
    in_use.release()
    assert not valkey.lives(a_home)


def test_a_store_whose_port_is_taken_is_said_once_and_comes_back_when_it_is_free(
    a_home: Path, said: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kalshimm.embedded.keeper.AGAIN_AFTER_S", 0.0)
    home = a_home / ("x" * 100)  # too long for a socket file: it is known by its port
    keeper = StoreKeeper(used_by_an_up(home, monkeypatch), lambda *told: said.append(told))
    known = valkey._known(home / "valkey")
    assert known is not None
    kill_valkey(home)
    stranger = subprocess.Popen(
        [sys.executable, "-c", SQUAT, str(known.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == b"mine\n"
        eventually(lambda: keeper.look() or len(said) == 2, "what is wrong is said")
        name, text, is_trouble = said[1]
        assert (name, is_trouble) == ("valkey", True)
        assert f"its port {known.port} is used by somebody else" in text
    eventually(lambda: keeper.look() or ("valkey", "runs again", False) in said, "it is back")
    assert len(said) == 3
    again = valkey._known(home / "valkey")
    assert again is not None
    assert again.url == known.url


SQUAT = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("mine", flush=True)
    sys.stdin.read()
"""
