"""What a bench says, and how its rounds become one figure.

A figure without its reference from the same run means nothing: machines differ, and so does one machine from minute
to minute. So each round measures both, one after the other, and the medians are compared. A reference must hold
itself: a bench says in words why its figure is void when its own limit was not what a limit should be.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from statistics import median
from typing import ClassVar, Literal

import msgspec
import psutil

Progress = Callable[[str], None]

STEADY_SPREAD = 0.25  # the reference's own rounds spread further than this: the machine was disturbed, once more
TYPED_DECODE_READ_AT = 2_000_000.0  # messages per CPU second at which absolute goals were written


class Effort(msgspec.Struct, frozen=True):
    """How much to measure. `rate` is messages a second where a bench plays at one, 0 to let it choose."""

    rounds: int
    seconds: float
    rate: float = 0.0


class Round(msgspec.Struct, frozen=True):
    """One measurement beside its reference; `more` holds what else was seen, units in the names."""

    figure: float
    against: float
    more: dict[str, float]


class Goal(msgspec.Struct, frozen=True):
    """What must be reached (`floor`) and what is wished for (`aim`).

    Args:
        on: What they are compared with: the figure, its ratio to the reference, or the figure as it would be on a
            machine whose typed decode alone (then the reference) does TYPED_DECODE_READ_AT messages per CPU second.
    """

    floor: float
    aim: float
    on: Literal["figure", "ratio", "figure at 2.0 M/s typed decode"] = "figure"
    is_lower_better: bool = False

    def judged(self, figure: float, against: float) -> float:
        """Return the number that floor and aim speak of."""
        if self.on == "figure":
            return figure
        if self.on == "ratio":
            return figure / against
        speed = against / TYPED_DECODE_READ_AT
        return figure * speed if self.is_lower_better else figure / speed

    def verdict(self, figure: float, against: float) -> str:
        sign = -1 if self.is_lower_better else 1
        value = sign * self.judged(figure, against)
        if value >= sign * self.aim:
            return "reaches the aim"
        return "reaches the floor" if value >= sign * self.floor else "MISSES THE FLOOR"


class Comparison(msgspec.Struct, frozen=True):
    """A second figure of a bench, or the same against somebody else.

    `figure` and `against` name numbers of a round's `more`, or are `figure` and `against` for the round's own. A
    comparison whose numbers a run did not bring is left out.
    """

    name: str
    unit: str
    reference: str
    goal: Goal
    figure: str = "figure"
    against: str = "against"


class Result(msgspec.Struct, frozen=True):
    """A comparison with its medians; spreads are (highest − lowest) ÷ median over the rounds."""

    name: str
    figure: float
    unit: str
    against: float
    reference: str
    ratio: float
    floor: float
    aim: float
    judged: str
    verdict: str
    spread: float
    against_spread: float


class Report(Result, frozen=True, kw_only=True):
    """The document: the bench's own figure first, `others` beside it.

    `void` says why the figures count for nothing, empty when they count; `discarded` are the rounds of a first run
    whose reference was too unsteady; `cpus_busy` is how many processors all processes of the machine kept busy on
    average meanwhile.
    """

    bench: str
    void: str
    others: list[Result]
    rounds: list[Round]
    discarded: list[Round]
    cpus_busy: float


class Bench(abc.ABC):
    """One measured path. `reference` says in words what `against` is."""

    name: ClassVar[str]
    about: ClassVar[str]
    unit: ClassVar[str]
    reference: ClassVar[str]
    goal: ClassVar[Goal]
    others: ClassVar[tuple[Comparison, ...]] = ()
    default_effort: ClassVar[Effort] = Effort(rounds=5, seconds=4.0)

    @abc.abstractmethod
    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure, telling `progress` a line now and then."""

    def void(self, rounds: Sequence[Round]) -> str:
        """Return why the reference is none in these rounds, or an empty string."""
        del rounds
        return ""


async def measure(bench: Bench, effort: Effort, progress: Progress) -> Report:
    """Run a bench and sum it up; once more when its reference did not keep still."""
    busy, total = busy_s(), total_s()
    discarded: list[Round] = []
    rounds = await bench.run(effort, progress)
    if (swing := spread([one.against for one in rounds])) > STEADY_SPREAD:
        progress(f"the reference's rounds spread by {swing:.0%}: measuring once more")
        discarded, rounds = rounds, await bench.run(effort, progress)
    spent = max(total_s() - total, 1e-9)
    main = Comparison(bench.name, bench.unit, bench.reference, bench.goal)
    return Report(
        **msgspec.structs.asdict(_result(main, rounds)),
        bench=bench.name,
        void=bench.void(rounds),
        others=[_result(other, rounds) for other in bench.others if _is_measured(other, rounds)],
        rounds=rounds,
        discarded=discarded,
        cpus_busy=round((busy_s() - busy) / spent * (psutil.cpu_count() or 1), 2),
    )


def spread(values: Sequence[float]) -> float:
    """Return (highest − lowest) ÷ median."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


def middle(rounds: Sequence[Round], key: str) -> float:
    """Return the median of a number over the rounds; see Comparison for `key`."""
    return median(_number(one, key) for one in rounds)


def _number(one: Round, key: str) -> float:
    own = {"figure": one.figure, "against": one.against}
    return own[key] if key in own else one.more[key]


def _is_measured(comparison: Comparison, rounds: Sequence[Round]) -> bool:
    keys = {comparison.figure, comparison.against} - {"figure", "against"}
    return all(keys <= one.more.keys() for one in rounds)


def _result(comparison: Comparison, rounds: Sequence[Round]) -> Result:
    figures = [_number(one, comparison.figure) for one in rounds]
    against = [_number(one, comparison.against) for one in rounds]
    goal = comparison.goal
    return Result(
        name=comparison.name,
        figure=round(median(figures), 3),
        unit=comparison.unit,
        against=round(median(against), 3),
        reference=comparison.reference,
        ratio=round(median(figures) / median(against), 6),
        floor=goal.floor,
        aim=goal.aim,
        judged=goal.on,
        verdict=goal.verdict(median(figures), median(against)),
        spread=round(spread(figures), 4),
        against_spread=round(spread(against), 4),
    )


def busy_s() -> float:
    """Return the seconds that all processors of the machine have worked since its start."""
    times = psutil.cpu_times()
    return total_s() - times.idle - float(getattr(times, "iowait", 0.0))


def total_s() -> float:
    """Return the seconds that all its processors have had."""
    # Guest time is part of user time on Linux; counting it twice would not matter, but is wrong.
    return float(sum(value for name, value in psutil.cpu_times()._asdict().items() if not name.startswith("guest")))
