from __future__ import annotations

import time

import pytest

from kalshimm.runtime.clock import ManualClock, SteadyClock, SystemClock

NOW = 1_795_337_400_000_000
STEPS_US = [-3_600_000_000, -1_000, 300_000_000]


@pytest.mark.parametrize("step_us", STEPS_US)
def test_E2_a_wall_clock_that_is_set_leaves_ages_as_they_are(step_us: int) -> None:
    clock = ManualClock(NOW)
    clock.advance_us(77_000_000)
    steady = SteadyClock(clock)
    began_us = steady.now_us()
    assert began_us == clock.wall_us()
    clock.advance_us(250_000)
    clock.set_wall_us(clock.wall_us() + step_us)
    clock.advance_us(250_000)
    assert steady.now_us() - began_us == 500_000
    assert steady.now_us() + steady.wall_ahead_us() == clock.wall_us()
    assert steady.wall_ahead_us() == step_us


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="only Linux has a second clock that leaves sleep out")
def test_A4_time_that_the_machine_was_asleep_counts() -> None:
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)
