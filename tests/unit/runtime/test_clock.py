from __future__ import annotations

import pytest

from kalshimm.runtime.clock import ManualClock, StepWatch

NOW = 1_795_337_400_000_000


@pytest.mark.parametrize("step_s", [-3_600, -1, 1, 300])
def test_E2_a_wall_clock_that_is_set_is_noticed_once(step_s: int) -> None:
    clock = ManualClock(NOW)
    steps = StepWatch(clock)
    clock.advance_us(250_000)
    clock.set_wall_us(clock.wall_us() + step_s * 1_000_000)
    assert steps.take_step_s() == pytest.approx(step_s)
    clock.advance_us(250_000)
    assert steps.take_step_s() == 0.0


def test_E2_a_clock_that_drifts_is_not_set() -> None:
    clock = ManualClock(NOW)
    steps = StepWatch(clock)
    for _ in range(4_000):
        clock.advance_us(250_000)
        clock.set_wall_us(clock.wall_us() + 125)  # the most that a clock is slewed: half a thousandth
        assert steps.take_step_s() == 0.0
