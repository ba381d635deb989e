"""How many messages a second gateway, writer and three traders live with on two cores, with nothing lost.

All are the real processes on stores of their own, durable as an installation's: the gateway follows 500 markets, a
fifth of them leased, three of them traded; a blaster plays deltas at a steady rate. A rate is held when all were sent
in time, every single one is a row of the table, no gap was noted, the writer stood at the end of the tape a moment
after the last one, and the traders show the touch that the tape ends with.

Without a given rate the highest is looked for: short tries at rising rates until one is not held, then whole rounds at
the last one that was, a step lower if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import psycopg
import redis.asyncio as redis_async

from feed import schema
from kalshimm.bench import books, frames
from kalshimm.bench.blaster import Play, Played
from kalshimm.bench.frames import Tape
from kalshimm.bench.report import Bench, Effort, Goal, Progress, Round, middle
from kalshimm.bench.rig import BlasterClient, Child, Entries, Rig, all_valid, want
from kalshimm.bench.scratch import Scratch, scratch
from kalshimm.errors import KalshimmError
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.home import folder
from markets.core.book import OrderBook
from markets.core.grid import PriceRange
from markets.core.units import DOLLAR_CC
from traders.core.facts import MarketFacts
from traders.core.pipeline import Choice, StrategyChoices
from traders.start import Start, write_start

MARKETS = 500
TRADERS = 3
CORES = 2
LAP_DELTAS = 40_000  # few enough for the blaster to find them in the processor's cache
RATES = (10_000, 15_000, 20_000, 25_000, 30_000, 40_000, 50_000, 60_000, 75_000, 100_000)
TRY_PART = 1 / 6  # of a round's seconds
STEP_S = 0.002  # what is due meanwhile arrives together
LATE_PART = 0.02  # sending may take so much longer than it should
LATE_S = 0.2
BEHIND_MAX_S = 3.0  # a commit is at most 1 s of rows; after 60 s a backlog that grows by a twentieth is further behind
SETTLE_WITHIN_S = 20.0
DRAIN_WITHIN_S = 300.0
POLL_S = 0.1
BLASTER_SHARE_MAX = 0.15  # of both cores
DAY_US = 24 * 3600 * 1_000_000

WATERMARK = "SELECT entry_id FROM feed_watermark WHERE stream = %s"
NEWEST = "SELECT max(seq) FROM markets_book_delta WHERE time = (SELECT max(time) FROM markets_book_delta)"
STORED = """
SELECT count(*), count(DISTINCT seq) FROM markets_book_delta
WHERE conn = (SELECT id FROM feed_connection WHERE identity = %s) AND seq BETWEEN %s AND %s
"""
GAPS = """
SELECT count(*), min(reason) FROM feed_feedgap LEFT JOIN feed_connection ON feed_connection.id = connection_id
WHERE (identity = %s OR identity IS NULL) AND reason <> 'connection began'
"""


class Trial(msgspec.Struct, frozen=True):
    """One stretch at one rate; `problem` says why it was not held, empty when it was."""

    rate: float
    problem: str
    seen: dict[str, float]


class SustainedBench(Bench):
    """The bench named `sustained`."""

    name = "sustained"
    about = f"the highest rate that gateway, writer and {TRADERS} traders hold on {CORES} cores, nothing lost"
    unit = "messages per second"
    reference = "msgspec typed decode alone of such frames, messages per CPU second"
    goal = Goal(floor=20_000, aim=50_000, on="figure at 2.0 M/s typed decode")
    default_effort = Effort(rounds=1, seconds=60.0)

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Find the rate if none is given, then play whole rounds at it."""
        material = books.prepare(MARKETS, LAP_DELTAS, is_lap=True)
        with two_cores(), scratch() as stores:
            if effort.rate:
                return await _rounds(stores, material, effort.rate, effort, progress)
            rate = await _climb(stores, material.tape, effort, progress)
            while True:
                try:
                    return await _rounds(stores, material, rate, effort, progress)
                except NotHeld as exc:
                    progress(str(exc))
                    rate = _below(rate, exc)

    def void(self, rounds: Sequence[Round]) -> str:
        share = middle(rounds, "blaster_share_of_cpu")
        if share <= BLASTER_SHARE_MAX:
            return ""
        return f"the blaster took {share:.0%} of the processors, and may take {BLASTER_SHARE_MAX:.0%}"


class NotHeld(KalshimmError):
    """A rate was too much."""


