"""One trader as a process: streams in, engine, journal and beat out. It opens no database connection.

    engine ──► broker: paper, or behind a grant live, with its own ways in and out (traders.liveside)

    follow   streams → engine → journal file      wakes with every entry
    watch    the engine by time alone             each 250 ms: feed age, close of the market
    report   beat, journal → stream, lease, logs  each 500 ms and when orders change
    keep     checkpoint                           each 3 s

Redis away: `follow` and `report` wait with back-off and the journal goes on in its file; within 2 s the feed counts
as silent and `watch` cancels. Recovery is the same after a clean stop and a crash: checkpoint + journal → state;
paper orders do not survive and are journalled canceled, live ones are looked for at the exchange.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import redis.asyncio as redis_async
import setproctitle
from redis.exceptions import RedisError

from feed.schema import (
    INTEREST,
    INTEREST_LEASE_S,
    VERSION,
    Decision,
    FillState,
    JournalBody,
    JournalEntry,
    LatchChange,
    OrderState,
    ParamsChange,
    StateChange,
    encode,
    interest_member,
)
from kalshimm.errors import EXIT_FAILED, KalshimmError
from kalshimm.runtime import logs, streams, worker
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock, SystemClock
from kalshimm.runtime.heartbeat import Pulse
from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.process import ProcessIdentity
from kalshimm.runtime.resp import Pipe
from markets.core.units import Side, format_count, format_price, yes_price_cc
from traders.answering import Answering
from traders.core.kills import Target
from traders.core.orders import OrderStatus
from traders.core.pipeline import FAILED
from traders.engine import CLOSED, PAUSED, TURN_S, Engine, Now
from traders.feedview import Batch, StreamReader
from traders.journal import Journal, load_checkpoint, recover, save_checkpoint
from traders.killswitch import KillSwitch
from traders.processes import Ended, Running, trader_folder, write_ended, write_running
from traders.start import Start, read_start

if TYPE_CHECKING:
    from traders.liveside import LiveLine

logger = logging.getLogger(__name__)

READ_BLOCK_MS = 500
REPORT_S = 0.5
REPORT_GAP_S = 0.05  # order changes come in bursts; one beat tells them all
KEEP_S = 3.0
LEASE_EVERY_S = INTEREST_LEASE_S / 3
LOGS_EVERY_S = 1.0
LAST_WORDS_S = 1.5
DRAIN_S = 3.0  # for the exchange to confirm cancels; shorter than the supervisor's patience
REDIS_ERRORS = (RedisError, ConnectionError, TimeoutError)  # not every OSError: a full disk is another matter

Every = Callable[[], Awaitable[None]]


class TraderProcess:
    """Everything of one running trader.

    Args:
        start: What to do.
        path: The trader's folder; its lock is held by the caller.
        client: Redis; its calls end by themselves (kalshimm.runtime.streams).
        pipe: Redis once more, for following the book.
        line: A live trader's way to the exchange; None trades on paper.
    """

    def __init__(
        self,
        start: Start,
        path: Path,
        *,
        client: redis_async.Redis,
        pipe: Pipe,
        clock: Clock,
        line: LiveLine | None = None,
    ) -> None:
        self._start = start
        self._path = path
        self._client = client
        self._clock = clock
        self._kept = load_checkpoint(path / "checkpoint.json")
        first_number = max((self._kept or start.stored).number, start.stored.number)
        self._journal = Journal(path / "journal", first_number=first_number)
        before, lines, kept = recover(self._kept, self._journal.entries(), start.stored, path)
        self._state = kept
        self._journal.acknowledge(start.stored.number)
        switch, target = KillSwitch(path.parent.parent), Target(start.trader, start.name, start.account, start.event)
        self._why_killed = partial(switch.why, target)
        self._heeded = ""
        self._live = None
        if line is not None:
            self._live = line.side(
                before, lines, kept,
                write=self._write, synced=self._journal.synced, react=self._react, why_killed=self._why_killed,
            )  # fmt: skip
        self.engine = Engine(
            start.setup(),
            start.paper_broker(kept.inventory) if self._live is None else self._live.broker,
            inventory=kept.inventory,
            desired=start.desired,
            memory=kept.risk,
        )
        self._answering = Answering(start, self.engine, write=self._write, why_killed=self._why_killed)
        self._reader = StreamReader(pipe, trader=start.trader, ticker=start.ticker, control_id=kept.control_id)
        self._pulse = Pulse(role="trader", name=str(start.trader), clock=clock)
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()
        # Looked at by every loop, because a cancel alone can be lost: the Redis client sends inside `wait_for`, which
        # before Python 3.12 swallows a cancel that arrives together with the result.
        self._is_over = False
        self._due: dict[str, float] = {}

    def now(self) -> Now:
        return Now(self._clock.wall_us(), self._clock.monotonic())

    async def run(self, stop: worker.Stop) -> str:
        """Trade until stopped or the market closes; return why it ended."""
        await self._checkpoint()  # what was taken from the database must stand in the file before a line follows it
        self._recover_orders()
        self._heed_kill(self.now())
        try:
            reason = await self._trade(stop)
        except Exception as exc:
            await self._abandon(exc)
            raise
        self._write(self.engine.finish(reason))
        await self._checkpoint()
        await self._last_words()
        return reason

    async def _abandon(self, cause: Exception) -> None:
        """Let nothing rest that nobody watches; a live order must go even if that can no longer be written down.

        Nor may there be a disk for the log: what happened is told over Redis, if that takes it in time.
        """
        try:
            self._write(self.engine.drain("its process failed"))
        finally:
            if self._live is not None:
                await self._live.pull()
            extra = {"action": "trader_failed", "alert": "TRADER_FAILED", "ticker": self._start.ticker}
            logger.error("trader %s ends: %s", self._start.name, _cause(cause), extra=extra)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._ship_logs()

    async def _trade(self, stop: worker.Stop) -> str:
        async with asyncio.TaskGroup() as tasks:
            if self._live is not None:
                self._live.begin(tasks)
            running = [
                tasks.create_task(self._follow(), name="follow"),
                tasks.create_task(self._watch(), name="watch"),
                tasks.create_task(self._report(), name="report"),
                tasks.create_task(self._keep(), name="keep"),
            ]
            asked = asyncio.ensure_future(stop.wait())
            closed = asyncio.ensure_future(self._closed.wait())
            try:
                await asyncio.wait([asked, closed, *running], return_when=asyncio.FIRST_COMPLETED)
                reason = CLOSED if self._closed.is_set() else "asked to stop"
                if self._live is not None:
                    self._live.drain(reason)
                self._write(self.engine.drain(reason))
                if self._live is not None:
                    reason += await self._live.drained(DRAIN_S, stop.again)
            finally:  # also when a task has failed: none may go on beating for those that have ended
                self._is_over = True
                if self._live is not None:
                    self._live.end()
            for task in (asked, closed, *running):
                task.cancel()
        return reason

    def _recover_orders(self) -> None:
        """Paper orders stood in the memory of the process that is gone; live ones are the exchange's to tell of."""
        gone = (
            []
            if self._live is not None
            else [
                msgspec.structs.replace(order, remaining_cx=0, status=OrderStatus.CANCELED.value, reason="restart")
                for order in self._state.open_orders
            ]
        )
        self._write(gone)
        logger.info(
            "trader %s starts %s: position %d cx, %d orders of its last life open",
            self._start.name,
            self._start.mode,
            self._state.inventory.position_cx,
            len(gone) if self._live is None else len(self._live.unsettled()),
            extra={"action": "trader_start", "ticker": self._start.ticker},
        )

    # follow

    async def _follow(self) -> None:
        attempt = 0
        while not self._is_over:
            try:
                asked = self.now()
                self._take(await self._reader.locate(), asked)
                attempt = 0
                while not self._is_over:
                    asked = self.now()
                    batch = await self._reader.read(block_ms=READ_BLOCK_MS, now_s=asked.monotonic_s)
                    if batch.lost:
                        self._write(self.engine.lose_book("entries were trimmed before they were read"))
                        batch = msgspec.structs.replace(batch, events=(await self._reader.locate()).events)
                    self._take(batch, asked)
            except REDIS_ERRORS as exc:
                attempt += 1
                self._lost_redis("streams", exc, attempt)
                self._write(self.engine.lose_book("Redis is away"))
                await self._back_off(attempt)
            except msgspec.MsgspecError as exc:
                attempt += 1
                logger.exception("a stream entry cannot be read", extra={"action": "bad_entry"})
                self._write(self.engine.lose_book(f"a stream entry cannot be read ({exc})"))
                await self._back_off(attempt)

    def _take(self, batch: Batch, asked: Now) -> None:
        """Go by what a read brought that was begun at `asked`: its answer may have been long on the way."""
        now = self.now()
        if batch.feed:
            self.engine.on_feed(batch.feed, asked)
        self._write(self.engine.on_events(batch.events))  # before anybody decides on it: a fill is a fact
        if batch.events or batch.feed:
            self._write(self.engine.decide(now))
        self._pulse.count("events", len(batch.events))
        for control in batch.controls:
            self._answering.answer(control, now, heeded=self._heeded)

    def _react(self) -> None:
        """Book what has become of orders, and decide on it."""
        now = self.now()
        self._write(self.engine.settle(now))
        self._write(self.engine.decide(now))

    # watch

    async def _watch(self) -> None:
        while not self._is_over:
            self._pulse.turn(every_s=TURN_S)
            now = self.now()
            self._heed_kill(now)
            self._write(self.engine.turn(now))
            if self.engine.is_closed(now):
                self._closed.set()
            await asyncio.sleep(TURN_S)

    def _heed_kill(self, now: Now) -> None:
        """Pause when a kill covers it; it stays so until somebody resumes it, also once the kill is released."""
        killed = self._why_killed()
        if killed and (killed != self._heeded or self.engine.desired != PAUSED):
            logger.error("paused: %s", killed, extra={"action": "killed", "alert": "KILLED"})
            self._write(self.engine.pause(f"a kill: {killed}", now))
        self._heeded = killed

    # report

    async def _report(self) -> None:
        attempt = 0
        while not self._is_over:
            self._changed.clear()
            try:
                await self._report_once()
                attempt = 0
            except REDIS_ERRORS as exc:
                attempt += 1
                self._journal.resend()
                self._due.clear()  # the lease above all: the store may come back without it
                self._lost_redis("report", exc, attempt)
                await self._back_off(attempt)
                continue
            await asyncio.sleep(REPORT_GAP_S)
            await worker.set_within(self._changed, REPORT_S - REPORT_GAP_S)

    async def _report_once(self) -> None:
        await self._at_most_each(LEASE_EVERY_S, "lease", self._renew_lease)
        self._pulse.state = self.engine.state
        self._pulse.last_event = self.engine.why
        self._pulse.detail = encode(self.engine.trader_view(self.now()))
        self._pulse.counters["journal_unsent"] = self._journal.unsent
        if not await self._pulse.beat(self._client):
            raise ConnectionError("the beat could not be written")
        await self._journal.fetch_acknowledged(self._client, self._start.trader)
        await self._journal.send(self._client)
        await self._at_most_each(LOGS_EVERY_S, "logs", self._ship_logs)

    async def _at_most_each(self, seconds: float, what: str, step: Every) -> None:
        now_s = self._clock.monotonic()
        if now_s < self._due.get(what, now_s):
            return
        await step()
        self._due[what] = now_s + seconds

    async def _renew_lease(self) -> None:
        expiry_s = self._clock.wall_us() / 1_000_000 + INTEREST_LEASE_S
        await self._client.zadd(INTEREST, {self._lease(): expiry_s})

    def _lease(self) -> str:
        return interest_member(self._start.ticker, f"trader:{self._start.trader}")

    async def _ship_logs(self) -> None:
        await logs.ship(self._client, role="trader", name=str(self._start.trader))

    # keep

    async def _keep(self) -> None:
        while not self._is_over:
            await asyncio.sleep(KEEP_S)
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        """Replace the checkpoint, then let go of the journal lines it makes unnecessary.

        Each is on the disk before the next begins. A checkpoint ahead of the lines would keep them from the database,
        and lines that are let go of ahead of the checkpoint would be lost.
        """
        if self._live is not None:
            self._write(self.engine.settle(self.now()))  # what is kept of live orders must not be ahead of the lines
        kept = msgspec.structs.replace(self._state, control_id=self._reader.control_id, risk=self.engine.risk_memory)
        if self._live is not None:
            kept = self._live.kept(kept)
        if kept != self._kept:
            await self._journal.synced()
            await _to_its_end(partial(save_checkpoint, self._path / "checkpoint.json", kept))
            self._kept = kept
        self._journal.compact(kept)

    # common

    def _write(self, bodies: Sequence[JournalBody]) -> None:
        """Write what happened to the journal file; an exception here ends the process, and with it every quote."""
        for body in bodies:
            entry = JournalEntry(
                version=VERSION,
                trader=self._start.trader,
                number=self._journal.last_number + 1,
                time_us=self._clock.wall_us(),
                account=self._start.account,
                mode=self._start.mode,
                ticker=self._start.ticker,
                body=body,
            )
            self._journal.append(entry)
            self._state = self._state.after(entry)
            self._tell(body)
        if any(isinstance(body, OrderState) for body in bodies):
            self._changed.set()
        if self._live is not None:
            self._live.flush()

    def _tell(self, body: JournalBody) -> None:
        """Log what belongs to the story of a day."""
        if isinstance(body, StateChange):
            logger.info("now %s%s", body.state, f": {body.reason}" if body.reason else "", extra={"action": "state"})
        elif isinstance(body, LatchChange):
            alert = {"alert": "TRADER_LATCHED"} if body.is_on else {}
            words = "latched by %s: %s" if body.is_on else "released from %s: %s"
            level = logging.ERROR if body.is_on else logging.INFO
            logger.log(level, words, body.code, body.reason, extra={"action": "latch", **alert})
        elif isinstance(body, ParamsChange):
            logger.info("goes by %s", body.reason, extra={"action": "params_changed"})
        elif isinstance(body, Decision) and any(why.get("code") == FAILED for why in body.figures.get("why", ())):
            logger.error("%s", body.reason, extra={"action": "strategy_failed", "alert": "STRATEGY_FAILED"})
        elif isinstance(body, FillState):
            side, price = Side(body.side).book_side, format_price(yes_price_cc(Side(body.side), body.price_cc))
            count, position = format_count(body.count_cx), format_count(body.position_cx)
            logger.info("%s filled: %s at %s, position %s", side, count, price, position, extra={"action": "fill"})

    def _lost_redis(self, what: str, error: Exception, attempt: int) -> None:
        if attempt == 1:
            logger.warning("Redis does not answer (%s): %s", what, error, extra={"action": "redis_lost"})

    async def _back_off(self, attempt: int) -> None:
        await asyncio.sleep(delay_s(attempt, first_s=0.1, most_s=2.0, jitter=random.random()))

    async def _last_words(self) -> None:
        """Send what is left, if Redis takes it in time; the file keeps it otherwise."""
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await self._journal.send(self._client)
                await self._client.zrem(INTEREST, self._lease())
                await self._pulse.retire(self._client)
                await self._ship_logs()
        except REDIS_ERRORS as exc:
            logger.warning("Redis did not take the last journal lines: %s", exc, extra={"action": "redis_lost"})
        self._journal.close()


