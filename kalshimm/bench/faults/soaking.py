"""How much memory the processes take on, and whether the exchange ever says "too many", while nothing goes wrong.

    0 ──────── a sixth ──────────────────────────────── all of it
               level before: median of a twelfth        level after: median of the last twelfth

An hour is thus compared from its tenth minute on. Memory is resident memory, which the operator sees; stores and the
exchange are not ours, and what they keep grows by their nature.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

import psutil

from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.ground import Ground
from kalshimm.bench.report import Progress
from kalshimm.errors import KalshimmError
from traders.processes import living

LOOKS = 720  # each five seconds of an hour
TOLD_EVERY = 60
OTHERS = ("exchange",)
MIB = 1 << 20


class Soaked(NamedTuple):
    """Growth of each process in percent, and how many requests were answered with 429."""

    growth: Samples
    limited: int


async def soak(ground: Ground, minutes: float, say: Progress) -> Soaked:
    """Let everything run for so long, and compare what each process has then with what it had after a sixth.

    Raises:
        KalshimmError: A process ended meanwhile, or is another one than before.
    """
    await ground.until_all_quote()
    began_s, limited = time.monotonic(), (await ground.look()).limited
    processes = _processes(ground)
    sizes: dict[str, list[int]] = {name: [] for name in processes}
    for number in range(LOOKS):
        # The length of a soak is what is asked for, not a wait for something.
        await asyncio.sleep(max(0.0, began_s + (number + 1) * minutes * 60 / LOOKS - time.monotonic()))
        for name, process in processes.items():
            sizes[name].append(_resident(name, process))
        await ground.look()  # the exchange's ledger is taken over as it grows
        if number % TOLD_EVERY == TOLD_EVERY - 1:
            told = ", ".join(f"{name} {seen[-1] / MIB:.1f}" for name, seen in sizes.items())
            say(f"soak, {(number + 1) * minutes / LOOKS:.3g} of {minutes:g} min, MiB: {told}")
    growth = growths(sizes)
    say("soak, grown by: " + ", ".join(f"{name} {percent:.2f} %" for name, percent in growth.items()))
    return Soaked({"memory": list(growth.values())}, ground.evidence.limited - limited)


def growths(sizes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return by how many percent each process has grown, PURE.

    Args:
        sizes: Of each process in bytes, at even times.
    """
    found = {}
    for name, seen in sizes.items():
        part = max(1, len(seen) // 12)
        before = median(seen[2 * part : 3 * part])
        found[name] = (median(seen[-part:]) - before) / before * 100
    return found


def _processes(ground: Ground) -> dict[str, psutil.Process]:
    ours = {name: child.process.pid for name, child in ground.children.items() if name not in OTHERS}
    traders = {f"trader {number}": identity.pid for number, identity in living(ground.own.home).items()}
    return {name: psutil.Process(pid) for name, pid in (ours | traders).items()}


def _resident(name: str, process: psutil.Process) -> int:
    if not process.is_running():
        raise KalshimmError(f"The {name} of the soak has ended.")
    return int(process.memory_info().rss)