def _below(rate: float, why: NotHeld) -> float:
    lower = [slower for slower, faster in pairwise(RATES) if faster == rate]
    if not lower:
        raise why
    return lower[0]


async def _climb(stores: Scratch, tape: Tape, effort: Effort, progress: Progress) -> float:
    """Return the highest rate that a short try holds."""
    held = 0.0
    async with _stack(stores, tape) as stack:
        for rate in RATES:
            trial = await stack.play(rate, effort.seconds * TRY_PART)
            progress(f"{rate:,} messages/s: {trial.problem or 'held'}")
            if trial.problem:
                break
            held = rate
    if not held:
        raise NotHeld(f"Not even {RATES[0]:,} messages/s are held: {trial.problem}.")
    return held


async def _rounds(
    stores: Scratch, material: books.Material, rate: float, effort: Effort, progress: Progress
) -> list[Round]:
    """Return rounds that were all held.

    Raises:
        NotHeld: One was not.
    """
    rounds: list[Round] = []
    async with _stack(stores, material.tape) as stack:
        for number in range(1, effort.rounds + 1):
            trial = await stack.play(rate, effort.seconds)
            if trial.problem:
                raise NotHeld(f"{rate:,.0f} messages/s were not held for {effort.seconds:g} s: {trial.problem}.")
            typed = books.typed_per_cpu_s(material.deltas)
            rounds.append(Round(trial.seen.pop("messages_per_s"), round(typed, 1), trial.seen))
            progress(f"round {number}: {rate:,.0f} messages/s held for {effort.seconds:g} s")
    return rounds


class Stack:
    """The running processes, and what they did with the deltas so far."""

    def __init__(self, tape: Tape, client: redis_async.Redis, database: psycopg.AsyncConnection[Any]) -> None:
        self._tape, self._client, self._database = tape, client, database
        self._children: dict[str, Child] = {}
        self._blaster: BlasterClient | None = None
        self._conn = 0
        self._position = 0

    async def begin(self, blaster: BlasterClient, children: dict[str, Child]) -> None:
        """Wait until every book is valid, for the traders too, and what was on the tape before is stored."""
        self._blaster, self._children = blaster, children
        tickers = self._tape.tickers
        await want(self._client, tickers, [tickers[number] for number in self._tape.leased])
        self._conn = await all_valid(self._client, len(tickers), gateway=children["gateway"])
        if await _waited(self._is_drained) is None:
            raise KalshimmError("The writer does not come to the end of the tape.")
        if problem := await self._traders_problem():
            raise KalshimmError(f"Before anything was played: {problem}.")

    async def play(self, rate: float, seconds: float) -> Trial:
        """Play deltas at a rate for a while and judge what became of them."""
        assert self._blaster is not None, "it has begun"
        count = max(1, int(rate * seconds))
        cpu_s = {name: child.cpu_s() for name, child in self._children.items()}
        played = await self._blaster.play(Play(count, rate, STEP_S))
        self._position += count
        wall_s = played.ended_s - played.began_s
        cpus = {f"{name}_cpus": (child.cpu_s() - cpu_s[name]) / wall_s for name, child in self._children.items()}
        problem = "" if wall_s <= seconds * (1 + LATE_PART) + LATE_S else f"the gateway took {wall_s:.1f} s to read it"
        behind_s = await _waited(functools.partial(self._is_stored, played.last_seq))
        problem = problem or await self._problem(played, count, behind_s)
        seen = {
            "messages_per_s": count / wall_s,
            "writer_behind_s": behind_s or 0.0,
            "blaster_share_of_cpu": played.cpu_s / wall_s / CORES,
            **cpus,
        }
        return Trial(rate, problem, {name: round(value, 3) for name, value in seen.items()})

    async def _problem(self, played: Played, count: int, behind_s: float | None) -> str:
        for child in self._children.values():
            child.require_alive()
        if behind_s is None or behind_s > BEHIND_MAX_S:
            return f"the writer was {behind_s or DRAIN_WITHIN_S:.1f} s behind at the end"
        values = (self._conn, played.first_seq, played.last_seq)
        rows, distinct = await self._row(STORED, values)
        if not rows == distinct == count:
            return f"{count} deltas were sent, {rows} rows with {distinct} numbers are stored"
        gaps, reason = await self._row(GAPS, (self._conn,))
        return f"{gaps} gap rows: {reason}" if gaps else await self._traders_problem()

    async def _is_drained(self) -> bool:
        """Whether all that is on the tape is stored."""
        newest = cast(Entries, await self._client.xrevrange(schema.TAPE, count=1))
        stored = await self._row(WATERMARK, (schema.TAPE,))
        return not newest or (stored is not None and _order(stored[0]) >= _order(newest[0][0].decode()))

    async def _is_stored(self, seq: int) -> bool:
        """Whether the delta of this number is stored, and so all before it."""
        (newest,) = await self._row(NEWEST, ())
        return newest is not None and newest >= seq

    async def _traders_problem(self) -> str:
        """Wait for the traders to show the books that the tape stands at; return what is wrong if they do not."""
        expected = self._tape.books_at(self._position)
        problem, start_s = "the traders have not begun", time.monotonic()
        while problem and time.monotonic() - start_s < SETTLE_WITHIN_S:
            await asyncio.sleep(POLL_S)
            problems = [
                await self._trader_problem(n, expected[self._tape.leased[n - 1]]) for n in range(1, TRADERS + 1)
            ]
            problem = next((one for one in problems if one), "")
        return problem

    async def _trader_problem(self, trader: int, expected: OrderBook) -> str:
        beat = await self._client.get(beat_key("trader", str(trader)))
        if beat is None:
            return f"trader {trader} does not beat"
        view = schema.decode_trader_view(decode_beat(cast(bytes, beat)).detail)
        shown, right = (view.yes_bid_cc, view.yes_ask_cc), (expected.yes_bid_cc, expected.yes_ask_cc)
        if not view.book_is_valid:
            return f"trader {trader} does not trust its book: {view.why}"
        return "" if shown == right else f"trader {trader} sees a touch of {shown}, and the tape stands at {right}"

    async def _row(self, query: str, values: tuple[object, ...]) -> Any:
        return await (await self._database.execute(cast(Any, query), values)).fetchone()


