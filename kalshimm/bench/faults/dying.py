"""What the supervisor does for a trader that dies, and for one that stands still."""

from __future__ import annotations

import itertools
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from functools import partial

from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.ground import Ground
from kalshimm.bench.report import Progress

AT_ONCE = 4  # traders that are frozen together
FROZEN_WITHIN_S = 60.0
TIME = re.compile(r"^(\d\d):(\d\d):(\d\d)\.(\d{3}) ")


async def deaths(ground: Ground, runs: int, say: Progress) -> Samples:
    """Kill one trader after the other: each has not crashed for a minute, so its back-off is that of a first crash."""
    seen_ms, again_s = [], []
    for number, trader in zip(range(runs), itertools.cycle(ground.live), strict=False):
        await ground.until_quotes(trader)
        epoch, written = ground.evidence.epoch(trader), len(ground.log("supervisor"))
        died_us = time.time_ns() // 1_000
        ground.signal(trader, signal.SIGKILL)
        ground.done += 1
        ground.evidence.died(trader, died_us)
        await ground.until(partial(_is_back, ground, trader, epoch), f"trader {trader} quotes again")
        back_us = ground.evidence.first_create_us(trader, after_epoch=epoch)
        assert back_us is not None, "it has just been seen"
        crashed = f"trader live-{ground.live[trader].lower()} crashed"
        (line,) = [line for line in ground.log("supervisor")[written:].splitlines() if crashed in line]
        seen_ms.append((logged_us(line, died_us) - died_us) / 1_000)
        again_s.append((back_us - died_us) / 1e6)
        say(f"death {number + 1}: seen after {seen_ms[-1]:.0f} ms, quoting again after {again_s[-1]:.2f} s")
    return {"death_seen": seen_ms, "death_quoting": again_s}


async def _is_back(ground: Ground, trader: int, epoch: int) -> bool:
    return (await ground.look()).first_create_us(trader, after_epoch=epoch) is not None


def logged_us(line: str, near_us: int) -> int:
    """Return when a line of a log was written, to the millisecond; it tells the time of day, `near_us` the day."""
    found = TIME.match(line)
    assert found is not None, f"a log line begins with its time: {line}"
    hours, minutes, seconds, milliseconds = map(int, found.groups())
    near = datetime.fromtimestamp(near_us / 1e6, UTC)
    midnight = near.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
    if at < near - timedelta(hours=12):
        at += timedelta(days=1)
    return int(at.timestamp() * 1e6)


async def freezes(ground: Ground, runs: int, say: Progress) -> Samples:
    """Stop some traders at once; a clock starts with a trader's last beat and ends with the last of its orders."""
    pulled_s: list[float] = []
    traders = itertools.cycle(ground.live)
    while len(pulled_s) < runs:
        frozen = [next(traders) for _ in range(min(AT_ONCE, runs - len(pulled_s), len(ground.live)))]
        pulled_s += await _freeze(ground, frozen)
        say(f"frozen {len(pulled_s)}: quotes pulled after {', '.join(f'{s:.2f}' for s in pulled_s[-len(frozen) :])} s")
    return {"frozen_pulled": pulled_s}


async def _freeze(ground: Ground, traders: list[int]) -> list[float]:
    for trader in traders:
        await ground.until_quotes(trader)
    epochs = {trader: ground.evidence.epoch(trader) for trader in traders}
    frozen_us: dict[int, int] = {}
    for trader in traders:
        ground.signal(trader, signal.SIGSTOP)
        ground.done += 1
        frozen_us[trader] = time.time_ns() // 1_000
        ground.evidence.died(trader, frozen_us[trader])
    beaten_us = {trader: await _last_beat_us(ground, trader) for trader in traders}
    await ground.until(lambda: _are_pulled(ground, traders), "the frozen traders' orders are pulled")
    pulled_us = {trader: ground.evidence.last_end_us(trader) for trader in traders}
    for trader in traders:
        ground.signal(trader, signal.SIGCONT)
    for trader in traders:
        await ground.until(partial(_is_back, ground, trader, epochs[trader]), f"trader {trader} quotes again")
    return [(pulled_us[trader] - beaten_us[trader]) / 1e6 for trader in traders]


async def _last_beat_us(ground: Ground, trader: int) -> int:
    beat = await ground.beat("trader", str(trader))
    assert beat is not None, "it has beaten until a moment ago"
    return beat.written_us


async def _are_pulled(ground: Ground, traders: list[int]) -> bool:
    evidence = await ground.look()
    return not any(evidence.resting(trader) for trader in traders)
