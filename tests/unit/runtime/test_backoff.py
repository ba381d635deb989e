from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kalshimm.runtime.backoff import delay_s


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_it_waits_between_half_and_all_of_a_bounded_time(attempt: int, jitter: float) -> None:
    wait = delay_s(attempt, first_s=0.5, most_s=30.0, jitter=jitter)
    assert 0.25 <= wait <= 30.0


def test_it_doubles() -> None:
    waits = [delay_s(n, first_s=0.5, most_s=30.0, jitter=0.0) for n in (1, 2, 3)]
    assert waits == [0.5, 1.0, 2.0]


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        delay_s(0, first_s=0.5, most_s=30.0, jitter=0.0)
