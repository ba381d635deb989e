"""What is due when a blaster plays at a rate: how much is given, and in what parts. No test looks at a clock."""

from __future__ import annotations

import pytest

from kalshimm.bench.blaster import CHUNK_FRAMES, due


@pytest.mark.parametrize("rate", [0.0, 50_000.0, 1e9])
@pytest.mark.parametrize("step_s", [0.0, 0.001])
def test_all_of_it_becomes_due_in_parts_of_one_write(rate: float, step_s: float) -> None:
    parts = list(due(1_234, rate, step_s))
    assert sum(parts) == 1_234
    assert 0 < min(parts) <= max(parts) <= CHUNK_FRAMES


def test_flat_out_every_write_but_the_last_is_full() -> None:
    assert list(due(2 * CHUNK_FRAMES + 7, 0.0, 0.001)) == [CHUNK_FRAMES, CHUNK_FRAMES, 7]
