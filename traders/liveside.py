"""What a live trader has that a paper one has not: its broker, the account's stream, the way to the exchange.

    follow    kmm:account:{id} → broker → engine      wakes with every entry
    send      intents → exchange → answers            (traders.brokers.sending)
    look      orders in doubt → reads → evidence      (traders.brokers.looking)

Only `traders.process` loads it, and only for a start file that holds a grant. Every order goes through the journal
first: `flush` writes down what was wished, then hands it to the sender.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import redis.asyncio as redis_async
from redis.exceptions import RedisError

from feed import keys
from feed.budget import Budget
from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.errors import VenueError
from feed.kalshi.rest import Rest
from feed.schema import AccountEntry, JournalBody, JournalEntry
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime import crash
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.resp import Pipe
from markets.core.orderids import Owner
from traders.accountfeed import AccountReader
from traders.brokers.live import LiveBroker, venue_clock
from traders.brokers.looking import Looker
from traders.brokers.sending import Sender
from traders.brokers.venue import Venue
from traders.core.drift import remembered
from traders.core.intents import Answered, Intent, Record, Sent, Take
from traders.core.liveorders import LiveOrders
from traders.journal import Checkpoint
from traders.livenotes import body_of, record_of
from traders.start import CannotStart, LiveStart, Start

logger = logging.getLogger(__name__)

CLOCK_S = 3.0  # how long the exchange may take to tell its time before ours has to do
READ_BLOCK_MS = 500
PAUSE_MAX_S = 2.0  # after a longer pause of our own entries may have been trimmed before they were read
DRAINED_LOOK_S = 0.05
REDIS_ERRORS = (RedisError, ConnectionError, TimeoutError)


class Hooks(msgspec.Struct, frozen=True):
    """What the process does for it: write journal lines, wait until they are durable, book and decide.

    `why_killed` says why nothing new may leave, empty without a kill; it is looked at before each order.
    """

    write: Callable[[Sequence[JournalBody]], None]
    synced: Callable[[], Awaitable[None]]
    react: Callable[[], None]
    why_killed: Callable[[], str]


class LiveLine:
    """An open way to the exchange for one trader: its key, its share of the budget, the exchange's time.

    Raises:
        CannotStart: The start file holds no address of its environment.
        VaultError: The key cannot be opened.
    """

    def __init__(self, start: Start, live: LiveStart, home: Path, *, client: redis_async.Redis, clock: Clock) -> None:
        if not environments.answers_at(live.environment, live.rest_url):
            raise CannotStart(f"{live.rest_url} is no address of {live.environment}; start trader {start.name} again.")
        self.start, self.live, self.clock = start, live, clock
        signer = keys.open_key(home, live.key)
        environment = Environment(live.environment, live.rest_url, "")
        self.rest = Rest(environment, signer, clock, limiter=Budget(client, start.account, clock))
        self.pipe = Pipe(start.redis_url)
        self.now_us: Callable[[], int] = clock.wall_us

    async def open(self) -> None:
        """Connect, and learn the exchange's time; without it ours has to do until it answers."""
        await self.rest.__aenter__()
        try:
            async with asyncio.timeout(CLOCK_S):
                await self.rest.exchange.status()
        except (VenueError, TimeoutError) as exc:
            logger.warning("the exchange does not tell its time: %s", exc, extra={"action": "no_venue_time"})
        offset = self.rest.clock_offset()
        wall_us = self.clock.wall_us() + (offset.estimate_us if offset else 0)
        self.now_us = venue_clock(wall_us, self.clock.monotonic)

    def side(
        self,
        checkpoint: Checkpoint,
        lines: Sequence[JournalEntry],
        state: Checkpoint,
        *,
        write: Callable[[Sequence[JournalBody]], None],
        synced: Callable[[], Awaitable[None]],
        react: Callable[[], None],
        why_killed: Callable[[], str],
    ) -> LiveSide:
        """Return the live part of the trader's process.

        Args:
            checkpoint, lines: What earlier processes left in the trader's folder.
            state: What they come to, or the database where it is ahead of them.
        """
        orders = _recover(self.start, self.live, checkpoint, lines, state, now_us=self.now_us())
        return LiveSide(self, orders, state, Hooks(write, synced, react, why_killed))

    async def close(self) -> None:
        self.pipe.close()
        await self.rest.__aexit__(None, None, None)


