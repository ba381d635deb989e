"""Paper orders against real ones on the local exchange, over a flow that does not react: two seeds of those that
docs/paper-against-truth.md tells of, and the same with the queue model broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.acceptance.papertruth import SETS, Compared, pooled
from tests.acceptance.truthworlds import NewPaper, Ran, for_real, on_paper
from traders.brokers.paper import PaperBroker
from traders.core import registry
from traders.core.paperfills import PaperQueue
from traders.core.paperlines import Arrival, Lines

SEEDS = (1, 2)
SECONDS = 200

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # half a minute alone on a core


class FirstInLine(PaperQueue):
    """Believes that nobody stands before us."""

    def join(self, key: str, level: Any, count_cx: int, *, level_cx: int, better_cx: int, time_us: int) -> None:
        del level_cx
        super().join(key, level, count_cx, level_cx=0, better_cx=better_cx, time_us=time_us)


class Blind(Lines):
    """Never knows whose a cancel was."""

    def left(self, level: Any, count_cx: int, *, before: int) -> tuple[Arrival, ...]:
        del level, count_cx, before
        return ()


class FirstInLineBroker(PaperBroker):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue = FirstInLine()


class BlindBroker(PaperBroker):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._queue._lines = Blind()


@pytest.fixture(scope="module")
def reals() -> dict[int, list[Ran]]:
    """Return what became of real orders, by seed and in the order of the sets."""
    registry.load()
    return {seed: [for_real("truth", seed, each.rules(), SECONDS) for each in SETS] for seed in SEEDS}


def beside(
    reals: dict[int, list[Ran]],
    *,
    seeds: Sequence[int] = SEEDS,
    sets: int = len(SETS),
    new_paper: NewPaper = PaperBroker,
) -> Compared:
    """Return paper beside truth, pooled over seeds and the first `sets` sets."""
    parts = []
    for seed in seeds:
        rules = [each.rules() for each in SETS[:sets]]
        papers, marks = on_paper("truth", seed, rules, SECONDS, new_paper=new_paper)
        parts += [Compared.of(real, paper, marks) for real, paper in zip(reals[seed], papers, strict=False)]
    return pooled(parts)


def test_paper_fills_queue_places_and_results_are_about_the_true_ones(reals: dict[int, list[Ran]]) -> None:
    found = beside(reals)
    assert found.misses() == []
    assert found.small.fills > 200, "so many fills are worth a judgement"
    assert len(found.errors) > 0.95 * found.samples > 10_000, "both mostly have orders at the same prices"


@pytest.mark.parametrize(
    ("broken", "bars"), [(FirstInLineBroker, {"fill count", "queue ahead"}), (BlindBroker, {"fill count"})]
)
def test_who_joins_queues_misses_the_bars_with_a_broken_queue_model(
    reals: dict[int, list[Ran]], broken: NewPaper, bars: set[str]
) -> None:
    found = beside(reals, seeds=SEEDS[:1], sets=1, new_paper=broken)
    assert bars <= {miss.partition(":")[0] for miss in found.misses()}
