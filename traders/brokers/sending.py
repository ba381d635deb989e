"""Carries intents out: written down, then sent once; each answer is told and written down.

    put ──► queue ──► synced ──► Sent, written ──► venue ──► Answered, written, told ──► changed
              │                                       │
              │         cancels wait for no disk      └── held back: NOT_SENT; of a cancel it is due again at once, as a
              └── must not leave any more: NOT_SENT       new intent, and leaves when the budget or the network lets it

In order: cancels, decreases, renewals, new orders (C7). While a cancel has to wait, nothing that adds risk is sent; a
new order that cannot leave at once is not kept: it would be late, and the next decision wishes anew. LiveOrders bounds
how many are on their way, one new order and one change a side (C8); each has a task, so a slow answer holds nobody up.

What keeps new orders back is `stopped` (traders.brokers.gate). The queue is the only thing lost in a crash: an intent
in it has no `Sent`, and counts as sent until it is looked at.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from feed.kalshi.errors import (
    Forbidden,
    HeldBack,
    NeverSent,
    NotFound,
    RateLimited,
    RequestRefused,
    Unauthorized,
    VenueError,
)
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime import crash
from kalshimm.runtime.worker import every, set_within
from traders.brokers.answers import Result, answer_of
from traders.brokers.gate import Gate
from traders.brokers.pace import Pace
from traders.brokers.venue import NotGranted, Venue
from traders.core.intents import Answered, Cancel, Decrease, Intent, Outcome, Place, Record, Renew, Sent, Take
from traders.core.liveorders import LiveOrders

logger = logging.getLogger(__name__)

SECOND_US = 1_000_000
TICK_S = 0.25  # what evidence makes due is found at the latest then
WATCH_S = 0.25
UNANSWERED_MOST = 3  # requests in a row; one may be the answer's fault
STALE_US = SECOND_US  # a new order that waited so long was decided on another market
CANCEL, DECREASE, RENEW, ORDER = "cancel", "decrease", "renew", "order"
KINDS = {Cancel: CANCEL, Decrease: DECREASE, Renew: RENEW, Place: ORDER, Take: ORDER}
STALE, BEHIND_CANCELS, JOURNAL, STOPPED = "STALE", "BEHIND_CANCELS", "JOURNAL", "STOPPED"
# What a call may end with; anything else is a fault of ours, of which nobody knows how far it came.
FORESEEN = (RequestRefused, HeldBack, NeverSent, NotGranted, OutcomeUnknown)

Call = Callable[[], Awaitable[Sequence[Result]]]


class Queued(NamedTuple):
    """An intent that has not left."""

    intent: Intent
    reduce_only: bool = False

    @property
    def kind(self) -> str:
        return KINDS[type(self.intent.wish)]


class Sender:
    """The sender of one trader in one market.

    Args:
        write: Writes a line of the journal; OSError when it cannot be kept.
        synced: Returns once everything written up to now is durable; OSError when that fails.
        now_us: The exchange's time as far as it is known, by a clock that nobody sets back.
        changed: Called when something has become of an intent.
        why_killed: Why nothing new may leave, empty when it may; looked at each time.
    """

    def __init__(
        self,
        live: LiveOrders,
        venue: Venue,
        *,
        write: Callable[[Record], None],
        synced: Callable[[], Awaitable[None]],
        now_us: Callable[[], int],
        changed: Callable[[], None],
        why_killed: Callable[[], str] = str,
    ) -> None:
        self._live, self._venue, self._write, self._synced = live, venue, write, synced
        self._now_us, self._changed = now_us, changed
        self._gate = Gate(venue.ticker, venue.grant_expires_us, venue.clock_offset, why_killed)
        self._paces = dict.fromkeys((CANCEL, DECREASE, RENEW, ORDER), Pace())
        self._queue: list[Queued] = []
        self._unsent: dict[int, Queued] = {}
        self._sent: dict[int, Queued] = {}
        self._unanswered = 0
        self._woken = asyncio.Event()

    # ---- asked from outside ------------------------------------------------------------------------------------------

    def put(self, intent: Intent, *, reduce_only: bool = False) -> None:
        """Queue an intent that the caller has written to the journal.

        Args:
            reduce_only: Of a take: let the venue cut it to the position that it closes.
        """
        one = Queued(intent, reduce_only)
        self._unsent[intent.number] = one
        self._queue.append(one)
        self._woken.set()

    def wake(self) -> None:
        """Look at once for cancels that have become due."""
        self._woken.set()

    @property
    def has_cancels(self) -> bool:
        """Whether a cancel waits to leave."""
        return any(one.kind is CANCEL for one in self._queue)

    def end(self, reason: str) -> None:
        """Let no new order and no change leave any more (A17); cancels go on."""
        self._gate.end(reason)
        self._woken.set()

    @property
    def stopped(self) -> str:
        """Why no new order may be sent now, its code first; empty when one may."""
        now_us = self._now_us()
        return self._gate.why_no_order(now_us) or self._paces[ORDER].why(now_us) or self._why_behind(now_us)

    def why_no_change(self, *, is_renewal: bool) -> str:
        """Return why no order may be renewed, or decreased, now; empty when one may."""
        now_us = self._now_us()
        pace = self._paces[RENEW if is_renewal else DECREASE]
        why = self._gate.why_no_change(now_us) or pace.why(now_us)
        return why or (self._why_behind(now_us) if is_renewal else "")

    def bars_decreases(self) -> bool:
        """Return whether decreases will not leave for as long as something of the venue's or a person's lasts."""
        return bool(self._gate.why_no_change(self._now_us()))

    def _why_behind(self, now_us: int) -> str:
        """Return whether cancels wait, which go before whatever adds risk."""
        return BEHIND_CANCELS if self.has_cancels and not self._paces[CANCEL].room(now_us) else ""

    @property
    def hold_creates_until_us(self) -> int:
        """Until when new orders are held back after a cancel-all of this account (F12)."""
        return self._gate.hold_orders_until_us

    @hold_creates_until_us.setter
    def hold_creates_until_us(self, until_us: int) -> None:
        self._gate.hold_orders_until_us = max(until_us, self._gate.hold_orders_until_us)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped; then the cancels that are queued, and return when all on its way is answered.

        Whoever does not wait for that cancels it: what is on its way then is unknown, and written down as that, as it
        is when a fault of ours ends this.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(every(stop, WATCH_S, self._watch), name="watch the gate")
                wake = tasks.create_task(self._wake_at(stop), name="wake at the stop")
                while not stop.is_set():
                    self._repeat_cancels()
                    self._dispatch(tasks)
                    await set_within(self._woken, self._idle_s())
                    self._woken.clear()
                for task in (watch, wake):
                    task.cancel()
                self.end(STOPPED)
                self._dispatch(tasks)
        finally:
            self.end(STOPPED)  # first: whoever hears of what follows may wish anew
            self._queue.clear()
            for one in list(self._unsent.values()):
                self._drop(one, STOPPED)
            for number in list(self._sent):
                self._answered(Answered(number, self._now_us(), Outcome.UNKNOWN, STOPPED))

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()

    def _idle_s(self) -> float:
        """Return how long nothing will be due by time alone."""
        held_us = self._paces[CANCEL].until_us - self._now_us()
        return min(TICK_S, held_us / SECOND_US) if held_us > 0 and self.has_cancels else TICK_S

    # ---- what leaves -------------------------------------------------------------------------------------------------

    def _repeat_cancels(self) -> None:
        for intent in self._live.due_cancels(self._now_us()):
            self._note(intent)
            self.put(intent)

    def _dispatch(self, tasks: asyncio.TaskGroup) -> None:
        """Start what may leave now, and drop what must not wait."""
        self._send_cancels(tasks)
        waiting = [one for one in self._queue if one.kind is CANCEL]
        others = [one for one in self._queue if one.kind is not CANCEL]
        self._queue = waiting
        orders: list[Queued] = []
        for one in sorted(others, key=_urgency):
            why = self._why_not(one)
            if why:
                self._drop(one, why)
            elif one.kind is ORDER:
                orders.append(one)
            else:
                tasks.create_task(self._change(one), name=f"{one.kind} {one.intent.number}")
        if orders:
            tasks.create_task(self._create(orders), name=f"order {orders[0].intent.number}")

    def _why_not(self, one: Queued) -> str:
        """Return why a new order or a change must not leave now."""
        now_us, is_order = self._now_us(), one.kind is ORDER
        why = self._gate.why_no_order(now_us) if is_order else self._gate.why_no_change(now_us)
        why = why or self._paces[one.kind].why(now_us)
        if why or one.kind is DECREASE:
            return why
        if self.has_cancels:
            return BEHIND_CANCELS
        return STALE if is_order and now_us >= one.intent.written_us + STALE_US else ""

    def _send_cancels(self, tasks: asyncio.TaskGroup) -> None:
        now_us = self._now_us()
        while room := self._paces[CANCEL].room(now_us):
            batch = [one for one in self._queue if one.kind is CANCEL][:room]
            if not batch:
                return
            self._paces[CANCEL] = self._paces[CANCEL].took(len(batch), now_us)
            self._queue = [one for one in self._queue if one not in batch]
            ready = [one for one in batch if self._leaves(one)]
            if ready:
                tasks.create_task(self._cancel(ready), name=f"cancel {ready[0].intent.number}")

    async def _cancel(self, batch: Sequence[Queued]) -> None:
        wishes = [one.intent.wish for one in batch if isinstance(one.intent.wish, Cancel)]

        async def call() -> Sequence[Result]:
            if len(wishes) == 1:
                return [await self._venue.cancel(wishes[0])]
            return await self._venue.cancel_many(wishes)

        await self._carry_out(batch, call)

    async def _change(self, one: Queued) -> None:
        wish = one.intent.wish

        async def call() -> Sequence[Result]:
            if isinstance(wish, Decrease):
                return [await self._venue.decrease(wish)]
            assert isinstance(wish, Renew)
            return [await self._venue.renew(wish)]

        if await self._is_durable([one]) and self._may_leave(one):
            await self._carry_out([one], call)

    async def _create(self, orders: Sequence[Queued]) -> None:
        """Send new orders: takes first, each alone; others that are due together in one request."""
        if not await self._is_durable(orders):
            return
        crash.point("trader.after_sync")
        places = [one for one in orders if isinstance(one.intent.wish, Place)]
        async with asyncio.TaskGroup() as tasks:
            for one in orders:
                if isinstance(one.intent.wish, Take) and self._may_leave(one):
                    tasks.create_task(self._take(one, one.intent.wish))
            while places:
                room = max(self._paces[ORDER].room(self._now_us()), 1)
                batch, places = [one for one in places[:room] if self._may_leave(one)], places[room:]
                if batch:
                    tasks.create_task(self._place(batch))

    async def _take(self, one: Queued, wish: Take) -> None:
        async def call() -> Sequence[Result]:
            return [await self._venue.take(one.intent.client_order_id, wish, reduce_only=one.reduce_only)]

        await self._carry_out([one], call)

    async def _place(self, batch: Sequence[Queued]) -> None:
        found = [(one.intent.client_order_id, one.intent.wish) for one in batch]
        wishes = [(name, wish) for name, wish in found if isinstance(wish, Place)]

        async def call() -> Sequence[Result]:
            if len(wishes) == 1:
                return [await self._venue.place(*wishes[0])]
            return await self._venue.place_many(wishes)

        await self._carry_out(batch, call)

    async def _is_durable(self, batch: Sequence[Queued]) -> bool:
        """Wait until the intents are on the disk; drop them if they cannot be, or nobody waits any more."""
        try:
            await self._synced()
        except OSError as exc:
            logger.error("the journal cannot be kept: %s", exc, extra={"action": "journal_lost", "alert": JOURNAL})
        else:
            return True
        for one in batch:  # first: whoever hears of the drop decides at once
            self._paces[one.kind] = self._paces[one.kind].put_off(JOURNAL, self._now_us())
        for one in batch:
            self._drop(one, JOURNAL)
        return False

    def _may_leave(self, one: Queued) -> bool:
        """Look a last time whether a new order or a change may leave, and mark it."""
        why = self._why_not(one)
        if why:
            self._drop(one, why)
            return False
        self._paces[one.kind] = self._paces[one.kind].took(1, self._now_us())
        return self._leaves(one)

    def _leaves(self, one: Queued) -> bool:
        """Mark that the request of an intent leaves now; return whether it may."""
        mark = self._live.send(one.intent.number, self._now_us())
        is_kept = self._note(mark)
        del self._unsent[mark.number]
        if not isinstance(mark, Sent):
            self._changed()
            return False
        if not is_kept and one.kind is not CANCEL:
            self._drop(one, JOURNAL)
            return False
        self._sent[mark.number] = one
        return True

    # ---- what comes back ---------------------------------------------------------------------------------------------

    async def _carry_out(self, batch: Sequence[Queued], call: Call) -> None:
        """Send a request that is marked as sent, and take in what becomes of each of its intents."""
        crash.point("trader.before_send")
        try:
            results = await call()
        except FORESEEN as exc:
            self._pace(batch, exc)
            results = [exc] * len(batch)
        else:
            self._paces[batch[0].kind] = self._paces[batch[0].kind].went()
            self._unanswered = 0
        crash.point("trader.after_answer")
        self._hear(batch, results)

    def _pace(self, batch: Sequence[Queued], exc: Exception) -> None:
        kind, now_us = batch[0].kind, self._now_us()
        if isinstance(exc, NeverSent | OutcomeUnknown):
            self._count_unanswered(exc)
        elif isinstance(exc, RequestRefused):
            self._unanswered = 0
        if isinstance(exc, HeldBack | RateLimited | NeverSent):
            self._paces[kind] = self._paces[kind].held(exc, len(batch), now_us, jitter=random.random())
        elif isinstance(exc, RequestRefused):
            self._paces[kind] = self._paces[kind].went()

    def _count_unanswered(self, exc: Exception) -> None:
        """Tell a person, once an outage, that what rests can be reached by nobody here (E4)."""
        self._unanswered += 1
        if self._unanswered == UNANSWERED_MOST:
            logger.error(
                "%s: the exchange does not answer (%s); what rests there counts as live, and nothing changes it",
                self._venue.ticker, exc,
                extra={"action": "unreachable", "alert": "EXCHANGE_UNREACHABLE", "ticker": self._venue.ticker},
            )  # fmt: skip

    def _hear(self, batch: Sequence[Queued], results: Sequence[Result]) -> None:
        now_us = self._now_us()
        for one, result in zip(batch, results, strict=True):
            answer = answer_of(one.intent, result, now_us)
            self._gate.learn(one.intent, result, now_us)
            self._say(one, answer)
            self._answered(answer)

    def _say(self, one: Queued, answer: Answered) -> None:
        """Log what a person may want to know of an answer."""
        if answer.outcome in (Outcome.ACCEPTED, Outcome.NOT_SENT):
            return
        logger.log(
            logging.INFO if answer.outcome is Outcome.NOT_FOUND else logging.WARNING,
            "%s: %s of order %s: %s (%s)",
            self._venue.ticker, one.kind, one.intent.client_order_id, answer.outcome, answer.code,
            extra={
                "action": f"{one.kind}_{answer.outcome.name.lower()}", "ticker": self._venue.ticker,
                "client_order_id": one.intent.client_order_id, "code": answer.code,
            },
        )  # fmt: skip

    def _drop(self, one: Queued, why: str) -> None:
        """Answer an intent that does not leave."""
        self._answered(Answered(one.intent.number, self._now_us(), Outcome.NOT_SENT, why))

    def _answered(self, answer: Answered) -> None:
        self._unsent.pop(answer.number, None)
        self._sent.pop(answer.number, None)
        self._note(answer)
        self._live.answered(answer)
        self._changed()
        self._woken.set()

    def _note(self, record: Record) -> bool:
        """Write a line down; return whether it is kept. What takes risk away does not wait for that (E3)."""
        try:
            self._write(record)
        except OSError as exc:
            logger.error("the journal cannot be written: %s", exc, extra={"action": "journal_lost", "alert": JOURNAL})
            return False
        return True

    # ---- what is asked meanwhile -------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ask whether what keeps new orders back is over."""
        if self._gate.must_ask(self._now_us()):
            await self._ask_halt()
        if self._gate.must_probe(self._now_us()):
            await self._probe()

    async def _ask_halt(self) -> None:
        try:
            why = await self._venue.why_halted()
        except VenueError as exc:
            logger.info("whether orders are taken could not be asked: %s", exc, extra={"action": "status_unread"})
            why = "nobody answered"
        self._gate.asked(self._now_us())
        if not why and self._gate.resumed():
            self._live.hurry_cancels(self._now_us())  # those that it refused go first
            self._woken.set()

    async def _probe(self) -> None:
        """Ask for what wants the key, once and carefully (C15)."""
        try:
            await self._venue.check_key()
        except NotFound:
            is_accepted = True  # it was let in, to find nothing
        except (Unauthorized, Forbidden):
            is_accepted = False
        except VenueError as exc:
            logger.info("the key could not be tried: %s", exc, extra={"action": "probe_unread"})
            return
        else:
            is_accepted = True
        self._gate.probed(is_accepted=is_accepted, now_us=self._now_us())
        if is_accepted:
            self._live.hurry_cancels(self._now_us())
            self._woken.set()


def _urgency(one: Queued) -> int:
    return (DECREASE, RENEW, ORDER).index(one.kind)