async def _waited(is_so: Callable[[], Awaitable[bool]]) -> float | None:
    """Wait until something is so; return how many seconds it took, None if it did not happen."""
    start_s = time.monotonic()
    while not await is_so():
        if time.monotonic() - start_s > DRAIN_WITHIN_S:
            return None
        await asyncio.sleep(POLL_S)
    return time.monotonic() - start_s


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


@contextlib.asynccontextmanager
async def _stack(stores: Scratch, tape: Tape) -> AsyncIterator[Stack]:
    """Run everything on fresh processes, over stores that may hold what an earlier stack left."""
    with tempfile.TemporaryDirectory(prefix="kalshimm-bench-") as home:
        own = Rig(Path(home), stores.redis_url, stores.database_url)
        for trader in range(1, TRADERS + 1):
            _write_start(own, trader, tape)
        async with contextlib.AsyncExitStack() as running:
            client = await running.enter_async_context(own.client())
            database = await psycopg.AsyncConnection.connect(stores.database_url, autocommit=True)
            running.push_async_callback(database.close)
            blaster = await running.enter_async_context(own.blaster(markets=MARKETS, deltas=LAP_DELTAS))
            children = {
                "gateway": await running.enter_async_context(own.gateway(blaster.ws_url)),
                "writer": await running.enter_async_context(own.manage("writer", "writer")),
            }
            for trader in range(1, TRADERS + 1):
                name = f"trader_{trader}"
                children[name] = await running.enter_async_context(own.manage(name, "trader", str(trader)))
            stack = Stack(tape, client, database)
            await stack.begin(blaster, children)
            yield stack


def _write_start(own: Rig, trader: int, tape: Tape) -> None:
    """Write what the supervisor would: a paper trader of one market that joins the best prices."""
    market = tape.leased[trader - 1]
    start = Start(
        trader=trader,
        name=f"bench-{trader}",
        instance=f"bench-{trader}",
        ticker=tape.tickers[market],
        mode="dry-run",
        account="paper",
        strategies=StrategyChoices(Choice("join_best")),
        limits={},
        facts=MarketFacts(
            (PriceRange(0, DOLLAR_CC, frames.tick_cc(market)),), close_time_us=time.time_ns() // 1_000 + DAY_US
        ),
        redis_url=own.redis_url,
    )
    write_start(folder(own.home, "traders", str(trader)), start)


@contextlib.contextmanager
def two_cores() -> Iterator[None]:
    """Keep this process and all that it starts to two processors, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:CORES])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
