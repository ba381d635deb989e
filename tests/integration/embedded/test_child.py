from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kalshimm.embedded.child import Child, LogTail
from kalshimm.embedded.processes import Part, Proof, RunFile
from tests.fixtures.stack import eventually

WAITS = "import time; print('ready', flush=True); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS
MakeChild = Callable[[str], Child]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def make_child(tmp_path: Path, said: list[str]) -> Iterator[MakeChild]:
    (tmp_path / "run").mkdir()
    made: list[Child] = []

    def make(code: str) -> Child:
        child = Child(Part("worker", (sys.executable, "-c", code), Proof.BEAT, 1.0), tmp_path, said.append)
        made.append(child)
        return child

    yield make
    for child in made:
        child.stop(0.0)


def start(child: Child) -> None:
    child.start(os.environ, "digest")


def saw(child: Child, line: str) -> bool:
    return line in child.tail.lines()


def test_it_reads_what_the_process_writes(make_child: MakeChild) -> None:
    child = make_child(WAITS)
    start(child)
    eventually(lambda: saw(child, "ready"), "the line is read")


def test_it_says_how_a_process_died_and_starts_it_again(make_child: MakeChild, said: list[str]) -> None:
    child = make_child("import sys; sys.exit(3)")
    start(child)
    eventually(lambda: child.watch() or child.attempts == 2, "it died a second time")
    assert "died with exit 3, again in 0.5 s (attempt 1)" in said
    assert "died with exit 3, again in 1 s (attempt 2)" in said


def test_it_stops_a_process_that_listens(make_child: MakeChild, said: list[str]) -> None:
    child = make_child(WAITS)
    start(child)
    identity = child.identity
    eventually(lambda: saw(child, "ready"), "it runs")
    child.stop(5.0)
    assert identity is not None
    assert not identity.lives()
    assert not any("killed" in line for line in said)


def test_it_kills_a_process_that_does_not_listen(make_child: MakeChild, said: list[str]) -> None:
    child = make_child(STUBBORN)
    start(child)
    identity = child.identity
    eventually(lambda: saw(child, "ready"), "it runs")
    child.stop(0.1)
    assert identity is not None
    assert not identity.lives()
    assert any("killed" in line for line in said)


def test_it_forgets_a_stopped_process_and_remembers_a_running_one(make_child: MakeChild, tmp_path: Path) -> None:
    child = make_child(WAITS)
    start(child)
    found = RunFile.read(tmp_path, "worker")
    assert found is not None
    assert found.identity == child.identity
    child.stop(5.0)
    assert RunFile.read(tmp_path, "worker") is None


def test_an_adopted_process_is_followed_and_stopped_like_its_own(make_child: MakeChild, tmp_path: Path) -> None:
    first = make_child(WAITS)
    start(first)
    found = RunFile.read(tmp_path, "worker")
    assert found is not None
    second = make_child(WAITS)
    second.adopt(found, os.environ)
    second.watch()
    assert second.identity == first.identity
    first.stop(5.0)
    second.watch()
    assert second.attempts == 1


def test_a_tail_gives_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    tail = LogTail(path)
    with path.open("a") as file:
        file.write("one\ntw")
    assert tail.lines() == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert tail.lines() == ["two"]
