"""PURE: the bars as values, and what is said of each: samples, percentile, floor, aim.

time, ratio   measured some times: the percentile of the samples is judged
count         over all of a run, by the exchange's ledger: must be what the floor says
setting       a constant of the product, as the code has it
elsewhere     no figure of this bench: `how` names what shows it
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

import msgspec

Samples = Mapping[str, Sequence[float]]  # by the name of their bar, in its unit
Kind = Literal["time", "ratio", "count", "setting", "elsewhere"]

MANY = 50  # from so many samples on the 99th percentile is judged, before the 95th
PERCENTILE_OF_MANY, PERCENTILE_OF_FEW = 99, 95


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar.

    Attributes:
        name: For `--only`.
        what: In words.
        aim, floor: In `unit`; None where no number is one.
        how: What was measured, and by whose evidence; of one of elsewhere what shows it.
    """

    name: str
    what: str
    kind: Kind = "time"
    unit: str = ""
    aim: float | None = None
    floor: float | None = None
    is_lower_better: bool = True
    how: str

    def verdict(self, value: float) -> str:
        """Return in words how a value stands to floor and aim."""
        assert self.aim is not None, f"{self.name} has numbers"
        assert self.floor is not None, f"{self.name} has numbers"
        sign = -1 if self.is_lower_better else 1
        if sign * value >= sign * self.aim:
            return "reaches the aim"
        return "reaches the floor" if sign * value >= sign * self.floor else "MISSES THE FLOOR"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one bar.

    Attributes:
        samples: Of a time or ratio, in the order in which they were taken.
        value: What is judged: the percentile of the samples, the count or the setting.
        judged: What `value` is, in words; empty where there is none.
        verdict: Empty where nothing was measured.
    """

    name: str
    what: str
    kind: Kind
    unit: str
    aim: float | None
    floor: float | None
    samples: list[float]
    p50: float | None
    value: float | None
    judged: str
    verdict: str
    how: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All of it.

    Attributes:
        conditions: What went on meanwhile, units in the names.
        cpus_busy: How many processors all processes of the machine kept busy on average.
    """

    bench: str
    runs: int
    bars: list[Row]
    conditions: dict[str, float]
    cpus_busy: float


def percentile(samples: Sequence[float], percent: int) -> float:
    """Return the smallest sample that so many of a hundred do not exceed: of few samples the greatest."""
    return sorted(samples)[math.ceil(percent / 100 * len(samples)) - 1]


def judged_percentile(count: int) -> int:
    return PERCENTILE_OF_MANY if count >= MANY else PERCENTILE_OF_FEW


def row(bar: Bar, *, samples: Sequence[float] = (), value: float | None = None) -> Row:
    """Return what is said of a bar: by samples, by a value, or by neither."""
    judged, p50 = "", None
    if samples:
        percent = judged_percentile(len(samples))
        # Of what should be high, as much as all but so many of a hundred reach.
        value = percentile(samples, percent) if bar.is_lower_better else -percentile([-s for s in samples], percent)
        judged, p50 = f"p{percent} of {len(samples)}", median(samples)
    elif value is not None:
        judged = "setting" if bar.kind == "setting" else "count"
    return Row(
        name=bar.name,
        what=bar.what,
        kind=bar.kind,
        unit=bar.unit,
        aim=bar.aim,
        floor=bar.floor,
        samples=[round(sample, 4) for sample in samples],
        p50=None if p50 is None else round(p50, 4),
        value=None if value is None else round(value, 4),
        judged=judged,
        verdict="" if value is None else bar.verdict(value),
        how=bar.how,
    )


def rows(
    bars: Sequence[Bar],
    samples: Mapping[str, Sequence[float]],
    counts: Mapping[str, float],
    settings: Mapping[str, float],
) -> list[Row]:
    """Return all rows in the order of the bars."""
    values = {**counts, **settings}
    return [row(bar, samples=samples.get(bar.name, ()), value=values.get(bar.name)) for bar in bars]


def table(document: Document) -> str:
    """Return the document as a person reads it."""
    heads = ("bar", "p50", "measured", "aim", "floor", "")
    lines = [heads, *(_cells(one) for one in document.bars)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    told = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    seen = ", ".join(f"{name} {value:,g}" for name, value in document.conditions.items())
    return "\n".join([*told, "", seen, f"{document.cpus_busy:.2f} processors of the machine were busy"])


def _cells(one: Row) -> tuple[str, ...]:
    measured = f"{_number(one.value)} {one.unit}".strip() + f" ({one.judged})" if one.value is not None else ""
    verdict = one.verdict or (one.how if one.kind == "elsewhere" else "not measured")
    return one.what, _number(one.p50), measured, _number(one.aim), _number(one.floor), verdict


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if value < 1_000 else f"{value:,.0f}"
