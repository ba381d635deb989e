"""How soon a new supervisor has adopted a fleet that went on without one."""

from __future__ import annotations

import time
from functools import partial

from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.dying import logged_us
from kalshimm.bench.faults.ground import IS_LIVE, Ground
from kalshimm.bench.report import Progress
from kalshimm.errors import KalshimmError
from traders.processes import living


async def adoptions(ground: Ground, runs: int, say: Progress) -> Samples:
    """Kill the supervisor and start another; its clock starts with the process and ends with the last adoption."""
    adopted_s = []
    for number in range(runs):
        await ground.until_all_quote()
        before = living(ground.own.home)
        await ground.end("supervisor", kill=True)
        ground.done += 1
        written = len(ground.log("supervisor"))
        began_us = time.time_ns() // 1_000
        await ground.start("supervisor", IS_LIVE)
        await ground.until(partial(_are_adopted, ground, written, len(before)), "every trader is adopted")
        last = _adoptions(ground, written)[-1]
        if living(ground.own.home) != before:
            raise KalshimmError("Not every trader outlived its supervisor as the process that it was.")
        adopted_s.append((logged_us(last, began_us) - began_us) / 1e6)
        say(f"supervisor {number + 1}: {len(before)} traders adopted after {adopted_s[-1]:.2f} s")
    return {"adoption": adopted_s}


def _adoptions(ground: Ground, written: int) -> list[str]:
    return [line for line in ground.log("supervisor")[written:].splitlines() if "action=adopt" in line]


async def _are_adopted(ground: Ground, written: int, count: int) -> bool:
    return len(_adoptions(ground, written)) >= count
