"""A sender, the live orders it sends, a venue that answers by a script, and a disk: all on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from feed.kalshi.calls import Listing
from feed.kalshi.clock import Offset
from feed.kalshi.wire.orders import Amended, Cancelled, Decreased, Placed
from feed.schema import AccountFill, AccountOrder
from markets.core.orderids import Owner
from tests.fixtures.virtualtime import LoopClock
from traders.brokers.looking import Looker
from traders.brokers.sending import Sender
from traders.core.commands import CancelOrder, Command, PlaceOrder
from traders.core.intents import Answered, Cancel, Decrease, Intent, Outcome, Place, Record, Renew, Sent, Take
from traders.core.liveorders import LiveOrders

TICKER, GROUP = "KXA-1", "group-1"
NOW_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
GOOD_CLOCK = Offset(-200_000, 300_000)

Step = Exception | Callable[[], Awaitable[Any]] | Any


class ScriptedMarket:
    """In place of `traders.brokers.venue.Venue`.

    Each verb takes its next step: an exception is raised, a coroutine function awaited, a value returned. Without a
    step orders are accepted and rest.
    """

    def __init__(self, clock: LoopClock) -> None:
        self.ticker = TICKER
        self.grant_expires_us = NOW_US + 20 * 60 * SECOND_US
        self.offset: Offset | None = GOOD_CLOCK
        self.clock = clock
        self.steps: dict[str, list[Step]] = defaultdict(list)
        self.asked: list[tuple[float, str, str]] = []
        self._ids = itertools.count(1)
        self._resting: dict[str, int] = {}

    def script(self, verb: str, *steps: Step) -> None:
        self.steps[verb] += steps

    def verbs(self) -> list[str]:
        return [verb for _, verb, _ in self.asked]

    def times(self, verb: str) -> list[float]:
        """Return at which seconds of the test a verb was asked for."""
        return [round(at, 3) for at, asked, _ in self.asked if asked == verb]

    async def _ask(self, verb: str, about: str, accepted: Callable[[], Any]) -> Any:
        self.asked.append((self.clock.monotonic(), verb, about))
        if not self.steps[verb]:
            return accepted()
        step = self.steps[verb].pop(0)
        if isinstance(step, BaseException):
            raise step
        if callable(step):
            found = await step()
            return accepted() if found is None else found
        return step

    def _placed(self, client_order_id: str, wish: Place | Take) -> Placed:
        order_id, is_take = f"V{next(self._ids)}", isinstance(wish, Take)
        self._resting[order_id] = 0 if is_take else wish.count_cx
        return Placed(
            order_id=order_id, client_order_id=client_order_id, fill_count_cx=wish.count_cx if is_take else 0,
            remaining_count_cx=self._resting[order_id], engine_us=self.clock.now_us(),
        )  # fmt: skip

    def _cancelled(self, order_id: str) -> Cancelled:
        return Cancelled(order_id=order_id, reduced_by_cx=self._resting.pop(order_id, 0), engine_us=self.clock.now_us())

    async def place(self, client_order_id: str, wish: Place) -> Any:
        return await self._ask("place", client_order_id, lambda: self._placed(client_order_id, wish))

    async def place_many(self, wishes: Sequence[tuple[str, Place]]) -> Any:
        names = " ".join(name for name, _ in wishes)
        return await self._ask("place many", names, lambda: [self._placed(*wish) for wish in wishes])

    async def take(self, client_order_id: str, wish: Take, *, reduce_only: bool) -> Any:
        verb = "take reducing" if reduce_only else "take"
        return await self._ask(verb, client_order_id, lambda: self._placed(client_order_id, wish))

    async def decrease(self, wish: Decrease) -> Any:
        self._resting[wish.order_id] -= wish.less_cx
        left_cx = self._resting[wish.order_id]
        return await self._ask(
            "decrease", wish.order_id, lambda: Decreased(order_id=wish.order_id, remaining_count_cx=left_cx)
        )

    async def renew(self, wish: Renew) -> Any:
        return await self._ask("renew", wish.order_id, lambda: Amended(order_id=wish.order_id))

    async def cancel(self, wish: Cancel) -> Any:
        return await self._ask("cancel", wish.order_id, lambda: self._cancelled(wish.order_id))

    async def cancel_many(self, wishes: Sequence[Cancel]) -> Any:
        names = [wish.order_id for wish in wishes]
        return await self._ask("cancel many", " ".join(names), lambda: [self._cancelled(name) for name in names])

    async def trigger(self) -> None:
        await self._ask("trigger", GROUP, lambda: None)

    async def user_data_us(self) -> int:
        return await self._ask("user data", "", self.clock.now_us)

    async def order(self, order_id: str) -> AccountOrder:
        return await self._ask("order", order_id, lambda: None)

    async def orders_since(self, from_us: int | None) -> Listing[AccountOrder]:
        return await self._ask("orders", str(from_us), lambda: Listing((), ()))

    async def fills_of(self, order_id: str) -> list[AccountFill]:
        return await self._ask("fills of", order_id, list)

    async def fills_since(self, from_us: int | None) -> list[AccountFill]:
        return await self._ask("fills", str(from_us), list)

    async def why_halted(self) -> str:
        return await self._ask("status", "", str)

    async def check_key(self) -> None:
        await self._ask("check key", "", lambda: None)

    def clock_offset(self) -> Offset | None:
        return self.offset


class Disk:
    """A journal; its lines are durable at once, unless it is slow or full."""

    def __init__(self) -> None:
        self.lines: list[Record] = []
        self.durable = 0
        self.delay_s = 0.0
        self.is_full = False
        self.is_broken = False

    def write(self, record: Record) -> None:
        if self.is_full:
            raise OSError("no space left")
        self.lines.append(record)

    async def synced(self) -> None:
        so_far = len(self.lines)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.is_broken:
            raise OSError("input/output error")
        self.durable = max(self.durable, so_far)

    def answers(self) -> list[tuple[int, Outcome, str]]:
        return [(a.number, a.outcome, a.code) for a in self.lines if isinstance(a, Answered)]

    def sent(self) -> list[int]:
        return [line.number for line in self.lines if isinstance(line, Sent)]


class SendingWorld:
    """One trader's orders at the scripted market."""

    def __init__(self) -> None:
        self.clock = LoopClock(NOW_US)
        self.disk, self.venue = Disk(), ScriptedMarket(self.clock)
        self.live = LiveOrders(Owner(77, 3, 1), TICKER, group_id=GROUP)
        self._changed = asyncio.Event()
        self.killed = ""
        self.sender = Sender(
            self.live, self.venue, write=self.disk.write, synced=self.disk.synced, now_us=self.clock.now_us,
            changed=self._changed.set, why_killed=lambda: self.killed,
        )  # fmt: skip
        self.looker = Looker(self.live, self.venue, now_us=self.clock.now_us, changed=self._changed.set)
        self.stop = asyncio.Event()

    @property
    def now_us(self) -> int:
        return self.clock.now_us()

    def wish(self, command: Command, **options: Any) -> Intent:
        """Wish something, write it down, and give it to the sender."""
        intent = self.live.wish(command, self.now_us)
        assert isinstance(intent, Intent), intent
        self.disk.write(intent)
        self.sender.put(intent, **options)
        return intent

    async def does(self, command: Command, **options: Any) -> tuple[Outcome, str]:
        """Wish something and return what came of it."""
        intent = self.wish(command, **options)
        return await self.answer(intent)

    async def answer(self, intent: Intent) -> tuple[Outcome, str]:
        def found() -> list[tuple[Outcome, str]]:
            return [(outcome, code) for number, outcome, code in self.disk.answers() if number == intent.number]

        await self.until(found)
        return found()[0]

    async def until(self, is_so: Callable[[], Any], *, within_s: float = 600) -> None:
        """Wait for something that a change brings about."""
        async with asyncio.timeout(within_s):
            while not is_so():
                await self._changed.wait()
                self._changed.clear()

    async def later(self, seconds: float) -> None:
        """Let time pass; whatever was due until then is done."""
        await asyncio.sleep(seconds)
        for _ in range(20):
            await asyncio.sleep(0)

    async def until_free(self) -> None:
        """Wait until a new order may be sent."""
        while self.sender.stopped:
            await self.later(0.25)

    async def placed(self, command: PlaceOrder) -> str:
        """Return the client order id of an order that rests."""
        intent = self.wish(command)
        assert (await self.answer(intent))[0] is Outcome.ACCEPTED
        return intent.client_order_id

    def cancel(self, client_order_id: str) -> Intent:
        return self.wish(CancelOrder(client_order_id, "repriced"))

    def resting(self) -> list[str]:
        return [quote.client_order_id for quote in self.live.resting()]


@contextlib.asynccontextmanager
async def sending(*, looks: bool = False) -> AsyncIterator[SendingWorld]:
    """Run a sender, and a looker if it is wanted."""
    world = SendingWorld()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(world.sender.run(world.stop))
        if looks:
            tasks.create_task(world.looker.run(world.stop))
        try:
            yield world
        finally:
            world.stop.set()
