"""How many paper traders two cores carry, each in a market of its own, while 2,000 book changes a second come in.

    blaster ──ws──► gateway ──► Valkey ──► N traders, forked by the real spawner

All are the real processes. A number is carried when every trader quotes, no beat of any of them is ever older than
3 s while the changes come, each shows the touch that the tape ends with, and all of it stays under 4 GiB: what all
processes share and own together (PSS), the store's too.

The highest number is looked for in steps, each with processes of its own; then a whole round is played at it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from typing import cast

import psutil
import redis.asyncio as redis_async

from feed import schema
from kalshimm.bench import books, frames
from kalshimm.bench.blaster import Play
from kalshimm.bench.books import Material
from kalshimm.bench.report import Bench, Effort, Goal, Progress, Round, middle
from kalshimm.bench.rig import BlasterClient, Child, Rig, all_valid, rig, want
from kalshimm.bench.sustained import BLASTER_SHARE_MAX, CORES, two_cores
from kalshimm.errors import KalshimmError
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.home import folder
from markets.core.grid import PriceRange
from markets.core.units import DOLLAR_CC
from traders import spawner
from traders.core.facts import MarketFacts
from traders.core.pipeline import Choice, StrategyChoices
from traders.processes import living, stop_all
from traders.start import Start, write_start

RATE = 2_000  # book changes a second over all markets
NUMBERS = (20, 40, 60, 80, 100, 120, 150, 180, 220, 260, 300)
LAP_DELTAS = 40_000
TRY_S = 8.0
STEP_S = 0.002
AGE_MOST_S = 3.0
LOOK_S = 0.25
QUOTES_WITHIN_S = 60.0
SETTLE_WITHIN_S = 10.0
ENDS_WITHIN_S = 20.0
DAY_US = 24 * 3600 * 1_000_000
MIB = 1 << 20
PSS_MOST_MIB = 4_096


class FleetBench(Bench):
    """The bench named `fleet`."""

    name = "fleet"
    about = f"paper traders on {CORES} cores at {RATE:,} book changes a second, no beat older than {AGE_MOST_S:g} s"
    unit = "traders"
    reference = "msgspec typed decode alone of such frames, messages per CPU second"
    goal = Goal(floor=60, aim=150, on="figure at 2.0 M/s typed decode")
    default_effort = Effort(rounds=1, seconds=60.0)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Find the highest number that is carried for a short while, then play whole rounds at it or a lower one."""
        with two_cores():
            number = int(effort.rate) or await _climb(progress)
            while True:
                try:
                    return [await _round(number, effort.seconds, progress) for _ in range(effort.rounds)]
                except NotCarried as exc:
                    progress(str(exc))
                    number = _below(number, exc)

    def void(self, rounds: Sequence[Round]) -> str:
        share = middle(rounds, "blaster_share_of_cpu")
        if share <= BLASTER_SHARE_MAX:
            return ""
        return f"the blaster took {share:.0%} of the processors, and may take {BLASTER_SHARE_MAX:.0%}"


class NotCarried(KalshimmError):
    """A number of traders was too much."""


def _below(number: int, why: NotCarried) -> int:
    lower = [fewer for fewer, more in pairwise(NUMBERS) if more == number]
    if not lower:
        raise why
    return lower[0]


async def _climb(progress: Progress) -> int:
    """Return the highest number that a short try carries."""
    carried = 0
    for number in NUMBERS:
        try:
            await _round(number, TRY_S, progress)
        except NotCarried as exc:
            progress(str(exc))
            break
        carried = number
    if not carried:
        raise NotCarried(f"Not even {NUMBERS[0]} traders are carried.")
    return carried


async def _round(number: int, seconds: float, progress: Progress) -> Round:
    """Play changes to so many traders for a while.

    Raises:
        NotCarried: A beat was too old, or a trader did not follow.
    """
    material = books.prepare(number, LAP_DELTAS, is_lap=True)
    with rig() as own:
        async with _fleet(own, material) as fleet:
            seen = await fleet.play(seconds)
    progress(f"{number} traders: no beat older than {seen['oldest_beat_s']:.2f} s, {seen['pss_mib']:.0f} MiB")
    return Round(float(number), round(books.typed_per_cpu_s(material.deltas), 1), seen)


