"""A12: the writer killed at every phase of a commit, and at moments of chance, under load.

`make test` kills it once at each named point; `make test-long` forty times; `WRITER_KILLS=200` says otherwise.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.writerground import POINTS, Ground, random_points

KILLS = int(os.environ.get("WRITER_KILLS", "40"))
SEED = 4_041
LIFE_MOST_S = 1.5  # of a writer that is killed at a moment of chance, from its first beat on


@pytest.fixture
def ground(tmp_path: Path, module_database: str) -> Iterator[Ground]:
    ground = Ground(tmp_path, module_database)
    yield ground
    ground.close()


def test_A12_killed_once_at_each_phase_of_a_commit_it_loses_and_doubles_nothing(ground: Ground) -> None:
    with ground.load:
        for point in POINTS:
            ground.start(crash=f"writer.{point}")
            ground.until_crashed(point)
    ground.start()
    ground.until_stored()
    assert ground.writer.stop() == 0
    ground.judge()
    assert ground.gaps() == []


@pytest.mark.long
@pytest.mark.timeout(60 + 30 * KILLS)
def test_A12_killed_many_times_at_random_phases_it_loses_and_doubles_nothing(ground: Ground) -> None:
    chance = random.Random(SEED)
    with ground.load:
        for crash in random_points(KILLS, SEED):
            ground.start(crash=crash)
            if crash:
                ground.until_crashed(crash)
            else:
                time.sleep(chance.uniform(0.0, LIFE_MOST_S))  # the fault itself: a moment that nobody chose
                ground.writer.kill()
    ground.start()
    ground.until_stored()
    assert ground.writer.stop() == 0
    assert len(ground.log.faults) == KILLS
    ground.judge()
    assert ground.gaps() == []
