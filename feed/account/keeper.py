"""Keep the truth of one account: its private channels, its polls, its view and its stream.

    private channels ──► session ──┐
                                   ├──► view ──► kmm:account:{id}
    one poll for everybody ────────┘     │
                  ▲                      │ something does not fit together
                  └──────────────────────┘

After every reconnect everything is asked again rather than trusted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import redis.asyncio as redis_async
from msgspec.structs import replace

from feed import schema
from feed.account import reading
from feed.account.polls import Learned, Periods, Polls
from feed.account.publisher import AccountPublisher
from feed.account.view import AccountView, Ours
from feed.budget import Budget
from feed.kalshi import channels, events
from feed.kalshi.commanderrors import Remedy
from feed.kalshi.environments import Environment
from feed.kalshi.errors import VenueError
from feed.kalshi.rest import Rest
from feed.kalshi.session import Session
from feed.kalshi.signing import Signer
from feed.link import Link, Receive
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.worker import every, wait_or_stop

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
ANSWER_LOOKS = 40  # a subscription unanswered for so many looks has lost its answer
DOUBT_S = 1.0  # channels tell of one thing in several messages: a doubt must last to be asked about
DOUBT_MOST_S = 30.0
DOUBT_ALERT_S = 60.0
REFUSED_AGAIN_S = 60.0
SLOWER_AGAIN_S = 5.0
RETRY_REDIS_S = 0.5
ESSENTIAL = ("orders", "fills", "positions")
AFTER_A_HOLE = ("orders", "fills", "positions", "groups", "queue", "balances")


def none_ours(_client_order_id: str) -> bool:
    """Nothing of what rests at the venue was placed by this installation."""
    return False


class Keeper:
    """One account."""

    def __init__(
        self,
        account: str,
        *,
        environment: Environment,
        signer: Signer,
        client: redis_async.Redis,
        clock: Clock,
        adapter: str = "picows",
        periods: Periods | None = None,
        is_ours: Ours = none_ours,
    ) -> None:
        self.account, self._clock, self._periods = account, clock, periods or Periods()
        self.view = AccountView(is_ours)
        self.counters: dict[str, int] = {"differences": 0, "failed_reads": 0, "malformed": 0}
        self.health = schema.AccountHealth("connecting", "", None, None)
        self._budget = Budget(client, account, clock)
        self._rest = Rest(environment, signer, clock, limiter=self._budget)
        self._polls = Polls(self._rest, self.view, clock, self._learned)
        self._publisher = AccountPublisher(client, account, clock)
        self._link = Link(
            self, what=f"private channels of {account}", alert="ACCOUNT_CHANNEL_DOWN", environment=environment,
            signer=signer, clock=clock, adapter=adapter,
        )  # fmt: skip
        self._session = Session()
        self._again: dict[str, float] = {}  # channel → monotonic time of its next subscribe
        self._ended: dict[str, float] = {}  # channel → monotonic time at which the venue last ended it
        self._due: dict[str, float] = dict.fromkeys(self._polls.reads, 0.0)
        self._due["missing"] = float("inf")  # only when something is missing
        self._failing: dict[str, tuple[int, str]] = {}
        self._doubts = 0
        self._doubt_since: float | None = None
        self._doubt_next = 0.0
        self._hole_next = 0.0
        self._is_live = False
        self._hurry, self._dirty = asyncio.Event(), asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        async with self._rest, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(stop), name=f"link {self.account}")
            tasks.create_task(self._poll(stop), name=f"poll {self.account}")
            tasks.create_task(every(stop, LOOK_EVERY_S, self._look), name=f"look {self.account}")
            tasks.create_task(self._publish(stop), name=f"publish {self.account}")

    # ---- the private channels ----------------------------------------------------------------------------------------

    def link_opened(self) -> Receive:
        self._session, self._again = Session(), {}
        for channel in channels.PRIVATE_CHANNELS:
            self._link.send(self._session.subscribe(channel))
        return self.receive

    def link_closed(self, reason: str) -> None:
        self._channel_down(reason)
        self._session = Session()

    def receive(self, turn: list[bytes], received_us: int) -> None:
        """Take in the frames that one read of the socket brought."""
        for data in turn:
            for event in self._session.receive(data):
                self._take_in(event, received_us)
        self._dirty.set()

    def _take_in(self, event: events.Event, now_us: int) -> None:
        match event:
            case events.OrderEvent():
                self.view.on_order(reading.told_order(event, now_us))
            case events.FillEvent():
                self.view.on_fill(reading.told_fill(event, now_us))
            case events.PositionEvent():
                told_us = reading.first_us(event.sending_ms, now_us=now_us)
                self.view.on_position(event.ticker, event.subaccount or 0, event.position_cx, told_us)
            case events.GroupEvent():
                self.view.on_group(reading.told_group(event))
            case events.Confirmed():
                self._confirmed(now_us)
            case events.Removed():
                self._removed(event)
            case events.Refused():
                self._refused(event)
            case events.Gap() | events.Malformed():
                self.counters["malformed"] += isinstance(event, events.Malformed)
                hole = event.reason if isinstance(event, events.Malformed) else event  # a frame may be of megabytes
                logger.warning("the private channel has a hole: %s", hole, extra={"action": "account_hole"})
                self._ask_after_a_hole()

    def _confirmed(self, now_us: int) -> None:
        if all(self._session.of_channel(channel) is not None for channel in channels.PRIVATE_CHANNELS):
            self._is_live = True
            self.view.channel_opened(now_us)
            self._show_health()
            self._publisher.ask_whole()
            self._ask_now(AFTER_A_HOLE)  # what happened while nobody told

    def _channel_down(self, reason: str) -> None:
        self._is_live = False
        self.view.channel_closed()
        self._show_health(reason)

    def _removed(self, event: events.Removed) -> None:
        """Subscribe again at the next look; a channel that ends again and again has to wait longer."""
        self._channel_down(f"{event.channel} ended: {event.reason}")
        now = self._clock.monotonic()
        is_again = now - self._ended.get(event.channel, -REFUSED_AGAIN_S) < REFUSED_AGAIN_S
        self._ended[event.channel] = now
        self._again[event.channel] = now + (SLOWER_AGAIN_S if is_again else 0.0)

    def _refused(self, event: events.Refused) -> None:
        if event.action != "subscribe":
            return
        wait_s = SLOWER_AGAIN_S if event.remedy is Remedy.SEND_SLOWER else REFUSED_AGAIN_S
        self._again[event.channel] = self._clock.monotonic() + wait_s
        fields = {"action": "account_channel_refused", "alert": "ACCOUNT_CHANNEL_REFUSED", "channel": event.channel}
        logger.error("%s refused: %d %s", event.channel, event.code, event.message, extra=fields)

    # ---- polls -------------------------------------------------------------------------------------------------------

    def _ask_now(self, names: Iterable[str]) -> None:
        for name in names:
            self._due[name] = 0.0
        self._hurry.set()

    def _ask_after_a_hole(self) -> None:
        """Ask at once, but not for each of many holes: reads are paid by everybody on the account."""
        now = self._clock.monotonic()
        if now >= self._hole_next:
            self._hole_next = now + DOUBT_S
            self._ask_now(AFTER_A_HOLE)
            return
        for name in AFTER_A_HOLE:
            self._due[name] = min(self._due[name], self._hole_next)
        self._hurry.set()

    async def _poll(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._hurry.clear()
            await self._turn(stop)
            wait_s = min(self._due.values()) - self._clock.monotonic()
            if wait_s > 0:
                await _either(stop, self._hurry, within_s=wait_s)

    async def _turn(self, stop: asyncio.Event) -> None:
        """Read what is due; everything read in one turn is at least as new as the user-data time asked before."""
        now = self._clock.monotonic()
        due = [name for name in self._polls.reads if self._due[name] <= now]
        if not due:
            return
        try:
            as_of_us = await self._polls.user_data_us()
        except VenueError as exc:
            for name in due:
                self._failed(name, exc)
            return
        self.health = replace(self.health, user_data_us=max(as_of_us, self.health.user_data_us or 0))
        for name in due:
            if stop.is_set():
                return
            await self._read(name, as_of_us)
        self._show_health()
        self._publisher.add([self.health])
        self._dirty.set()

    async def _read(self, name: str, as_of_us: int) -> None:
        self._due[name] = self._clock.monotonic() + getattr(self._periods, name, float("inf"))
        try:
            await self._polls.reads[name](as_of_us)
        except VenueError as exc:
            self._failed(name, exc)
            return
        if self._failing.pop(name, None):
            logger.info("%s can be read again", name, extra={"action": "account_readable"})

    def _failed(self, name: str, exc: VenueError) -> None:
        """A failed read teaches nothing: whatever was true still is, as far as we know."""
        self.counters["failed_reads"] += 1
        times = self._failing.get(name, (0, ""))[0] + 1
        self._failing[name] = (times, str(exc))
        wait_s = delay_s(times, first_s=1.0, most_s=DOUBT_MOST_S, jitter=0.0)
        self._due[name] = self._clock.monotonic() + wait_s
        fields = {"action": "account_unread"} | (
            {"alert": "ACCOUNT_UNREAD"} if times >= 3 and name in ESSENTIAL else {}
        )
        logger.warning("%s cannot be read: %s", name, exc, extra=fields)
        self._show_health()

    def _learned(self, learned: Learned) -> None:
        self._budget.limits, self._budget.costs = learned.limits, learned.costs
        self.health = replace(self.health, attestation_us=learned.attestation_us)

    # ---- looking over it ---------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Tell of differences, ask again about doubts that last, and look after the subscriptions."""
        now = self._clock.monotonic()
        differences = self.view.tick(self._clock.wall_us())
        if differences:
            self.counters["differences"] += len(differences)
            fields = {"action": "account_difference", "alert": "ACCOUNT_DIFFERENCE", "account": self.account}
            first, count = differences[0], len(differences)
            message = "polling found %d changes that the private channel did not tell, first: %s %s (%s)"
            logger.error(message, count, first.kind, first.subject, first.detail, extra=fields)
            self._dirty.set()
        self._look_at_doubts(now)
        if self._session.give_up(ANSWER_LOOKS):
            logger.error("what is subscribed is in doubt: connecting anew", extra={"action": "answer_lost"})
            await self._link.hang_up()
            return
        for channel in [channel for channel, at in self._again.items() if at <= now]:
            del self._again[channel]
            self._link.send(self._session.subscribe(channel))

    def _look_at_doubts(self, now: float) -> None:
        wanted = self.view.wanted()
        if not wanted:
            self._doubts, self._doubt_since = 0, None
            return
        if self._doubt_since is None:
            self._doubt_since, self._doubt_next = now, now + DOUBT_S
            return
        if now < self._doubt_next:
            return
        self._doubts += 1
        self._doubt_next = now + delay_s(self._doubts, first_s=DOUBT_S, most_s=DOUBT_MOST_S, jitter=0.0)
        asked = {"fills": wanted.fills, "positions": wanted.positions, "missing": bool(wanted.order_ids)}
        self._ask_now(name for name, is_wanted in asked.items() if is_wanted)
        if now - self._doubt_since >= DOUBT_ALERT_S:
            fields = {"action": "account_in_doubt", "alert": "ACCOUNT_IN_DOUBT", "account": self.account}
            logger.error("the account does not agree with itself for %.0f s: %s", now - self._doubt_since, wanted,
                         extra=fields)  # fmt: skip

    def _show_health(self, reason: str = "") -> None:
        blind = [f"{name}: {self._failing[name][1]}" for name in ESSENTIAL if name in self._failing]
        state = "blind" if blind else "live" if self._is_live else "polling"
        said = reason or (self.health.reason if state == self.health.state else "")
        health = replace(self.health, state=state, reason=blind[0] if blind else "" if state == "live" else said)
        if (health.state, health.reason) != (self.health.state, self.health.reason):
            self._publisher.add([health])
            self._dirty.set()
        self.health = health

    # ---- publishing --------------------------------------------------------------------------------------------------

    async def _publish(self, stop: asyncio.Event) -> None:
        while True:
            await _either(stop, self._dirty, within_s=1.0)
            self._dirty.clear()
            self._publisher.add(self.view.take())
            is_sent = await self._publisher.send(self._whole if self._polls.has_seen_all else None)
            if stop.is_set():
                return
            if not is_sent:
                await wait_or_stop(stop, RETRY_REDIS_S)
                self._dirty.set()

    def _whole(self) -> list[schema.AccountUpdate]:
        return [*self.view.whole(), self.health]


async def _either(first: asyncio.Event, second: asyncio.Event, *, within_s: float) -> None:
    """Wait until one of two events is set, at most `within_s`."""
    waiting = [asyncio.create_task(event.wait(), name="either") for event in (first, second)]
    try:
        await asyncio.wait(waiting, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
