"""Desired against actual: starts, adopts, restarts and stops traders; makes traders by series rules.

    desired          process      ended how        then
    running, paused  none         never / clean    start
    running, paused  none         crash            start again after back-off; too often: failed
    running, paused  lives        -                adopt; relay pause and resume
    running, paused  lives        silent           said: no beat since; it is not touched, for it may be in a long step
    running, paused  lives        -                with another strategy than desired: stopped, then started anew
    stopped          lives        -                SIGTERM, SIGKILL after the grace time
    no such trader   lives        -                likewise: its row was deleted
    any              any          market closed    stopped for good

Traders do not need it: its own end leaves them running, and the next supervisor knows them by process.json. It needs
Redis only to see their beats and to relay pauses, and goes on without. With the database away it acts on what it
read last. A trader that failed stays so until a person starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec
import redis.asyncio as redis_async
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import close_old_connections

from feed.schema import TraderView, decode_trader_view
from kalshimm.errors import KalshimmError, NotReachable
from kalshimm.runtime import logs, streams, worker
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock, SystemClock
from kalshimm.runtime.heartbeat import BEAT_TTL_S, Beat, Pulse, beat_key, read_beat
from kalshimm.runtime.home import folder
from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.process import ProcessIdentity, boot_id
from traders import controls, fleet, spawner
from traders.brokers.paper import PaperSettings
from traders.core.facts import encode_facts
from traders.core.pipeline import StrategyChoices
from traders.core.restart import CrashHistory, GiveUp
from traders.engine import CLOSED
from traders.fleet import Wanted
from traders.process import REDIS_ERRORS
from traders.processes import Ended, forget, living, read_ended, read_running, send_signal, trader_folder
from traders.start import CannotStart, Start, read_start, write_start

logger = logging.getLogger(__name__)

STEP_S = 0.5  # a death is seen within a second
STOP_GRACE_S = 5.0
ANSWER_S = 1.0  # Redis slower than this is away: the step goes on without
CONTROL_AGAIN_S = 5.0

# What a trader does as its state tells it, and how to tell it to do something else.
DOES = {"paused": "paused", "flattening": "flat", "flat": "flat"}  # in every other state it runs
SAY = {"running": "resume", "paused": "pause", "flat": "flatten"}
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
SILENT_US = BEAT_TTL_S * 1_000_000


class Known(msgspec.Struct):
    """What the supervisor remembers of one trader between steps; all of it can be lost.

    `heard_us` is the wall time of the process's last beat, or when it was found; `follows` the strategy it was
    started with; `is_foreign` once its beat was of a version we cannot read.
    """

    process: ProcessIdentity | None = None
    heard_us: int = 0
    follows: tuple[StrategyChoices, Any] | None = None
    crashes: CrashHistory = CrashHistory()
    start_at_s: float = 0.0
    term_at_s: float | None = None
    told: dict[str, tuple[float, bytes]] = msgspec.field(default_factory=dict)  # by verb: when, and what
    restarts: int = 0
    is_foreign: bool = False
    written: tuple[str, str, int | None, int] | None = None


class Supervisor:
    """One per home; the caller holds its lock."""

    def __init__(self, home: Path, redis_url: str, *, client: redis_async.Redis, clock: Clock) -> None:
        self._home = home
        self._redis_url = redis_url
        self._client = client
        self._clock = clock
        self._pulse = Pulse(role="supervisor", name="main", clock=clock)
        self._wanted: list[Wanted] = []
        self._living: dict[int, ProcessIdentity] = {}
        self._known: dict[int, Known] = {}
        self._beats: dict[int, Beat] = {}
        self._redis_back_us = 0
        self._redis_again_s = 0.0
        self._redis_misses = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; living traders stay."""
        await worker.every(stop, STEP_S, self.step)
        await self._pulse.retire(self._client)

    async def step(self) -> None:
        """Look once and act."""
        self._pulse.turn(every_s=STEP_S)
        self._living = await asyncio.to_thread(living, self._home)
        if await self._read_database():
            self._stop_nobodys()
        await self._read_beats()
        for wanted in self._wanted:
            await self._tend(wanted)
        await self._report()

    async def _read_database(self) -> bool:
        """Read what is wanted; False when the database does not say."""
        try:
            for name in await _in_thread(fleet.apply_series_rules, self._clock.wall_us()):
                logger.info("series rule made trader %s", name, extra={"action": "trader_created"})
            self._wanted = await _in_thread(fleet.read_wanted, self._living)
        except DatabaseFault as exc:
            logger.warning("database: %s; going on with what was read last", exc, extra={"action": "database_lost"})
            return False
        for gone in self._known.keys() - {wanted.id for wanted in self._wanted} - self._living.keys():
            del self._known[gone]
        return True

    def _stop_nobodys(self) -> None:
        """Stop every process whose trader was deleted: nobody could steer it any more."""
        for trader in self._living.keys() - {wanted.id for wanted in self._wanted}:
            known = self._known.setdefault(trader, Known())
            self._send_stop(f"{trader}, which is configured no more,", known, self._living[trader])

    # One trader

    async def _tend(self, wanted: Wanted) -> None:
        known = self._known.setdefault(wanted.id, Known(restarts=wanted.restarts))
        path = trader_folder(self._home, wanted.id)
        process = self._living.get(wanted.id)
        if process is None:
            await self._tend_absent(wanted, known, path)
            return
        if process != known.process:
            self._adopt(known, process, path)
        if wanted.desired == "stopped" or wanted.is_closed(self._clock.wall_us()):
            await self._stop(wanted, known, process, "")
        elif known.follows != (wanted.strategies, wanted.limits):
            why = "its strategy was changed" if known.follows else "it runs what this version cannot read"
            await self._stop(wanted, known, process, f"{why}: it starts anew")
        else:
            await self._accompany(wanted, known, process)

    def _adopt(self, known: Known, process: ProcessIdentity, path: Path) -> None:
        logger.info("found process %s of trader %s", process.pid, path.name, extra={"action": "adopt"})
        known.process, known.heard_us = process, self._clock.wall_us()
        try:
            start = read_start(path)
        except CannotStart as exc:
            logger.warning("what trader %s follows is not known: %s", path.name, exc, extra={"action": "bad_start"})
            known.follows = None
            return
        known.follows = start.strategies, start.limits

    async def _accompany(self, wanted: Wanted, known: Known, process: ProcessIdentity) -> None:
        """Relay what is desired to a process that shall live, and write down how it does."""
        known.term_at_s = None
        view = self._hear(wanted.id, known, process)
        await self._relay(wanted, known, view)
        since_us = max(known.heard_us, self._redis_back_us)
        if view:
            await self._write(wanted, known, view.state, "", process.pid)
        elif not self._redis_misses and self._clock.wall_us() - since_us >= SILENT_US:
            since = datetime.fromtimestamp(since_us / 1_000_000, UTC)
            reason = f"its process lives; no beat since {since:%H:%M:%S} UTC"
            await self._write(wanted, known, "silent", reason, process.pid)
        elif wanted.state != "silent":  # until it is heard that stands, also with a new supervisor
            await self._write(wanted, known, "starting", "", process.pid)

    def _hear(self, trader: int, known: Known, process: ProcessIdentity) -> TraderView | None:
        """Return what this very process last said of itself; an older one's beat may outlive it for seconds."""
        beat = self._beats.get(trader)
        if beat is None or beat.pid != process.pid or not beat.detail:
            return None
        try:
            view = decode_trader_view(beat.detail)
        except msgspec.MsgspecError as exc:
            if not known.is_foreign:
                logger.error("trader %s speaks another version: %s", trader, exc, extra={"action": "beat_unreadable"})
            known.is_foreign = True
            return None
        known.heard_us = max(known.heard_us, beat.written_us)
        return view

    async def _tend_absent(self, wanted: Wanted, known: Known, path: Path) -> None:
        known.process, known.term_at_s = None, None
        ended = read_ended(path)
        crash = _crash(path, ended)
        if not forget(path):
            # It has begun since we looked; the next step sees it.
            logger.info("trader %s: its lock is held", wanted.name, extra={"action": "trader_locked"})
        elif wanted.is_closed(self._clock.wall_us()):
            await self._retire(wanted, known)
        elif wanted.desired == "stopped":
            await self._write(wanted, known, "stopped", ended.reason if ended else "", None)
        elif wanted.state == "failed":
            known.crashes = CrashHistory()
        elif wanted.facts is None:
            await self._write(wanted, known, "starting", f"{wanted.ticker} is not in the catalogue yet", None)
        elif crash:
            await self._crashed(wanted, known, crash)
        elif self._clock.monotonic() >= known.start_at_s:
            await self._start(wanted, known, path)

    async def _crashed(self, wanted: Wanted, known: Known, reason: str) -> None:
        known.crashes, verdict = known.crashes.after_crash(self._clock.monotonic(), reason)
        self._pulse.count("crashes")
        logger.warning("trader %s crashed: %s", wanted.name, reason, extra={"action": "trader_crash"})
        if isinstance(verdict, GiveUp):
            await self._fail(wanted, known, verdict.reason)
            return
        known.start_at_s = verdict.at_s
        known.restarts += 1
        await self._write(wanted, known, "starting", f"restarting: {reason}", None)

    async def _start(self, wanted: Wanted, known: Known, path: Path) -> None:
        try:
            start = await self._start_of(wanted)
            start.setup()
            write_start(path, start)
            # First, for a supervisor that ends before it has written the pid must leave a row that says: look here.
            await self._write_down(wanted, known, ("starting", "", None, known.restarts))
            answer = await asyncio.to_thread(spawner.ask, self._home, spawner.Request(spawn=wanted.id))
        except (CannotStart, ValueError) as exc:
            await self._fail(wanted, known, str(exc))
            return
        except (NotReachable, DatabaseFault) as exc:
            await self._write(wanted, known, "starting", str(exc), None)
            return
        if "error" in answer:
            await self._write(wanted, known, "starting", str(answer["error"]), None)
            return
        if "ended" in answer:
            await self._crashed(wanted, known, str(answer["ended"]))
            return
        self._pulse.count("started")
        logger.info("started trader %s as process %s", wanted.name, answer["pid"], extra={"action": "trader_start"})
        await self._write(wanted, known, "starting", "", int(answer["pid"]))

    async def _start_of(self, wanted: Wanted) -> Start:
        assert wanted.facts is not None, "nobody starts a trader whose market is not catalogued"
        stored = await _in_thread(fleet.read_stored, wanted.id)
        return Start(
            trader=wanted.id,
            name=wanted.name,
            instance=secrets.token_hex(8),
            ticker=wanted.ticker,
            mode=wanted.mode,
            account="paper",
            strategies=wanted.strategies,
            limits=wanted.limits,
            paper=PaperSettings(latency_us=settings.PAPER_LATENCY_US),
            facts=wanted.facts,
            redis_url=self._redis_url,
            desired=wanted.desired,
            stored=stored,
        )

    async def _stop(self, wanted: Wanted, known: Known, process: ProcessIdentity, why: str) -> None:
        self._send_stop(wanted.name, known, process)
        await self._write(wanted, known, "draining", why, process.pid)

    def _send_stop(self, name: str, known: Known, process: ProcessIdentity) -> None:
        now_s = self._clock.monotonic()
        if known.term_at_s is None:
            known.term_at_s = now_s
            logger.info("asked trader %s to stop", name, extra={"action": "trader_stop"})
            send_signal(process, signal.SIGTERM)
        elif now_s - known.term_at_s > STOP_GRACE_S:
            logger.warning("trader %s did not stop in time: killed", name, extra={"action": "trader_killed"})
            send_signal(process, signal.SIGKILL)

    async def _relay(self, wanted: Wanted, known: Known, view: TraderView | None) -> None:
        """Tell a trader what is desired when it does something else, and what is new of its market."""
        if view is None:
            return
        if DOES.get(view.state, "running") != wanted.desired and wanted.desired in SAY:
            await self._tell(wanted, known, SAY[wanted.desired])
        if 0 < view.latched_us <= wanted.released_us:
            await self._tell(wanted, known, "release")
        if wanted.facts is not None and view.facts_digest != wanted.facts.digest:
            await self._tell(wanted, known, "market", encode_facts(wanted.facts))

    async def _tell(self, wanted: Wanted, known: Known, verb: str, body: bytes = b"") -> None:
        """Send a command, and again after a while if nothing came of it."""
        now_s = self._clock.monotonic()
        told_at_s, told = known.told.get(verb, (-CONTROL_AGAIN_S, b""))
        if told == body and now_s - told_at_s < CONTROL_AGAIN_S:
            return
        now_us = self._clock.wall_us()
        try:
            async with asyncio.timeout(ANSWER_S):
                await controls.send(self._client, wanted.id, verb, issuer="supervisor", now_us=now_us, body=body)
        except REDIS_ERRORS as exc:
            self._lost_redis(exc)
            return
        known.told[verb] = now_s, body

    # What it writes down

    async def _fail(self, wanted: Wanted, known: Known, reason: str) -> None:
        logger.error("trader %s failed: %s", wanted.name, reason, extra={"action": "trader_failed"})
        await self._write(wanted, known, "failed", reason, None)

    async def _retire(self, wanted: Wanted, known: Known) -> None:
        try:
            await _in_thread(fleet.retire, wanted, CLOSED)
        except DatabaseFault as exc:
            logger.warning("database: %s", exc, extra={"action": "database_lost"})
            return
        await self._write(wanted, known, "stopped", CLOSED, None)

    async def _write(self, wanted: Wanted, known: Known, state: str, reason: str, pid: int | None) -> None:
        row = (state, reason, pid, known.restarts)
        if row == known.written and wanted.state == state:
            return
        try:
            await self._write_down(wanted, known, row)
        except DatabaseFault as exc:
            logger.warning("database: %s", exc, extra={"action": "database_lost"})

    async def _write_down(self, wanted: Wanted, known: Known, row: tuple[str, str, int | None, int]) -> None:
        state, reason, pid, restarts = row
        await _in_thread(fleet.write_state, wanted.id, state=state, reason=reason, pid=pid, restarts=restarts)
        known.written = row

    # Redis

    async def _read_beats(self) -> None:
        if not self._wanted or self._clock.monotonic() < self._redis_again_s:
            return
        keys = [beat_key("trader", str(wanted.id)) for wanted in self._wanted]
        try:
            async with asyncio.timeout(ANSWER_S):
                values = await self._client.mget(keys)
        except REDIS_ERRORS as exc:
            self._lost_redis(exc)
            return
        if self._redis_misses:
            self._redis_back_us = self._clock.wall_us()  # nobody could beat before
        self._redis_misses = 0
        found = ((key.encode(), value) for key, value in zip(keys, values, strict=True) if isinstance(value, bytes))
        beats = [read_beat(key, value) for key, value in found]
        self._beats = {int(beat.name): beat for beat in beats if beat}

    def _lost_redis(self, error: Exception) -> None:
        self._redis_misses += 1
        wait_s = delay_s(self._redis_misses, first_s=0.5, most_s=5.0, jitter=random.random())
        self._redis_again_s = self._clock.monotonic() + wait_s
        if self._redis_misses == 1:
            logger.warning("Redis does not answer: %s; traders go on", error, extra={"action": "redis_lost"})

    async def _report(self) -> None:
        self._pulse.state = "running"
        self._pulse.counters["traders_wanted"] = len(self._wanted)
        self._pulse.counters["traders_living"] = len(self._living)
        spawner_pulse = await asyncio.to_thread(self._ping_spawner)
        self._pulse.counters["spawner_answers"] = int(spawner_pulse is not None)
        if self._clock.monotonic() < self._redis_again_s:
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._pulse.beat(self._client)
                if spawner_pulse:
                    await spawner_pulse.beat(self._client)
                await logs.ship(self._client, role="supervisor", name="main")
        except REDIS_ERRORS as exc:
            self._lost_redis(exc)

    def _ping_spawner(self) -> Pulse | None:
        """Return the spawner's beat, written on its behalf: it opens no connection but its own socket.

        The answer comes from the spawner's only loop, so it proves what a beat proves; none, no beat.
        """
        try:
            answer = spawner.ask(self._home, spawner.Request(ping=True))
        except KalshimmError:
            return None
        identity = ProcessIdentity.of(int(answer["pid"]))
        if identity is None:
            return None
        pulse = Pulse(role="spawner", name="main", clock=self._clock)
        pulse.identity, pulse.state, pulse.loops = identity, "running", int(answer["answered"])
        pulse.counters = {"spawned": int(answer["spawned"])}
        return pulse


def _crash(path: Path, ended: Ended | None) -> str:
    """Return why the last process of a trader counts as crashed, or an empty string."""
    running = read_running(path)
    if running is None:
        return ""
    if ended and ended.identity == running.identity:
        return ended.reason if ended.code else ""
    # A reboot ends every process without a word; that is nobody's fault.
    return "it ended without a word" if running.identity.boot_id == boot_id() else ""


async def _in_thread(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Run a database function in Django's thread, on a connection that still works."""

    def call() -> Result:
        close_old_connections()
        return function(*args, **kwargs)

    return await sync_to_async(call, thread_sensitive=True)()


async def supervise(home: Path, redis_url: str, stop: asyncio.Event) -> None:
    """Run the supervisor of `home`.

    Raises:
        AlreadyRunning: This home has one.
    """
    with exclusive(folder(home, "run") / "supervisor.lock", what="The supervisor of this home"):
        client = streams.connect(redis_url)
        try:
            await Supervisor(home, redis_url, client=client, clock=SystemClock()).run(stop)
        finally:
            await client.aclose()
