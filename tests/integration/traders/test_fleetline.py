"""Who is silent, as the supervisor hears it: nobody, for as long as Redis is away and for a beat's life after it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kalshimm.runtime import streams
from kalshimm.runtime.clock import ManualClock
from tests.faults.log import FaultLog
from tests.faults.processes import PrivateValkey
from traders.fleetline import SILENT_US, FleetLine

SECOND_US = 1_000_000
BEYOND_BACK_OFF_US = 60 * SECOND_US
TRADERS = [7]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PrivateValkey]:
    store = PrivateValkey(tmp_path, FaultLog())
    yield store
    store.close()


async def test_D1_who_could_not_beat_while_redis_was_away_has_a_beats_life_from_its_return(
    store: PrivateValkey,
) -> None:
    client, clock = streams.connect(store.url), ManualClock(wall_us=1_000 * SECOND_US)
    line, heard_us = FleetLine(client, clock), clock.wall_us()
    await line.listen(TRADERS)
    store.kill()
    clock.advance_us(SILENT_US + SECOND_US)
    await line.listen(TRADERS)
    assert not line.is_silent(heard_us), "nobody can be heard"
    store.start()
    clock.advance_us(BEYOND_BACK_OFF_US)
    await line.listen(TRADERS)
    back_us = clock.wall_us()
    assert not line.is_silent(heard_us), "it had no time to beat yet"
    assert line.silent_since_us(heard_us) == back_us
    clock.advance_us(SILENT_US - 1)
    await line.listen(TRADERS)
    assert not line.is_silent(heard_us)
    clock.advance_us(1)
    assert not line.is_silent(heard_us), "only by what was read"
    await line.listen(TRADERS)
    assert line.is_silent(heard_us), "it had"
    assert not line.is_silent(clock.wall_us()), "unless it was heard since"
    await client.aclose()


async def test_A4_who_does_not_beat_while_redis_answers_is_silent_after_a_beats_life(store: PrivateValkey) -> None:
    client, clock = streams.connect(store.url), ManualClock(wall_us=1_000 * SECOND_US)
    line, heard_us = FleetLine(client, clock), clock.wall_us()
    clock.advance_us(SILENT_US)
    await line.listen(TRADERS)
    assert line.is_silent(heard_us)
    assert line.silent_since_us(heard_us) == heard_us
    await client.aclose()
