"""How soon a kill stops new orders, and how soon nothing rests."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import msgspec

from kalshimm.bench import killdrill
from kalshimm.bench.faults.bars import Samples
from kalshimm.bench.faults.evidence import Lines, RequestLine
from kalshimm.bench.faults.ground import Ground
from kalshimm.bench.report import Progress
from kalshimm.bench.rig import BASE_DIR, Exchange
from kalshimm.errors import KalshimmError
from traders import killswitch
from traders.core.kills import ALL, Kill

LOOKED_ON_S = 1.0  # after everybody stands still
COMMAND_WITHIN_S = 60.0


class Said(msgspec.Struct, frozen=True):
    """What matters of the command's document."""

    confirmed: bool | None


async def stops(ground: Ground, runs: int, say: Progress) -> Samples:
    """Kill everything by the file alone, as pages and command do first, and look for creates that leave after it."""
    last_ms = []
    for number in range(runs):
        await ground.until_all_quote()
        kill = Kill(kind=ALL, by="bench", at_us=time.time_ns() // 1_000)
        await asyncio.to_thread(killswitch.throw, ground.own.home, kill)
        await ground.until(lambda: _stand_still(ground), "every trader stands still")
        await asyncio.sleep(LOOKED_ON_S)
        late_us = [at_us - kill.at_us for at_us, _ in (await ground.look()).creates if at_us > kill.at_us]
        last_ms.append(max(late_us, default=0) / 1_000)
        await asyncio.to_thread(killswitch.release, ground.own.home, ALL)
        await ground.resume()
        say(f"kill {number + 1}: {len(late_us)} creates came after it, the last {last_ms[-1]:.0f} ms")
    await ground.until_all_quote()
    return {"kill_last_create": last_ms}


async def _stand_still(ground: Ground) -> bool:
    views = [await ground.view(trader) for trader in ground.live]
    evidence = await ground.look()
    return all(view is not None and view.state == "paused" for view in views) and not any(
        evidence.resting(trader) for trader in ground.live
    )


async def drills(runs: int, say: Progress) -> Samples:
    """Kill 200 orders at an exchange of their own, by what the command calls."""
    confirmed_s = []
    for number in range(runs):
        drilled = await killdrill.drill(_quietly)
        if drilled.confirmed_ms is None:
            raise KalshimmError(f"A kill was not confirmed, {drilled.resting} orders rest: {drilled.why}.")
        confirmed_s.append(drilled.confirmed_ms / 1_000)
        say(f"drill {number + 1}: {drilled.orders} orders canceled after {confirmed_s[-1]:.2f} s")
    return {"kill_confirmed": confirmed_s}


async def commands(runs: int, say: Progress) -> Samples:
    """The same by `manage.py kill`, where no store and no web is: its clock starts and ends with the process."""
    started_s, confirmed_s = [], []
    for number in range(runs):
        async with killdrill.ground(_quietly) as made:
            began_us, began_s = time.time_ns() // 1_000, time.monotonic()
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(BASE_DIR / "manage.py"), "kill", "--json", cwd=BASE_DIR,
                env=made.own.environment({"KALSHI_ENV": killdrill.ENVIRONMENT}), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(process.communicate(), COMMAND_WITHIN_S)
            took_s = time.monotonic() - began_s
            made.exchange.require_alive()
            asked_us = await _first_request_us(made.venue, since_us=began_us)
        if not out or msgspec.json.decode(out, type=Said).confirmed is not True:
            raise KalshimmError(f"`kill` was not confirmed and ended with {process.returncode}: {out.decode()}")
        started_s.append((asked_us - began_us) / 1e6)
        confirmed_s.append(took_s)
        say(f"command {number + 1}: asked the exchange after {started_s[-1]:.2f} s, confirmed after {took_s:.2f} s")
    return {"kill_start": started_s, "kill_command": confirmed_s}


async def _first_request_us(venue: Exchange, *, since_us: int) -> int:
    at = f"{venue.control}/ledger/lines"
    async with aiohttp.ClientSession(raise_for_status=True) as control, control.get(at) as answer:
        lines = msgspec.json.decode(await answer.read(), type=Lines).lines
    return min(line.at_us for line in lines if isinstance(line, RequestLine) and line.at_us >= since_us)


def _quietly(_text: str) -> None:
    """Say nothing of each single ground."""