async def connect(start: Start, home: Path, *, client: redis_async.Redis, clock: Clock) -> LiveLine:
    """Return a live trader's way to the exchange."""
    assert start.live is not None, "only a granted trader gets one"
    line = LiveLine(start, start.live, home, client=client, clock=clock)
    await line.open()
    return line


class LiveSide:
    """The live part of one trader's process."""

    def __init__(self, line: LiveLine, orders: LiveOrders, state: Checkpoint, hooks: Hooks) -> None:
        start, live = line.start, line.live
        self._line, self._hooks = line, hooks
        self._stop = asyncio.Event()
        self.broker = LiveBroker(
            orders,
            start.ticker,
            now_us=line.now_us,
            exchange_index=live.exchange_index,
            subaccount=live.subaccount or 0,
            held=state.inventory.position,
            outside=remembered(state.outside_under(live.grant), state.outside_cost_ud),
            outside_us=state.outside_us,
            outside_fills=state.outside_fills,
        )
        self._venue = venue = Venue(line.rest, live, start.ticker, line.now_us)
        synced = hooks.synced if live.journal_sync == "always" else _at_once
        self._sender = Sender(
            orders, venue,
            write=self._note, synced=synced, now_us=line.now_us, changed=hooks.react, why_killed=hooks.why_killed,
        )  # fmt: skip
        self._looker = Looker(orders, venue, now_us=line.now_us, changed=self._hooks.react)
        self.broker.why_not_sending = lambda: self._sender.stopped
        self.broker.why_not_decreasing = lambda: self._sender.why_no_change(is_renewal=False)
        self.broker.bars_decreases = self._sender.bars_decreases
        self.broker.why_not_renewing = lambda: self._sender.why_no_change(is_renewal=True)
        self.broker.on_swept = self._hold_orders
        self._reader = AccountReader(line.pipe, start.account)

    def begin(self, tasks: asyncio.TaskGroup) -> None:
        tasks.create_task(self._follow(), name="follow account")
        tasks.create_task(self._sender.run(self._stop), name="send")
        tasks.create_task(self._looker.run(self._stop), name="look")

    def end(self) -> None:
        """Let its tasks end."""
        self._stop.set()

    def drain(self, reason: str) -> None:
        """Let nothing new leave any more, not even what is queued; cancels go on."""
        self._sender.end(reason)

    def _hold_orders(self) -> None:
        if not self.broker.fenced:  # a group that was triggered cancels without a reason, too
            self._sender.hold_creates_until_us = self._line.now_us() + self._line.live.sweep_s * 1_000_000

    # What is written down

    def flush(self) -> None:
        """Write down what was wished, and let it be sent; tell a person what he should hear of."""
        while intents := self.broker.take_intents():
            self._hooks.write([body_of(intent) for intent in intents])
            crash.point("trader.after_intent")
            # A take closes. The venue may cut it to the position, where all of the account's is ours.
            outside = self.broker.outside_held
            reduce_only = outside is not None and outside.position_cx == 0
            for intent in intents:
                self._sender.put(intent, reduce_only=reduce_only and isinstance(intent.wish, Take))
        for alert in self.broker.take_alerts():
            extra = {"action": "live_alert", "alert": f"LIVE_{alert.code}", "client_order_id": alert.client_order_id}
            logger.error("%s", alert.text, extra=extra)

    def _note(self, record: Record) -> None:
        assert isinstance(record, Intent | Sent | Answered), "fills and orders are the engine's to write"
        self._hooks.write([body_of(record)])

    def kept(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint with what is known of live orders; every line of it has been written."""
        broker, outside = self.broker, self.broker.outside_held
        return msgspec.structs.replace(
            checkpoint,
            live=broker.live.kept(),
            outside_cx=outside.position_cx if outside else None,
            outside_cost_ud=outside.cost_ud if outside else None,
            outside_us=broker.outside_us,
            outside_fills=broker.outside_fills,
            drifted_under=self._line.live.grant if broker.has_drifted else 0,
        )

    def unsettled(self) -> tuple[str, ...]:
        return self.broker.live.unsettled()

    # The account's stream

    async def _follow(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                self._hear(await self._reader.locate())
                attempt = 0
                read_at_s = self._line.clock.monotonic()
                while not self._stop.is_set():
                    now_s = self._line.clock.monotonic()
                    if now_s - read_at_s > PAUSE_MAX_S and await self._reader.is_cut():
                        break
                    read_at_s = now_s
                    self._hear(await self._reader.read(block_ms=READ_BLOCK_MS))
            except (*REDIS_ERRORS, msgspec.MsgspecError) as exc:
                attempt += 1
                if attempt == 1:
                    logger.warning("the account's stream: %s", exc, extra={"action": "account_lost"})
                await asyncio.sleep(delay_s(attempt, first_s=0.1, most_s=2.0, jitter=random.random()))

    def _hear(self, entries: Sequence[AccountEntry]) -> None:
        if entries:
            self.broker.on_account(entries)
            self._sender.wake()
            self._hooks.react()

    # How it ends

    async def drained(self, within_s: float, asked_again: asyncio.Event) -> str:
        """Wait until the exchange has confirmed that nothing rests; return what to add to the reason if it has not.

        Args:
            asked_again: Once set, the wait ends as soon as every cancel has left (A17). Then, as when the time is over,
                the group is triggered, and what became of its orders is for the next lease to find.
        """
        give_up = self._line.clock.monotonic() + within_s
        while open_orders := self._still_open():
            is_hurried = asked_again.is_set() and not self._sender.has_cancels
            if is_hurried or self._line.clock.monotonic() >= give_up:
                logger.error(
                    "%d orders are not confirmed as over", open_orders,
                    extra={"action": "drain_unconfirmed", "alert": "LIVE_UNCONFIRMED"},
                )  # fmt: skip
                await self.pull()
                return f"; {'asked again, ' if is_hurried else ''}{open_orders} orders unconfirmed"
            self._hooks.react()  # cancels that are due again
            await asyncio.sleep(DRAINED_LOOK_S)
        return ""

    def _still_open(self) -> int:
        orders = self.broker.live
        return len({*orders.unsettled(), *(quote.client_order_id for quote in orders.resting())})

    async def pull(self) -> None:
        """Have the exchange cancel whatever rests in our group, by the one request that needs nothing written down."""
        try:
            await self._venue.trigger()
        except (VenueError, OutcomeUnknown) as exc:
            logger.error("the order group is not triggered: %s", exc, extra={"action": "pull", "alert": "LIVE_PULL"})


async def _at_once() -> None:
    """Wait for nothing: the kernel has the lines, and a crash of the process loses none."""


def _recover(
    start: Start,
    live: LiveStart,
    checkpoint: Checkpoint,
    lines: Sequence[JournalEntry],
    state: Checkpoint,
    *,
    now_us: int,
) -> LiveOrders:
    """Return what is known of live orders: by the files, or where the database is ahead of them, by it."""
    owner = Owner(live.installation, start.trader, live.epoch)
    is_ahead = state.number > max([checkpoint.number, *(line.number for line in lines)])
    kept = state.live if is_ahead else checkpoint.live
    records = [] if is_ahead else [record for line in lines if (record := record_of(line.body)) is not None]
    return LiveOrders.recover(owner, start.ticker, records, now_us=now_us, group_id=live.group_id, kept=kept)
