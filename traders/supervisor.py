"""Desired against actual: starts, adopts, restarts and stops traders; makes traders by series rules.

    desired          process      ended how        then
    running, paused  none         never / clean    start
    running, paused  none         crash            start again after back-off; too often: failed
    running, paused  lives        -                adopt; relay pause and resume
    running, paused  lives        silent           said: no beat since; it is not touched, for it may be in a long step
    running, paused  lives        -                with other parameters than desired: told, or stopped and started anew
    stopped          lives        -                SIGTERM, SIGKILL after the grace time
    no such trader   lives        -                likewise: its row was deleted
    any              any          market closed    stopped for good

Of a live trader besides (traders.livestarts):

    running, paused  none         -                start behind a new fence, if nothing is missing; else stopped
    running, paused  none         not seen by us   paused, until a person resumes it: its plan may be stale
    running, paused  lives        -                with something missing now, or its lease over: stopped
    running, paused  lives        silent           its orders are pulled; SIGTERM, SIGKILL after a longer grace time
    any              none         no start follows its orders are pulled: before that it is not stopped
    any              any          -                what rests of it that nobody watches is pulled (traders.unclaimed)

Traders do not need it: its own end leaves them running, and the next supervisor knows them by process.json. It needs
Redis only to see their beats and to relay pauses, and goes on without. With the database away it acts on what it
read last. A trader that failed stays so until a person starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import redis.asyncio as redis_async
from django.conf import settings
from django.db import Error as DatabaseFault
from msgspec.structs import replace

from feed.schema import TraderView, decode_trader_view
from kalshimm.errors import HomeNotWritable, NotReachable
from kalshimm.runtime import streams, worker
from kalshimm.runtime.clock import Clock, SystemClock
from kalshimm.runtime.heartbeat import Pulse
from kalshimm.runtime.home import folder
from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.process import ProcessIdentity, boot_id
from traders import allotments, fleet, killnotes, leases
from traders.brokers.paper import PaperSettings
from traders.core.decision import parse_limits
from traders.core.facts import encode_facts
from traders.core.kills import covering
from traders.core.restart import CrashHistory, GiveUp
from traders.core.stopping import Patience
from traders.deaths import Deaths
from traders.engine import CLOSED
from traders.fleet import Wanted, in_thread
from traders.fleetline import FleetLine
from traders.killswitch import KillSwitch
from traders.launcher import Began, EndedAtOnce, Launcher, NotBegun, SpawnerLauncher
from traders.livestarts import REFUSED_AGAIN_S, LiveStarts, NotYet, as_left, worst_ud
from traders.models import PAPER, Trader
from traders.onthefly import OnTheFly
from traders.processes import Ended, forget, read_ended, read_running, trader_folder
from traders.seriesrules import SeriesRules
from traders.start import CannotStart, Start, read_start, write_start
from traders.unclaimed import UnclaimedOrders

logger = logging.getLogger(__name__)

STEP_S = 0.5  # a death is seen within a second

# What a trader does as its state tells it, and how to tell it to do something else.
DOES = {"paused": "paused", "flattening": "flat", "flat": "flat"}  # in every other state it runs
FENCED = "fenced"
SAY = {"running": "resume", "paused": "pause", "flat": "flatten"}


class Known(msgspec.Struct):
    """What the supervisor remembers of one trader between steps; all of it can be lost.

    `heard_us` is the wall time of the process's last beat, or when it was found; `start` what it was started with, if
    that can be read; `patience` is had with it once it was asked to stop; `is_foreign` once its beat was of a version
    we cannot read; `ended` why its last process ended; `was_paused_fenced` once its process was seen fenced while it
    was to be paused, `was_killed` once a kill covered it: its group was triggered then, whether or not it has heard of
    that.
    """

    process: ProcessIdentity | None = None
    heard_us: int = 0
    start: Start | None = None
    ended: str = ""
    is_new: bool = True
    has_released: bool = False
    crashes: CrashHistory = CrashHistory()
    start_at_s: float = 0.0
    patience: Patience | None = None
    restarts: int = 0
    is_foreign: bool = False
    was_paused_fenced: bool = False
    was_killed: bool = False
    written: tuple[str, str, int | None, int] | None = None


class Supervisor:
    """One per home; the caller holds its lock.

    Args:
        launcher: None for processes of this machine.
    """

    def __init__(
        self,
        home: Path,
        redis_url: str,
        *,
        client: redis_async.Redis,
        clock: Clock,
        launcher: Launcher | None = None,
    ) -> None:
        self._launcher: Launcher = launcher or SpawnerLauncher(home, clock)
        self._home = home
        self._redis_url = redis_url
        self._client = client
        self._clock = clock
        self._pulse = Pulse(role="supervisor", name="main", clock=clock)
        self._wanted: list[Wanted] = []
        self._living: dict[int, ProcessIdentity] = {}
        self._deaths = Deaths()
        self._known: dict[int, Known] = {}
        self._left: dict[int, Wanted] = {}  # live traders whose rows are gone
        self._live = LiveStarts(home, client=client, clock=clock)
        self._unclaimed = UnclaimedOrders(home, self._live, clock)
        self._line = FleetLine(client, clock)
        self._on_the_fly = OnTheFly(home, self._line, clock)
        self._rules = SeriesRules()
        self._switch = KillSwitch(home)
        self._has_launcher = True
        self._is_database_lost = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; living traders stay."""
        try:
            await worker.every(stop, STEP_S, self.step, early=self._deaths.seen)
        finally:
            self._deaths.close()
            await self._live.close()
        await self._pulse.retire(self._client)

    async def step(self) -> None:
        """Look once and act."""
        self._pulse.turn(every_s=STEP_S)
        self._living = await asyncio.to_thread(self._launcher.running)
        self._deaths.watch(self._living.values())
        if await self._read_database():
            self._stop_nobodys()
        self._heed_kills()
        self._pull_nobodys()
        await self._line.listen([wanted.id for wanted in self._wanted])
        for wanted in self._wanted:
            await self._tend(wanted)
        await self._unclaimed.look_now_and_then(self._wanted, self._living)
        self._live.sweep_now_and_then()
        await self._report()

    async def _read_database(self) -> bool:
        """Read what is wanted; False when the database does not say."""
        try:
            await self._settle_kills()
            await self._apply_rules()
            self._wanted = await in_thread(fleet.read_wanted, self._living)
        except DatabaseFault as exc:
            self._say_lost(exc)
            return False
        if self._is_database_lost:
            logger.info("the database is back", extra={"action": "database_back"})
            self._is_database_lost = False
        for gone in self._known.keys() - {wanted.id for wanted in self._wanted} - self._living.keys():
            del self._known[gone]
            self._line.forget(gone)
        return True

    async def _apply_rules(self) -> None:
        """Let series rules make traders; what ails them keeps nobody from tending those that there are."""
        now_us, told_ud = self._clock.wall_us(), self._line.results(self._living)
        try:
            made = await in_thread(self._rules.step, now_us, living=self._living, told_ud=told_ud)
        except DatabaseFault as exc:
            self._say_lost(exc)
            return
        for name in made:
            logger.info("series rule made trader %s", name, extra={"action": "trader_created"})

    async def _settle_kills(self) -> None:
        """Have the database say of whom was killed that he is paused."""
        try:
            await in_thread(killnotes.settle, self._home)
        except (HomeNotWritable, NotReachable) as exc:
            logger.warning("released kills stand in the file for now: %s", exc, extra={"action": "kills_unsettled"})

    def _heed_kills(self) -> None:
        """Let nobody run whom a kill covers, also while the database is away and says otherwise."""
        kills = (*self._switch.kills(), *self._switch.released())
        if not kills:
            return
        killed = {one.id for one in self._wanted if covering(kills, one.target)}
        for wanted in self._wanted:
            if wanted.id in killed and wanted.live is not None:
                self._known.setdefault(wanted.id, Known(restarts=wanted.restarts)).was_killed = True
        self._wanted = [
            replace(one, desired="paused") if one.desired != "stopped" and one.id in killed else one
            for one in self._wanted
        ]

    def _stop_nobodys(self) -> None:
        """Stop every process whose trader was deleted: nobody could steer it any more."""
        for trader in self._living.keys() - {wanted.id for wanted in self._wanted}:
            known = self._known.setdefault(trader, Known())
            if known.process != self._living[trader]:
                self._adopt(known, self._living[trader], trader_folder(self._home, trader))
            self._send_stop(f"{trader}, which is configured no more,", known, self._living[trader])
            if known.start is not None and known.start.live is not None:
                self._left[trader] = as_left(known.start)

    def _pull_nobodys(self) -> None:
        """Pull what a deleted live trader may have left at the exchange."""
        for trader in self._left.keys() - self._living.keys():
            if self._live.pull(self._left[trader], "its trader was deleted") is None:
                del self._left[trader]

    # One trader

    async def _tend(self, wanted: Wanted) -> None:
        known = self._known.setdefault(wanted.id, Known(restarts=wanted.restarts))
        path = trader_folder(self._home, wanted.id)
        process = self._living.get(wanted.id)
        if process is None:
            await self._tend_absent(wanted, known, path)
        else:
            await self._tend_living(wanted, known, path, process)

    async def _tend_living(self, wanted: Wanted, known: Known, path: Path, process: ProcessIdentity) -> None:
        known.is_new = False
        if process != known.process:
            self._adopt(known, process, path)
        view = self._hear(wanted.id, known, process)
        if wanted.desired == "stopped" or wanted.is_closed(self._clock.wall_us()):
            await self._stop(wanted, known, process, "")
        elif why := await self._why_anew(wanted, known, view) or _why_resumed(wanted, known, view):
            is_frozen = view is None and self._line.is_silent(known.heard_us)
            await self._stop(wanted, known, process, why, is_harmless=is_frozen and not self._live.is_open(wanted))
        else:
            await self._accompany(wanted, known, process, view)

    async def _why_anew(self, wanted: Wanted, known: Known, view: TraderView | None) -> str:
        """Return why a process must not go on as it is; empty when it may."""
        if known.start is None:
            return "it runs what this version cannot read: it starts anew"
        if wanted.live is not None and (missing := self._live.why_not(wanted)):
            return missing
        if over := await self._live.why_over(wanted, known.start):
            return f"{over}: it starts anew"
        followed = await self._on_the_fly.follow(wanted, known.start, view)
        if isinstance(followed, str):
            return followed
        known.start = followed
        return ""

    def _adopt(self, known: Known, process: ProcessIdentity, path: Path) -> None:
        logger.info("found process %s of trader %s", process.pid, path.name, extra={"action": "adopt"})
        known.process, known.heard_us = process, self._clock.wall_us()
        known.was_paused_fenced = known.was_killed = False
        try:
            start = read_start(path)
        except CannotStart as exc:
            logger.warning("what trader %s follows is not known: %s", path.name, exc, extra={"action": "bad_start"})
            known.start = None
            return
        known.start = start

    async def _accompany(self, wanted: Wanted, known: Known, process: ProcessIdentity, view: TraderView | None) -> None:
        """Relay what is desired to a process that shall live, and write down how it does."""
        known.patience = None
        if view:
            await self._relay(wanted, view)
            reason = wanted.desired_reason if view.state == "paused" else ""
            await self._write(wanted, known, view.state, reason, process.pid)
        elif self._line.is_silent(known.heard_us):
            since = datetime.fromtimestamp(self._line.silent_since_us(known.heard_us) / 1_000_000, UTC)
            reason = f"its process lives; no beat since {since:%H:%M:%S} UTC"
            pulling = self._live.pull(wanted, reason) if self._live.is_open(wanted) else None
            await self._write(wanted, known, "silent", pulling.reason if pulling else reason, process.pid)
        elif wanted.state != "silent":  # until it is heard that stands, also with a new supervisor
            await self._write(wanted, known, "starting", "", process.pid)

    def _hear(self, trader: int, known: Known, process: ProcessIdentity) -> TraderView | None:
        """Return what this very process last said of itself; an older one's beat may outlive it for seconds."""
        beat = self._line.beat(trader)
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
        known.process, known.patience = None, None
        ended = read_ended(path)
        crash = _crash(path, ended)
        known.ended = ended.reason if ended else known.ended
        if not forget(path):
            # It has begun since we looked; the next step sees it.
            logger.info("trader %s: its lock is held", wanted.name, extra={"action": "trader_locked"})
            return
        if self._is_stale(wanted, known):
            known.is_new = not await self._let_wait(wanted)
            return
        known.is_new = False
        if why := self._why_not_to_run(wanted):
            await self._let_rest(wanted, known, *why)
        elif crash:
            await self._crashed(wanted, known, crash)
        else:
            await self._start(wanted, known, path)

    def _is_stale(self, wanted: Wanted, known: Known) -> bool:
        """Return whether a live trader should run and did not when we came: everything may have been down for long."""
        should_run = wanted.desired not in ("stopped", "paused") and wanted.state != "failed"
        return known.is_new and should_run and self._live.is_open(wanted)

    async def _let_wait(self, wanted: Wanted) -> bool:
        try:
            await in_thread(leases.let_wait, wanted.id)
        except DatabaseFault as exc:
            self._say_lost(exc)
            return False
        logger.warning("trader %s is paused: %s", wanted.name, leases.NEEDS_RESUME, extra={"action": "needs_resume"})
        return True

    def _why_not_to_run(self, wanted: Wanted) -> tuple[str, str] | None:
        """Return the state that a trader without a process rests in, and why; None when it shall run."""
        if wanted.is_closed(self._clock.wall_us()):
            return "stopped", CLOSED
        if wanted.desired == "stopped":
            return "stopped", ""
        if wanted.state == "failed":
            return "failed", ""
        if wanted.facts is None:
            return "starting", f"{wanted.ticker} is not in the catalogue yet"
        missing = self._live.why_not(wanted) if wanted.live else ""
        return ("stopped", missing) if missing else None

    async def _let_rest(self, wanted: Wanted, known: Known, state: str, reason: str) -> None:
        """Let a trader rest; a live one only once nothing of it does at the exchange."""
        if reason == CLOSED and not await self._retire(wanted):
            return
        pulling = self._live.pull(wanted, reason or known.ended) if wanted.live else None
        if state == "failed":  # it stays so, and says why, until a person starts it again
            known.crashes = CrashHistory()
        elif pulling:
            await self._write(wanted, known, pulling.state, pulling.reason, None)
        else:
            await self._write(wanted, known, state, reason or known.ended, None)
            await self._release(wanted, state)

    async def _release(self, wanted: Wanted, state: str) -> None:
        """Give back what it had reserved once it has stopped."""
        known = self._known[wanted.id]
        if state != "stopped" or known.has_released:
            return
        try:
            await in_thread(allotments.release, wanted.id)
        except (DatabaseFault, Trader.DoesNotExist) as exc:
            self._say_lost(exc)
            return
        known.has_released = True

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
        """Start a trader when it is time; a live one behind its new fence, for which it need not be time yet."""
        try:
            waits = self._prepare(wanted)
            if waits:
                await self._write(wanted, known, waits.state, waits.reason, None)
            elif self._clock.monotonic() >= known.start_at_s:
                await self._spawn(wanted, known, path)
        except (CannotStart, ValueError) as exc:
            await self._fail(wanted, known, str(exc))
        except allotments.ReservationRefused as exc:
            known.start_at_s = self._clock.monotonic() + REFUSED_AGAIN_S
            await self._write(wanted, known, "stopped", str(exc), None)
        except HomeNotWritable as exc:  # a full disk (E3) must not end who pulls the orders of those it has killed
            logger.error("trader %s: %s", wanted.name, exc, extra={"action": "start_unwritten", "alert": "HOME_FULL"})
            known.start_at_s = self._clock.monotonic() + REFUSED_AGAIN_S
            await self._write(wanted, known, "starting", str(exc), None)
        except (NotReachable, DatabaseFault, Trader.DoesNotExist) as exc:  # the last: it was deleted a moment ago
            await self._write(wanted, known, "starting", str(exc), None)

    def _prepare(self, wanted: Wanted) -> NotYet | None:
        """Return what is in the way of a live trader's start; nothing is of a paper trader's."""
        if wanted.live is None:
            return None
        wanted.strategies.parse()  # no lease for what cannot run
        parse_limits(wanted.limits)
        waits = self._live.prepare(wanted, self._wanted)
        return waits if waits or self._has_launcher else NotYet("starting", "The spawner does not answer.")

    async def _spawn(self, wanted: Wanted, known: Known, path: Path) -> None:
        start = await self._start_of(wanted)
        start.setup()
        write_start(path, start)
        known.has_released, known.ended = False, ""
        # First, for a supervisor that ends before it has written the pid must leave a row that says: look here.
        await self._write_down(wanted, known, ("starting", "", None, known.restarts))
        match await asyncio.to_thread(self._launcher.start, wanted.id):
            case NotBegun(reason):
                await self._write(wanted, known, "starting", reason, None)
            case EndedAtOnce(reason):
                await self._crashed(wanted, known, reason)
            case Began(pid):
                self._pulse.count("started")
                logger.info("started trader %s as process %s", wanted.name, pid, extra={"action": "trader_start"})
                await self._write(wanted, known, "starting", "", pid)

    async def _start_of(self, wanted: Wanted) -> Start:
        assert wanted.facts is not None, "nobody starts a trader whose market is not catalogued"
        stored = await in_thread(fleet.read_stored, wanted.id)
        reserved = await in_thread(allotments.reserve, wanted.id, worst_ud(wanted, stored))
        # Last: a lease that is taken is used up, whatever comes of the start.
        live = self._live.take(wanted) if wanted.live else None
        return Start(
            trader=wanted.id,
            name=wanted.name,
            instance=secrets.token_hex(8),
            ticker=wanted.ticker,
            mode=wanted.mode,
            account=wanted.live.account if wanted.live else PAPER,
            strategies=wanted.strategies,
            limits=wanted.limits,
            paper=PaperSettings(latency_us=settings.PAPER_LATENCY_US),
            facts=wanted.facts,
            redis_url=self._redis_url,
            desired=wanted.desired,
            stored=stored,
            allotments=reserved,
            live=live,
            event=wanted.event,
        )

    async def _stop(
        self, wanted: Wanted, known: Known, process: ProcessIdentity, why: str, *, is_harmless: bool = False
    ) -> None:
        self._send_stop(wanted.name, known, process, is_harmless=is_harmless)
        await self._write(wanted, known, "draining", why, process.pid)

    def _send_stop(self, name: str, known: Known, process: ProcessIdentity, *, is_harmless: bool = False) -> None:
        now_s = self._clock.monotonic()
        if known.patience is None:
            known.patience = Patience(now_s, is_harmless)
            logger.info("asked trader %s to stop", name, extra={"action": "trader_stop"})
            self._launcher.signal(process, signal.SIGTERM)
            return
        known.patience = known.patience.looked(now_s, is_asleep=is_harmless)
        if known.patience.is_over(now_s):
            logger.warning("trader %s did not stop in time: killed", name, extra={"action": "trader_killed"})
            self._launcher.signal(process, signal.SIGKILL)

    async def _relay(self, wanted: Wanted, view: TraderView) -> None:
        """Tell a trader what is desired when it does something else, and what is new of its market."""
        if view.state == FENCED:
            return  # whatever it is told, it quotes no more
        if DOES.get(view.state, "running") != wanted.desired and wanted.desired in SAY:
            await self._line.tell(wanted.id, SAY[wanted.desired])
        if 0 < view.latched_us <= wanted.released_us:
            await self._line.tell(wanted.id, "release")
        if wanted.facts is not None and view.facts_digest != wanted.facts.digest:
            await self._line.tell(wanted.id, "market", encode_facts(wanted.facts))

    # What it writes down

    async def _fail(self, wanted: Wanted, known: Known, reason: str) -> None:
        extra = {"action": "trader_failed", "alert": "TRADER_FAILED", "ticker": wanted.ticker}
        logger.error("trader %s failed: %s", wanted.name, reason, extra=extra)
        await self._write(wanted, known, "failed", reason, None)

    async def _retire(self, wanted: Wanted) -> bool:
        try:
            await in_thread(fleet.retire, wanted, CLOSED)
        except DatabaseFault as exc:
            self._say_lost(exc)
            return False
        return True

    async def _write(self, wanted: Wanted, known: Known, state: str, reason: str, pid: int | None) -> None:
        row = (state, reason, pid, known.restarts)
        if row == known.written and wanted.state == state:
            return
        try:
            await self._write_down(wanted, known, row)
        except DatabaseFault as exc:
            self._say_lost(exc)

    async def _write_down(self, wanted: Wanted, known: Known, row: tuple[str, str, int | None, int]) -> None:
        state, reason, pid, restarts = row
        await in_thread(fleet.write_state, wanted.id, state=state, reason=reason, pid=pid, restarts=restarts)
        known.written = row

    def _say_lost(self, exc: Exception) -> None:
        """Say once an outage that the database does not do what is asked of it."""
        if not self._is_database_lost:
            text = "database: %s; going on with what was read last"
            logger.warning(text, exc, extra={"action": "database_lost"})
        self._is_database_lost = True

    async def _report(self) -> None:
        self._pulse.state = "running"
        self._pulse.counters["traders_wanted"] = len(self._wanted)
        self._pulse.counters["traders_living"] = len(self._living)
        self._pulse.counters["unclaimed_orders"] = self._unclaimed.count
        launchers = await asyncio.to_thread(self._launcher.pulse)
        self._has_launcher = launchers is not None
        self._pulse.counters["spawner_answers"] = int(self._has_launcher)
        await self._line.show(self._pulse, *([launchers] if launchers else []))


def _why_resumed(wanted: Wanted, known: Known, view: TraderView | None) -> str:
    """Return why a process must not go on: a person has resumed it after a kill, or paused and resumed a fenced one.

    One whose group was triggered while it was to run waits for a person (F11).
    """
    if known.was_killed and wanted.desired != "paused":
        return "it was killed, and somebody resumed it: it starts anew"
    if view is None or view.state != FENCED:
        return ""
    if wanted.desired == "paused":
        known.was_paused_fenced = True
        return ""
    return "it was fenced, and somebody resumed it: it starts anew" if known.was_paused_fenced else ""


def _crash(path: Path, ended: Ended | None) -> str:
    """Return why the last process of a trader counts as crashed, or an empty string."""
    running = read_running(path)
    if running is None:
        return ""
    if ended and ended.identity == running.identity:
        return ended.reason if ended.code else ""
    # A reboot ends every process without a word; that is nobody's fault.
    return "it ended without a word" if running.identity.boot_id == boot_id() else ""


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
