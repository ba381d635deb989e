"""How rounds become a figure, a ratio and a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Report, Round, measure


class Scripted(Bench):
    """Gives the rounds of each run in turn."""

    name, about, unit, reference = "scripted", "nothing", "things", "other things"
    goal = Goal(floor=0.35, aim=0.43, on="ratio")
    others = (
        Comparison("peer", "things", "the peer's things", Goal(10, 15, on="ratio"), against="peer_per_s"),
        Comparison("healed", "s", "other things", Goal(15, 5, is_lower_better=True), figure="healed_s"),
    )

    def __init__(self, *runs: list[Round]) -> None:
        self.runs = list(runs)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        return self.runs.pop(0)

    def void(self, rounds: Sequence[Round]) -> str:
        return "the reference is slow" if min(one.against for one in rounds) < 50 else ""


def rounds(*pairs: tuple[float, float], **more: float) -> list[Round]:
    return [Round(figure, against, dict(more)) for figure, against in pairs]


def report(*runs: list[Round]) -> Report:
    return asyncio.run(measure(Scripted(*runs), Effort(3, 1.0), lambda _line: None))


def test_medians_are_compared() -> None:
    told = report(rounds((40, 100), (44, 110), (90, 90)))
    assert (told.figure, told.against, told.ratio) == (44, 100, 0.44)
    assert told.verdict == "reaches the aim"
    assert told.against_spread == 0.2


@pytest.mark.parametrize(
    ("figure", "verdict"), [(43, "reaches the aim"), (35, "reaches the floor"), (34, "MISSES THE FLOOR")]
)
def test_floor_and_aim_may_be_on_the_ratio(figure: float, verdict: str) -> None:
    assert report(rounds((figure, 100))).verdict == verdict


def test_an_unsteady_reference_is_measured_once_more() -> None:
    unsteady, steady = rounds((40, 70), (40, 100), (40, 100)), rounds((41, 100))
    told = report(unsteady, steady)
    assert told.discarded == unsteady
    assert told.rounds == steady


def test_a_steady_reference_is_measured_once() -> None:
    assert report(rounds((40, 80), (40, 100), (40, 100))).discarded == []


def test_a_reference_that_does_not_hold_makes_the_figure_void() -> None:
    assert report(rounds((40, 100))).void == ""
    assert report(rounds((40, 49))).void == "the reference is slow"


def test_a_comparison_without_its_numbers_is_left_out() -> None:
    assert report(rounds((40, 100))).others == []
    (peer, healed) = report(rounds((40, 100), peer_per_s=2.0, healed_s=7.0)).others
    assert (peer.ratio, peer.verdict) == (20, "reaches the aim")
    assert (healed.figure, healed.verdict) == (7, "reaches the floor")


def test_an_absolute_goal_is_read_at_the_machine_it_was_written_on() -> None:
    slow_machine = 1_000_000.0
    rate = Goal(20_000, 50_000, on="figure at 2.0 M/s typed decode")
    assert rate.verdict(10_000, slow_machine) == "reaches the floor"
    assert rate.verdict(9_999, slow_machine) == "MISSES THE FLOOR"
    delay = Goal(15, 5, on="figure at 2.0 M/s typed decode", is_lower_better=True)
    assert delay.verdict(30, slow_machine) == "reaches the floor"
    assert delay.verdict(31, slow_machine) == "MISSES THE FLOOR"
