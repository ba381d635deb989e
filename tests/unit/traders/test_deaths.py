"""A process that ends wakes who watches it, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kalshimm.runtime.process import ProcessIdentity
from traders.deaths import Deaths

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="pid handles are Linux's")


class Sleeper:
    """A process that does nothing until it is killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        identity = ProcessIdentity.of(self._process.pid)
        assert identity is not None
        self.identity = identity

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def sleepers() -> Iterator[list[Sleeper]]:
    made = [Sleeper() for _ in range(2)]
    yield made
    for one in made:
        one.kill()


def handles() -> int:
    return sum("pidfd" in str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())


async def woken(deaths: Deaths) -> None:
    async with asyncio.timeout(5.0):
        await deaths.seen.wait()
    deaths.seen.clear()


async def test_A1_each_death_is_told_once(sleepers: list[Sleeper]) -> None:
    deaths = Deaths()
    deaths.watch([one.identity for one in sleepers])
    for one in sleepers:
        assert not deaths.seen.is_set()
        one.kill()
        await woken(deaths)
    deaths.close()


async def test_who_is_not_watched_any_more_wakes_nobody_and_leaves_no_handle(sleepers: list[Sleeper]) -> None:
    deaths, before = Deaths(), handles()
    first, second = sleepers
    deaths.watch([first.identity, second.identity])
    deaths.watch([second.identity])
    first.kill()
    second.kill()
    await woken(deaths)
    await asyncio.sleep(0)
    assert not deaths.seen.is_set()
    deaths.watch([ProcessIdentity.own()])
    assert handles() == before + 1
    deaths.close()
    assert handles() == before


async def test_who_has_ended_before_is_no_trouble(sleepers: list[Sleeper]) -> None:
    sleepers[0].kill()
    deaths = Deaths()
    deaths.watch([sleepers[0].identity])
    deaths.watch([])
    assert not deaths.seen.is_set()
