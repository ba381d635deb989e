"""What may not leave now is not asked for again and again: whoever hears of a refusal decides on it at once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from feed.kalshi.errors import HeldBack, NeverSent, RateLimited
from feed.schema import VERSION, AccountBalance, AccountEntry, AccountHealth
from markets.core.book import OrderBook
from markets.core.settlement import Position
from markets.core.units import Side
from tests.unit.traders.brokers.sendingworld import GOOD_CLOCK, HOUR_US, SECOND_US, SendingWorld, sending
from traders.brokers.live import LiveBroker
from traders.core.commands import PlaceOrder
from traders.core.diff import DiffTerms, diff
from traders.core.intents import Cancel, Decrease, Place, Renew
from traders.core.types import Quote, Quotes

LIFETIME_S = 600
ALWAYS_DUE_S = 86_400  # half of that has always gone
A_LOT = 200
REST = PlaceOrder(Side.YES, 4_000, 100)


class Deciding:
    """Decides each time that something has become of an intent, as a trader does."""

    def __init__(self, world: SendingWorld) -> None:
        self.world, self.wanted = world, Quotes((Quote(Side.YES, REST.price_cc, REST.count_cx),))
        self.lifetime_s = LIFETIME_S
        self.asked: list[object] = []
        self.broker = LiveBroker(
            world.live, world.venue.ticker, now_us=world.clock.now_us, exchange_index=0, subaccount=0, held=Position()
        )
        self.broker.why_not_sending = lambda: world.sender.stopped
        self.broker.why_not_decreasing = lambda: world.sender.why_no_change(is_renewal=False)
        self.broker.bars_decreases = world.sender.bars_decreases
        self.broker.why_not_renewing = lambda: world.sender.why_no_change(is_renewal=True)
        known = [AccountBalance(90_000_000, [(0, 90_000_000)]), AccountHealth("live", "", 1, None)]
        before_us = world.now_us - SECOND_US  # the order
        self.broker.on_account([AccountEntry(VERSION, "local", before_us, True, known)])
        world.sender._changed = self.decide

    def decide(self) -> None:
        terms = DiffTerms(
            now_us=self.world.now_us, lifetime_s=self.lifetime_s, unknown=self.broker.unproven(),
            in_flight=self.broker.in_flight(), room_cx=(1_000, 1_000),
        )  # fmt: skip
        for command in diff(self.wanted, self.world.live.resting(), terms):
            self.broker.execute(command, book=OrderBook(), time_us=self.world.now_us)
        for intent in self.broker.take_intents():
            self.asked.append(intent.wish)
            assert len(self.asked) < A_LOT, f"it spins: {self.world.disk.answers()[-3:]}"
            self.world.disk.write(intent)
            self.world.sender.put(intent)
        self.world._changed.set()

    def times(self, kind: type[Any]) -> int:
        return sum(isinstance(wish, kind) for wish in self.asked)


@contextlib.asynccontextmanager
async def quoting() -> AsyncIterator[Deciding]:
    """Let what is wanted rest; its renewal will be due in a long time."""
    async with sending() as world:
        await world.placed(msgspec.structs.replace(REST, expires_us=world.now_us + HOUR_US))
        yield Deciding(world)


async def let_it_decide(trader: Deciding, seconds: float) -> None:
    """Let it decide by messages of the book for so long, besides what it hears of its intents."""
    for _ in range(round(seconds / 0.05)):
        trader.decide()
        await trader.world.later(0.05)


@pytest.mark.parametrize(
    ("failure", "again_s"),
    [
        (HeldBack("renew", "BUDGET_SPENT", 5.0, 0), 5.2),
        (RateLimited(429, "too_many_requests", ""), 0.3),
        (NeverSent("no way there"), 0.5),
    ],
)
async def test_C6_E4_a_renewal_that_may_not_leave_is_asked_for_once_until_it_may(
    failure: Exception, again_s: float
) -> None:
    async with quoting() as trader:
        trader.lifetime_s = ALWAYS_DUE_S
        trader.world.venue.script("renew", failure)
        trader.decide()
        await trader.world.later(0.01)
        trader.decide()
        assert trader.times(Renew) == 1
        await let_it_decide(trader, again_s)
        assert trader.times(Renew) == 2
        assert trader.world.venue.verbs().count("renew") == 2


async def test_F1_E1_no_change_is_asked_for_while_none_may_leave_at_all() -> None:
    async with quoting() as trader:
        trader.lifetime_s = ALWAYS_DUE_S
        trader.world.venue.offset = None
        await let_it_decide(trader, 1.0)
        assert trader.asked == []
        trader.world.venue.offset = GOOD_CLOCK
        trader.decide()
        assert trader.times(Renew) == 1


async def test_C14_F1_an_order_that_is_too_large_is_canceled_while_no_decrease_may_leave() -> None:
    async with quoting() as trader:
        trader.world.venue.offset = None
        trader.wanted = Quotes((Quote(REST.side, REST.price_cc, REST.count_cx // 2),))
        await let_it_decide(trader, 1.0)
        assert [type(wish) for wish in trader.asked] == [Cancel]
        assert trader.world.live.resting() == ()


async def test_C6_a_decrease_that_the_budget_holds_up_is_waited_for() -> None:
    async with quoting() as trader:
        trader.world.venue.script("decrease", HeldBack("decrease", "BUDGET_SPENT", 0.5, 0))
        trader.wanted = Quotes((Quote(REST.side, REST.price_cc, REST.count_cx // 2),))
        await let_it_decide(trader, 1.0)
        assert trader.times(Decrease) == 2
        assert trader.times(Cancel) == 0


async def test_C7_a_decrease_does_not_wait_for_renewals() -> None:
    async with quoting() as trader:
        trader.lifetime_s = ALWAYS_DUE_S
        trader.world.venue.script("renew", HeldBack("renew", "BUDGET_SPENT", 5.0, 0))
        trader.decide()
        await trader.world.later(0.01)
        trader.wanted = Quotes((Quote(REST.side, REST.price_cc, REST.count_cx // 2),))
        trader.decide()
        assert trader.times(Decrease) == 1


async def test_C7_nothing_that_adds_risk_is_asked_for_while_cancels_wait() -> None:
    async with quoting() as trader:
        trader.world.venue.script("cancel", HeldBack("cancel", "BUDGET_SPENT", 2.0, 0))
        trader.wanted = Quotes((Quote(Side.NO, 5_500, 100),))
        trader.decide()
        await trader.world.later(0.01)
        assert trader.world.sender.stopped == "BEHIND_CANCELS"
        placed = trader.times(Place)
        await let_it_decide(trader, 1.0)
        assert trader.times(Place) == placed
        await let_it_decide(trader, 2.0)
        assert trader.world.sender.stopped == ""
        assert trader.times(Place) == 1
        assert not trader.world.live.unsettled()


async def test_E3_with_a_disk_that_fails_new_orders_are_tried_once_a_second() -> None:
    async with quoting() as trader:
        trader.world.disk.is_broken = True
        trader.wanted = Quotes((*trader.wanted.quotes, Quote(Side.NO, 5_500, 100)))
        trader.decide()
        await let_it_decide(trader, 2.5)
        assert trader.times(Place) == 3
        assert trader.world.venue.verbs().count("place") == 1, "but for the one that rests"
