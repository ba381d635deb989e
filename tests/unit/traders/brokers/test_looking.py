"""Looks at orders in doubt: what is read, in which order, and that a failed read says nothing (faults.md C1–C5)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from feed.kalshi.calls import Listing
from feed.kalshi.errors import Disconnected, HeldBack, InvalidRequest, NotFound, ProtocolViolation
from feed.schema import AccountFill, AccountOrder
from kalshimm.errors import OutcomeUnknown
from markets.core.units import Side, yes_price_cc
from tests.unit.traders.brokers.sendingworld import GROUP, NOW_US, TICKER, SendingWorld, sending
from traders.core.commands import PlaceOrder
from traders.core.intents import Intent, Outcome
from traders.core.orders import Fill

YES, NO = Side.YES, Side.NO
BID, ASK = PlaceOrder(YES, 4_000, 1_000), PlaceOrder(NO, 5_500, 1_000)
LOST = OutcomeUnknown("place order", "the connection was cut")
MARGIN_US = 30_000_000


def shown(intent: Intent, order_id: str = "V1", **changes: Any) -> AccountOrder:
    wish = intent.wish
    order = AccountOrder(
        order_id, intent.client_order_id, TICKER, int(wish.side), yes_price_cc(wish.side, wish.price_cc), wish.count_cx,
        0, wish.count_cx, "resting", "", GROUP, 0, 0, None, NOW_US, False, False,
    )  # fmt: skip
    return msgspec.structs.replace(order, **changes)


def a_fill(count_cx: int, order_id: str = "V1", trade_id: str = "t1") -> AccountFill:
    return AccountFill(order_id, trade_id, "", TICKER, int(YES), 4_000, count_cx, False, 0, 0, 0, NOW_US, None)


@asynccontextmanager
async def doubting(*commands: PlaceOrder) -> AsyncIterator[tuple[SendingWorld, list[Intent]]]:
    """Orders whose answers were lost, at time 0."""
    async with sending(looks=True) as world:
        world.venue.script("place", LOST)
        world.venue.script("place many", LOST)
        intents = [world.wish(command) for command in commands]
        assert (await world.answer(intents[-1]))[0] is Outcome.UNKNOWN
        yield world, intents


def reads(world: SendingWorld) -> list[str]:
    return [verb for verb in world.venue.verbs() if verb not in ("place", "place many")]


async def test_C1_an_order_whose_answer_was_lost_is_found_in_the_list_with_its_fills_and_never_sent_again() -> None:
    async with doubting(BID) as (world, (intent,)):
        found = shown(intent, filled_cx=300, remaining_cx=700)
        world.venue.script("fills", [a_fill(300)])
        world.venue.script("orders", Listing((found,), ()))
        await world.until(world.resting)
        assert world.clock.monotonic() == pytest.approx(2, abs=0.3)
        assert reads(world) == ["user data", "fills", "orders"]
        assert world.venue.asked[-1][2] == str(NOW_US - MARGIN_US)
        fills = [event.count_cx for event in world.live.take() if isinstance(event, Fill)]
        assert (fills, world.live.resting()[0].remaining_cx) == ([300], 700)
    assert world.venue.verbs().count("place") == 1


async def test_C2_C4_an_order_is_never_placed_after_two_spaced_looks_that_show_the_time_after_it() -> None:
    async with doubting(BID) as (world, _):
        await world.until(lambda: not world.live.unsettled())
        times = world.venue.times("user data")
    assert [round(at) for at in times] == [2, 4, 6, 8][: len(times)]
    assert len(times) >= 3, "the first one shows nothing of the two seconds after it"
    assert [event.reason for event in world.live.take()] == ["never placed"]


async def test_C4_a_read_model_that_lags_proves_nothing() -> None:
    async with doubting(BID) as (world, _):

        async def lagging() -> int:
            return world.now_us - 30_000_000

        world.venue.script("user data", *[lagging] * 100)
        await world.later(25)
        assert len(world.live.unproven()) == 1


@pytest.mark.parametrize("read", ["user data", "fills", "orders"])
@pytest.mark.parametrize(
    "failure", [Disconnected("away"), HeldBack("read", "BUDGET_SPENT", 1.0, 0), ProtocolViolation("odd"),
                InvalidRequest(400, "bad_request", "")],
)  # fmt: skip
async def test_C5_a_read_that_fails_is_told_to_nobody(read: str, failure: Exception) -> None:
    async with doubting(BID) as (world, _):
        world.venue.script(read, *[failure] * 1_000)
        await world.later(50)
        assert len(world.live.unproven()) == 1
        assert len(world.venue.times("user data")) >= 5


async def test_a_list_with_an_item_nobody_can_read_is_no_proof_of_absence() -> None:
    async with doubting(BID) as (world, _):
        world.venue.script("orders", *[Listing((), ({"order_id": "?"},))] * 100)
        await world.later(50)
        assert len(world.live.unproven()) == 1
        assert reads(world).count("orders") >= 5


async def test_several_orders_share_one_round_of_reads() -> None:
    async with doubting(BID, ASK) as (world, (first, second)):
        world.venue.script("orders", Listing((shown(second, "V2"), shown(first, "V1")), ()))
        await world.until(lambda: len(world.resting()) == 2)
        assert reads(world) == ["user data", "fills", "orders"]


async def test_an_order_whose_id_is_known_is_asked_for_by_it() -> None:
    async with sending(looks=True) as world:
        await world.placed(BID)
        intent = world.disk.lines[0]
        world.live.suspect(world.now_us)
        world.venue.script("fills of", [a_fill(1_000)])
        executed = shown(intent, filled_cx=1_000, remaining_cx=0, status="executed", time_us=NOW_US + 1)
        world.venue.script("order", executed)
        await world.until(lambda: not world.resting())
        asked = [(verb, about) for _, verb, about in world.venue.asked[1:]]
        assert asked == [("user data", ""), ("fills of", "V1"), ("order", "V1")]
        assert world.live.unproven() == ()


async def test_an_order_that_a_read_does_not_know_yet_stays_in_doubt() -> None:
    async with sending(looks=True) as world:
        await world.placed(BID)
        world.live.suspect(world.now_us)
        world.venue.script("order", *[NotFound(404, "not_found", "")] * 100)
        await world.later(30)
        assert len(world.resting()) == 1
        assert world.live.unsettled()


async def test_an_order_that_cannot_be_read_is_no_reason_not_to_look_at_the_others() -> None:
    async with sending(looks=True) as world:
        first = await world.placed(BID)
        second = await world.placed(ASK)
        world.live.suspect(world.now_us)
        world.venue.script("order", ProtocolViolation("odd"), shown(world.disk.lines[3], "V2", time_us=NOW_US + 1))
        await world.until(lambda: world.live.unsettled() == (first,))
        assert second in world.resting()


# The last resort


async def test_C1_after_a_minute_in_doubt_the_group_is_triggered_until_the_venue_has_taken_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with doubting(BID) as (world, _):
        world.venue.script("user data", *[Disconnected("away")] * 1_000)
        away = OutcomeUnknown("trigger order group", "cut")
        world.venue.script("trigger", away, Disconnected("away"), away)
        await world.later(75)
        times = world.venue.times("trigger")
        assert len(times) == 4
        assert 60 <= times[0] < 61
        waits_s = [later - at for at, later in itertools.pairwise(times)]
        assert all(least_s <= wait_s for least_s, wait_s in zip((0.5, 1.0, 2.0), waits_s, strict=True))
        assert world.live.fenced
    alerts = [record.alert for record in caplog.records if hasattr(record, "alert")]
    assert alerts == ["GROUP_NOT_TRIGGERED"] * 3 + ["GROUP_TRIGGERED"]


async def test_a_group_that_is_gone_is_not_triggered_for_ever() -> None:
    async with doubting(BID) as (world, _):
        world.venue.script("user data", *[Disconnected("away")] * 1_000)
        world.venue.script("trigger", NotFound(404, "not_found", ""))
        await world.later(120)
        assert len(world.venue.times("trigger")) == 1


async def test_what_rests_is_looked_at_once_the_group_has_been_triggered() -> None:
    async with doubting(BID) as (world, _):
        other = await world.placed(ASK)
        world.venue.script("user data", *[Disconnected("away")] * 7)
        world.venue.script("orders", *[Listing((), ({},))] * 100)
        await world.until(lambda: world.venue.times("trigger"))
        await world.later(0.1)
        assert other in world.live.due_looks(world.now_us + 2_000_000)


async def test_a_look_does_not_hold_up_the_trigger() -> None:
    async with doubting(BID) as (world, _):

        async def hanging() -> None:
            await asyncio.sleep(300)

        world.venue.script("user data", hanging)
        await world.later(62)
        assert len(world.venue.times("trigger")) == 1
