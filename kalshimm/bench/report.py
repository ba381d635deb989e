"""What a bench says, and how its rounds become one figure.

A figure without its reference from the same run means nothing: machines differ, and so does one machine from minute
to minute. So each round measures both, one after the other, and the medians are compared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from statistics import median
from typing import Protocol

import msgspec
import psutil

Progress = Callable[[str], None]


class Effort(msgspec.Struct, frozen=True):
    """How much to measure."""

    rounds: int
    seconds: float


class Round(msgspec.Struct, frozen=True):
    """One measurement beside its reference; `more` holds what else was seen, units in the names."""

    figure: float
    against: float
    more: dict[str, float]


class Report(msgspec.Struct, frozen=True):
    """The document. `figure` and `against` are medians over the rounds in `unit`, `ratio` is the first by the second.

    `floor` is what must be reached, `aim` what is wished for; `cpus_busy` is how many processors all processes of the
    machine kept busy on average meanwhile.
    """

    bench: str
    figure: float
    unit: str
    against: float
    ratio: float
    floor: float
    aim: float
    rounds: list[Round]
    cpus_busy: float


class Bench(Protocol):
    """One measured path. `reference` says in words what `against` is."""

    name: str
    about: str
    unit: str
    reference: str
    floor: float
    aim: float

    def run(self, effort: Effort, progress: Progress) -> Awaitable[list[Round]]:
        """Measure, telling `progress` a line now and then."""
        ...


async def measure(bench: Bench, effort: Effort, progress: Progress) -> Report:
    """Run a bench and sum it up."""
    busy = _busy_s()
    wall = _total_s()
    rounds = await bench.run(effort, progress)
    spent = max(_total_s() - wall, 1e-9)
    figure, against = median(r.figure for r in rounds), median(r.against for r in rounds)
    return Report(
        bench=bench.name,
        figure=round(figure, 1),
        unit=bench.unit,
        against=round(against, 1),
        ratio=round(figure / against, 6),
        floor=bench.floor,
        aim=bench.aim,
        rounds=rounds,
        cpus_busy=round((_busy_s() - busy) / spent * (psutil.cpu_count() or 1), 2),
    )


def _busy_s() -> float:
    times = psutil.cpu_times()
    return _total_s() - times.idle - float(getattr(times, "iowait", 0.0))


def _total_s() -> float:
    # Guest time is part of user time on Linux; counting it twice would not matter, but is wrong.
    return float(sum(value for name, value in psutil.cpu_times()._asdict().items() if not name.startswith("guest")))
