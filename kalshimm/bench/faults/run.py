"""All measurements in their order: those of the two traders, of the fleet, of the storm, and of kills with no store.

ground    soaking, feeding, killed, answering, catching ──hire 18──► dying, adopting ──► counts, by the ledger
storm     feeding, with 200 markets
drill     killed, at an exchange that has a home and nothing else
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

import psutil

from kalshimm.bench.faults import adopting, answering, catching, dying, feeding, killed, soaking
from kalshimm.bench.faults.bars import Document, Samples, rows
from kalshimm.bench.faults.constants import settings
from kalshimm.bench.faults.ground import Ground, ground, storm
from kalshimm.bench.faults.listed import BARS, COUNTS, SOAK
from kalshimm.bench.report import Progress, busy_s, total_s

RUNS = 3
NAME = "faults"
ABOUT = "what must hold when something breaks, each bar beside its floor and its aim"


class OnGround(NamedTuple):
    """A measurement on the whole stack, and the bars that it has samples for."""

    bars: tuple[str, ...]
    measure: Callable[[Ground, int, Progress], Awaitable[Samples]]


OF_SOAK = tuple(bar.name for bar in SOAK)
OF_COUNTS = tuple(bar.name for bar in COUNTS)
WITH_TWO = (
    OnGround(("gap_invalid", "gap_valid"), feeding.gaps),
    OnGround(("cut_pulled",), feeding.cuts),
    OnGround(("kill_last_create",), killed.stops),
    OnGround(OF_COUNTS, answering.answers),
    OnGround(("catch_up",), catching.catch_ups),
)
WITH_FLEET = (
    OnGround(("death_seen", "death_quoting"), dying.deaths),
    OnGround(("frozen_pulled",), dying.freezes),
    OnGround(("adoption",), adopting.adoptions),
)
ON_GROUND = tuple(name for one in (*WITH_TWO, *WITH_FLEET) for name in one.bars)
BY_COMMAND = ("kill_start", "kill_command")
MEASURED = (*ON_GROUND, "cut_all_valid", "kill_confirmed", *BY_COMMAND)


async def measure(runs: int, only: Collection[str], say: Progress, *, soak_min: float = 0) -> Document:
    """Measure these bars, or all with none named, so many times each; with `soak_min` those of a soak as well."""
    wanted = {*(only or MEASURED), *(OF_SOAK if soak_min else ())}
    busy, total = busy_s(), total_s()
    samples: dict[str, Sequence[float]] = {}
    counts: dict[str, float] = {}
    conditions: dict[str, float] = {}
    if wanted.intersection((*ON_GROUND, *OF_SOAK)):
        async with ground(say) as made:
            if soak_min:
                soaked = await soaking.soak(made, soak_min, say)
                samples |= soaked.growth
                counts |= {"soak_limited": soaked.limited}
            samples |= await _on_ground(made, wanted, runs, say)
            counts |= _counts(made)
            conditions = await _conditions(made)
    if "cut_all_valid" in wanted:
        async with storm(say) as feed:
            samples |= await feeding.storm_cuts(feed, runs, say)
    if "kill_confirmed" in wanted:
        samples |= await killed.drills(runs, say)
    if wanted.intersection(BY_COMMAND):
        samples |= await killed.commands(runs, say)
    spent = max(total_s() - total, 1e-9)
    return Document(
        bench=NAME,
        runs=runs,
        bars=rows([bar for bar in BARS if not only or bar.name in wanted], samples, counts, settings()),
        conditions=conditions,
        cpus_busy=round((busy_s() - busy) / spent * (psutil.cpu_count() or 1), 2),
    )


async def _on_ground(made: Ground, wanted: set[str], runs: int, say: Progress) -> Samples:
    samples: dict[str, Sequence[float]] = {}
    for one in WITH_TWO:
        if not wanted.isdisjoint(one.bars):
            samples |= await one.measure(made, runs, say)
    fleet = [one for one in WITH_FLEET if not wanted.isdisjoint(one.bars)]
    if fleet:
        await made.hire([ticker for ticker in made.tickers if ticker not in made.live.values()], is_live=True)
        await made.until_all_quote()
        say(f"{len(made.live)} live traders quote")
    for one in fleet:
        samples |= await one.measure(made, runs, say)
    await made.look()
    return samples


def _counts(made: Ground) -> dict[str, float]:
    evidence = made.evidence
    return {
        "duplicates": evidence.duplicates(),
        "orphans": evidence.orphans(time.time_ns() // 1_000),
        "breaches": evidence.breaches,
        "dry_run_writes": evidence.writes_of(made.paper),
        "limited": evidence.limited,
    }


async def _conditions(made: Ground) -> dict[str, float]:
    spent_s = time.monotonic() - made.began_s
    return {
        "feed_rows_per_s": round(await made.feed_rows() / spent_s, 1),
        "creates_per_s": round(len(made.evidence.creates) / spent_s, 2),
        "orders": len(made.evidence.orders),
        "writes": made.evidence.writes,
        "faults": await made.faults(),
        "seconds": round(spent_s, 1),
    }