async def _to_its_end(write: Callable[[], None]) -> None:
    """Write in a thread, and when canceled return only after it: who comes next replaces the same file."""
    writing = asyncio.ensure_future(asyncio.to_thread(write))
    try:
        await asyncio.shield(writing)
    finally:
        await asyncio.wait([writing])


async def _trade(start: Start, path: Path, stop: worker.Stop) -> str:
    client, pipe, clock = streams.connect(start.redis_url), Pipe(start.redis_url), SystemClock()
    line = None
    try:
        if start.live is not None:
            line = await _live_line(start, path, client, clock)
        return await TraderProcess(start, path, client=client, pipe=pipe, clock=clock, line=line).run(stop)
    finally:
        if line is not None:
            await line.close()
        pipe.close()
        await client.aclose()


async def _live_line(start: Start, path: Path, client: redis_async.Redis, clock: Clock) -> LiveLine:
    """Return a live trader's way to the exchange; loaded here, so that a paper trader's process has no such thing."""
    liveside = importlib.import_module("traders.liveside")
    line: LiveLine = await liveside.connect(start, path.parent.parent, client=client, clock=clock)
    return line


def main(home: Path, trader: int, begun: Callable[[], None] = lambda: None) -> None:
    """Run the trader `trader` of `home` until it is stopped or its market closes; its last act is exit.json.

    Args:
        begun: Called once process.json names this process.

    Raises:
        CannotStart: Its start file is missing or cannot be followed.
        AlreadyRunning: Another process trades it.
        SystemExit: The worker ended with an error that has an exit code.
    """
    setproctitle.setproctitle(f"manage.py trader {trader}")
    path = trader_folder(home, trader)
    with exclusive(path / "lock", what=f"Trader {trader}"):
        start = read_start(path)
        identity = ProcessIdentity.own()
        (path / "exit.json").unlink(missing_ok=True)
        write_running(path, Running(identity, start.instance))
        begun()
        ended = Ended(identity, start.instance, 0, "stopped", "")

        def failed(exc: BaseException) -> Ended:
            code = exc.exit_code if isinstance(exc, KalshimmError) else EXIT_FAILED
            return msgspec.structs.replace(ended, code=code, state="failed", reason=_cause(exc))

        async def run(stop: worker.Stop) -> None:
            nonlocal ended
            try:
                ended = msgspec.structs.replace(ended, reason=await _trade(start, path, stop))
            except Exception as exc:
                ended = failed(exc)
                raise

        try:
            worker.main(run, name=f"trader {trader}")
        except BaseException as exc:
            if ended.code == 0:  # a strategy that calls sys.exit goes past every task, and is no orderly end (A6)
                ended = failed(exc)
            raise
        finally:
            write_ended(path, ended)


def _cause(error: BaseException) -> str:
    """Return the first single error in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, KalshimmError) else f"{type(error).__name__}: {error}"