class Fleet:
    """The running processes of one round."""

    def __init__(
        self, own: Rig, material: Material, client: redis_async.Redis, blaster: BlasterClient, children: list[Child]
    ) -> None:
        self._own, self._material, self._client = own, material, client
        self._blaster, self._children = blaster, children
        self._numbers = range(1, len(material.tape.markets) + 1)

    async def begin(self) -> None:
        """Fork the traders, and wait until all of them quote."""
        for trader in self._numbers:
            answer = await asyncio.to_thread(spawner.ask, self._own.home, spawner.Request(spawn=trader))
            if "pid" not in answer:
                raise KalshimmError(f"Trader {trader} was not forked: {answer}.")
        await self._until(self._all_quote, "all traders quote", QUOTES_WITHIN_S)

    async def play(self, seconds: float) -> dict[str, float]:
        """Play changes and return what was seen meanwhile."""
        count = int(RATE * seconds)
        cpu_s = {child.name: child.cpu_s() for child in self._children}
        playing = asyncio.create_task(self._blaster.play(Play(count, RATE, STEP_S)))
        oldest_s = 0.0
        while not playing.done():
            await asyncio.sleep(LOOK_S)
            oldest_s = max(oldest_s, await self._oldest_s())
        played = playing.result()
        wall_s = played.ended_s - played.began_s
        await self._until(lambda: self._all_follow(count), "the traders show the tape's end", SETTLE_WITHIN_S)
        if oldest_s > AGE_MOST_S:
            raise NotCarried(f"{len(self._numbers)} traders are not carried: a beat was {oldest_s:.1f} s old.")
        pss = await asyncio.to_thread(self._pss_bytes)
        if pss > PSS_MOST_MIB * MIB:
            raise NotCarried(f"{len(self._numbers)} traders are not carried: they take {pss / MIB:,.0f} MiB.")
        cpus = {f"{child.name}_cpus": (child.cpu_s() - cpu_s[child.name]) / wall_s for child in self._children}
        seen = {
            "oldest_beat_s": oldest_s,
            "changes_per_s": count / wall_s,
            "pss_mib": pss / MIB,
            "blaster_share_of_cpu": played.cpu_s / wall_s / CORES,
            **cpus,
        }
        return {name: round(value, 3) for name, value in seen.items()}

    async def _views(self) -> list[schema.TraderView | None]:
        values = await self._client.mget([beat_key("trader", str(trader)) for trader in self._numbers])
        return [
            schema.decode_trader_view(decode_beat(cast(bytes, value)).detail) if value is not None else None
            for value in values
        ]

    async def _oldest_s(self) -> float:
        """Return the age of the oldest beat; one that has lapsed is as old as it may become."""
        values = await self._client.mget([beat_key("trader", str(trader)) for trader in self._numbers])
        now_us = time.time_ns() // 1_000
        ages_us = [now_us - decode_beat(cast(bytes, value)).written_us for value in values if value is not None]
        return float("inf") if len(ages_us) < len(values) else max(ages_us) / 1e6

    async def _all_quote(self) -> bool:
        return all(view is not None and len(view.quotes) >= 2 for view in await self._views())

    async def _all_follow(self, position: int) -> bool:
        expected = self._material.tape.books_at(position)
        return all(
            view is not None and (view.yes_bid_cc, view.yes_ask_cc) == (book.yes_bid_cc, book.yes_ask_cc)
            for view, book in zip(await self._views(), expected, strict=True)
        )

    async def _until(self, is_so: Callable[[], Awaitable[bool]], what: str, within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        while not await is_so():
            for child in self._children:
                child.require_alive()
            if time.monotonic() > deadline_s:
                raise NotCarried(f"{len(self._numbers)} traders are not carried: not within {within_s:g} s: {what}.")
            await asyncio.sleep(LOOK_S)

    def _pss_bytes(self) -> int:
        pids = [identity.pid for identity in living(self._own.home).values()]
        pids += [child.process.pid for child in self._children]
        return sum(map(_pss_bytes, pids)) + self._valkey_bytes()

    def _valkey_bytes(self) -> int:
        home = str(self._own.home)
        found = [one for one in psutil.process_iter(["name", "cwd"]) if one.info["name"] == "valkey-server"]
        return sum(_pss_bytes(one.pid) for one in found if (one.info["cwd"] or "").startswith(home))


def _pss_bytes(pid: int) -> int:
    """Return what a process owns and its part of what it shares; where the system does not tell, what it owns."""
    with contextlib.suppress(psutil.NoSuchProcess):
        memory = psutil.Process(pid).memory_full_info()
        return int(getattr(memory, "pss", memory.uss))
    return 0


@contextlib.asynccontextmanager
async def _fleet(own: Rig, material: Material) -> AsyncIterator[Fleet]:
    tape = material.tape
    for trader in range(1, len(tape.markets) + 1):
        _write_start(own, trader, tape.tickers[trader - 1])
    async with contextlib.AsyncExitStack() as running:
        client = await running.enter_async_context(own.client())
        blaster = await running.enter_async_context(own.blaster(markets=len(tape.markets), deltas=LAP_DELTAS))
        gateway = await running.enter_async_context(own.gateway(blaster.ws_url))
        forks = await running.enter_async_context(own.manage("spawner", "spawner"))
        running.enter_context(_ended(own))
        await want(client, tape.tickers, tape.tickers)
        await all_valid(client, len(tape.markets), gateway=gateway)
        fleet = Fleet(own, material, client, blaster, [gateway, forks])
        await fleet.begin()
        yield fleet


@contextlib.contextmanager
def _ended(own: Rig) -> Iterator[None]:
    """End every trader of the home: they are init's children, and nobody else would."""
    try:
        yield
    finally:
        stop_all(own.home, ENDS_WITHIN_S)


def _write_start(own: Rig, trader: int, ticker: str) -> None:
    """Write what the supervisor would: a paper trader that joins the best prices."""
    tick_cc = frames.tick_cc(trader - 1)
    start = Start(
        trader=trader,
        name=f"bench-{trader}",
        instance=f"bench-{trader}",
        ticker=ticker,
        mode="dry-run",
        account="paper",
        strategies=StrategyChoices(Choice("join_best")),
        limits={},
        facts=MarketFacts((PriceRange(0, DOLLAR_CC, tick_cc),), close_time_us=time.time_ns() // 1_000 + DAY_US),
        redis_url=own.redis_url,
    )
    write_start(folder(own.home, "traders", str(trader)), start)
