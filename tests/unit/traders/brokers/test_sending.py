"""What leaves, in which order, and what is written down of it (faults.md A17, C6, C7, C8, E3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from feed.kalshi.errors import HeldBack, NeverSent, NotFound, OrderRejected, RateLimited
from feed.kalshi.wire.orders import Cancelled, Placed
from kalshimm.errors import OutcomeUnknown
from markets.core.units import Side
from tests.unit.traders.brokers.sendingworld import SECOND_US, SendingWorld, sending
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Answered, Intent, Outcome, Sent

YES, NO = Side.YES, Side.NO
BID, ASK = PlaceOrder(YES, 4_000, 1_000), PlaceOrder(NO, 5_500, 1_000)
LIMITED = RateLimited(429, "", "too many requests")


def held_back(wait_s: float | None, fits: int = 0) -> HeldBack:
    return HeldBack("cancel", "BUDGET_SPENT", wait_s, fits)


def slow(seconds: float) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        await asyncio.sleep(seconds)

    return step


# Written down, then sent


async def test_an_order_is_written_down_sent_and_answered_in_that_order() -> None:
    async with sending() as world:
        intent = world.wish(BID)
        assert await world.answer(intent) == (Outcome.ACCEPTED, "")
    assert [type(line) for line in world.disk.lines] == [Intent, Sent, Answered]
    assert world.resting() == [intent.client_order_id]


async def test_C1_a_new_order_leaves_only_when_its_intent_is_durable() -> None:
    async with sending() as world:
        world.disk.delay_s = 0.5
        world.wish(BID)
        await world.later(0.4)
        assert world.venue.verbs() == []
        await world.later(0.2)
    assert world.venue.times("place") == [0.5]
    assert world.disk.durable == 1


async def test_a_cancel_does_not_wait_for_the_disk() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.disk.delay_s = 5.0
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")
        assert world.clock.monotonic() < 1
    assert world.resting() == []


async def test_changes_wait_for_the_disk_as_new_orders_do() -> None:
    async with sending() as world:
        one, other = await world.placed(BID), await world.placed(ASK)
        world.disk.delay_s = 0.5
        world.wish(DecreaseOrder(one, 400))
        world.wish(RenewOrder(other, world.now_us + 60 * SECOND_US))
        await world.later(0.6)
    assert world.venue.times("decrease") == world.venue.times("renew") == [0.5]


async def test_E3_nothing_new_leaves_when_the_disk_fails_and_cancels_do() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.disk.is_broken = True
        assert await world.does(ASK) == (Outcome.NOT_SENT, "JOURNAL")
        intent = world.cancel(one)
        world.disk.is_full = True
        await world.until(lambda: not world.resting())
    assert world.venue.verbs() == ["place", "cancel"]
    assert world.live.order_id(intent.client_order_id) == "V1"


async def test_E3_a_new_order_whose_leaving_cannot_be_written_down_does_not_leave() -> None:
    async with sending() as world:
        world.disk.delay_s = 0.1
        world.wish(BID)
        await world.later(0.05)
        world.disk.is_full = True
        await world.until(lambda: not world.live.unsettled())
    assert world.venue.verbs() == []


# In order


async def test_C7_cancels_go_first_then_decreases_renewals_and_new_orders() -> None:
    async with sending() as world:
        one, other = await world.placed(BID), await world.placed(ASK)
        third = await world.placed(PlaceOrder(YES, 3_900, 1_000))
        world.venue.asked.clear()
        world.wish(PlaceOrder(NO, 5_400, 1_000))
        world.wish(RenewOrder(other, world.now_us + 60 * SECOND_US))
        world.wish(DecreaseOrder(third, 400))
        last = world.cancel(one)
        await world.answer(last)
        await world.later(0.1)
    assert world.venue.verbs() == ["cancel", "decrease", "renew", "place"]


async def test_C7_a_new_order_that_is_canceled_before_it_leaves_is_dropped_unsent() -> None:
    async with sending() as world:
        world.disk.delay_s = 0.5
        intent = world.wish(BID)
        await world.later(0.1)
        world.live.wish(CancelOrder(intent.client_order_id, "repriced"), world.now_us)
        assert await world.answer(intent) == (Outcome.NOT_SENT, "leaving")
    assert world.venue.verbs() == []


async def test_C7_a_new_order_that_waited_too_long_for_the_disk_is_dropped() -> None:
    async with sending() as world:
        world.disk.delay_s = 1.5
        assert await world.does(BID) == (Outcome.NOT_SENT, "STALE")
        assert await world.does(PlaceOrder(YES, 4_100, 1_000)) == (Outcome.NOT_SENT, "STALE")
    assert world.venue.verbs() == []


async def test_C8_slow_answers_hold_nobody_up_and_nothing_piles_up() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.venue.script("place", slow(8))
        world.venue.script("cancel", slow(8))
        began_s = world.clock.monotonic()
        world.wish(ASK)
        await world.later(1)
        world.cancel(one)
        await world.later(1)
        assert world.live.in_flight().creates == {NO}
        assert world.live.in_flight().cancels == {YES}
        await world.until(lambda: not world.live.in_flight().cancels)
    asked = [(verb, round(at - began_s)) for at, verb, _ in world.venue.asked[1:]]
    assert asked == [("place", 0), ("cancel", 1)]


async def test_several_that_are_due_together_go_in_one_request() -> None:
    async with sending() as world:
        first, second = world.wish(BID), world.wish(ASK)
        assert await world.answer(second) == (Outcome.ACCEPTED, "")
        for intent in world.live.cancel_all("stop", world.now_us):
            world.disk.write(intent)
            world.sender.put(intent)
        await world.until(lambda: not world.resting())
    assert world.venue.verbs() == ["place many", "cancel many"]
    assert world.venue.asked[0][2] == f"{first.client_order_id} {second.client_order_id}"


async def test_each_of_a_batch_has_its_own_answer() -> None:
    async with sending() as world:
        first, second = world.wish(BID), world.wish(ASK)
        refused = OrderRejected(None, "invalid_order", "invalid order: post only cross")
        unknown = OutcomeUnknown("place order", "the batch's answer does not say")
        world.venue.script("place many", [refused, unknown])
        assert await world.answer(first) == (Outcome.DECLINED, "invalid_order: post only cross")
        assert await world.answer(second) == (Outcome.UNKNOWN, "the batch's answer does not say")
    assert [order.remaining_cx for order in world.live.unproven()] == [1_000]


async def test_takes_go_alone_and_reduce_only_where_the_caller_says_so() -> None:
    async with sending() as world:
        world.wish(TakeOrder(YES, 6_000, 100), reduce_only=True)
        world.wish(ASK)
        await world.later(0.1)
    assert world.venue.verbs() == ["take reducing", "place"]
    assert world.disk.sent() == [1, 2]


# Held back


async def test_C6_a_cancel_that_the_budget_holds_back_leaves_when_it_may_as_a_new_intent() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.venue.script("cancel", held_back(0.4), held_back(0.2))
        began_s = world.clock.monotonic()
        intent = world.cancel(one)
        await world.until(lambda: not world.resting())
    assert [round(at - began_s, 3) for at in world.venue.times("cancel")] == [0.0, 0.4, 0.6]
    assert world.disk.answers()[1:] == [
        (intent.number, Outcome.NOT_SENT, "BUDGET_SPENT"),
        (intent.number + 1, Outcome.NOT_SENT, "BUDGET_SPENT"),
        (intent.number + 2, Outcome.ACCEPTED, ""),
    ]
    assert world.disk.sent() == [1, 2, 3, 4]


async def test_C6_nothing_that_adds_risk_passes_a_cancel_that_waits() -> None:
    async with sending() as world:
        one, other = await world.placed(BID), await world.placed(ASK)
        world.venue.script("cancel", held_back(5.0))
        world.cancel(one)
        await world.later(0.1)
        assert await world.does(PlaceOrder(YES, 3_900, 100)) == (Outcome.NOT_SENT, "BEHIND_CANCELS")
        assert await world.does(RenewOrder(other, world.now_us + SECOND_US)) == (Outcome.NOT_SENT, "BEHIND_CANCELS")
        assert await world.does(DecreaseOrder(other, 100)) == (Outcome.ACCEPTED, "")


async def test_C6_a_batch_that_does_not_fit_is_split() -> None:
    async with sending() as world:
        for price_cc in (4_000, 3_900, 3_800):
            await world.placed(PlaceOrder(YES, price_cc, 100))
        world.venue.script("cancel many", held_back(0.5, fits=1))
        began_s = world.clock.monotonic()
        for intent in world.live.cancel_all("stop", world.now_us):
            world.disk.write(intent)
            world.sender.put(intent)
        await world.until(lambda: not world.resting())
    asked = [(round(at - began_s, 3), verb, about) for at, verb, about in world.venue.asked[3:]]
    assert asked == [
        (0.0, "cancel many", "V1 V2 V3"),
        (0.0, "cancel", "V1"),
        (0.5, "cancel many", "V2 V3"),
    ]


async def test_C6_a_429_means_not_done_and_cancels_come_back_in_smaller_batches_with_back_off() -> None:
    async with sending() as world:
        for price_cc in (4_000, 3_900):
            await world.placed(PlaceOrder(YES, price_cc, 100))
        world.venue.script("cancel many", LIMITED)
        world.venue.script("cancel", LIMITED, LIMITED)
        began_s = world.clock.monotonic()
        for intent in world.live.cancel_all("stop", world.now_us):
            world.disk.write(intent)
            world.sender.put(intent)
        await world.until(lambda: not world.resting())
    assert world.venue.verbs()[2:] == ["cancel many", "cancel", "cancel", "cancel", "cancel"]
    waited_s = [at - began_s for at, _, _ in world.venue.asked[3:]]
    assert 0.05 <= waited_s[0] <= 0.1
    assert {outcome for _, outcome, code in world.disk.answers() if code == "RATE_LIMITED"} == {Outcome.NOT_SENT}


async def test_C6_a_new_order_that_is_held_back_is_forgotten_and_none_is_wished_until_one_may_leave() -> None:
    async with sending() as world:
        world.venue.script("place", held_back(0.7))
        intent = world.wish(BID)
        assert await world.answer(intent) == (Outcome.NOT_SENT, "BUDGET_SPENT")
        assert world.live.unproven() == ()
        assert world.sender.stopped.startswith("BUDGET_SPENT")
        assert (await world.does(BID))[0] is Outcome.NOT_SENT
        await world.later(0.7)
        assert world.sender.stopped == ""
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
    assert world.venue.times("place")[1] >= 0.7


async def test_C6_of_two_new_orders_that_do_not_fit_together_one_goes_at_the_next_decision() -> None:
    async with sending() as world:
        world.venue.script("place many", held_back(0.7, fits=1))
        world.wish(BID)
        await world.answer(world.wish(ASK))
        first, second = world.wish(BID), world.wish(ASK)
        assert await world.answer(first) == (Outcome.ACCEPTED, "")
        assert await world.answer(second) == (Outcome.NOT_SENT, "BUDGET_SPENT: held back a moment ago")


async def test_C6_once_the_venue_answers_again_batches_are_whole_and_the_next_back_off_begins_anew() -> None:
    async with sending() as world:
        for price_cc in (4_000, 3_900):
            await world.placed(PlaceOrder(YES, price_cc, 100))
        odd, away = OrderRejected(400, "odd", ""), NeverSent("nobody listens")
        world.venue.script("cancel many", *[away] * 4, [odd, odd], LIMITED)
        world.venue.script("cancel", LIMITED, odd, away)
        for intent in world.live.cancel_all("stop", world.now_us):
            world.disk.write(intent)
            world.sender.put(intent)
        await world.until(lambda: not world.resting())
    asked = [(at, len(about.split())) for at, verb, about in world.venue.asked if verb.startswith("cancel")]
    assert [size for _, size in asked[:6]] == [2] * 6
    assert {size for _, size in asked[6:]} == {1}
    assert asked[6][0] - asked[5][0] <= 0.1, "the 429 came after an answer: it is a first one"
    assert asked[9][0] - asked[8][0] <= 0.25, "as is the next want of a way to the venue"


async def test_C6_new_orders_whose_batch_the_venue_refused_whole_go_one_by_one() -> None:
    async with sending() as world:
        world.venue.script("place many", LIMITED)
        world.wish(BID)
        await world.answer(world.wish(ASK))
        await world.until_free()
        first, second = world.wish(BID), world.wish(ASK)
        assert await world.answer(first) == await world.answer(second) == (Outcome.ACCEPTED, "")
    assert world.venue.verbs() == ["place many", "place", "place"]


async def test_E4_without_a_way_to_the_venue_cancels_try_again_with_back_off() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.venue.script("cancel", *[NeverSent("nobody listens")] * 6)
        began_s = world.clock.monotonic()
        world.cancel(one)
        await world.until(lambda: not world.resting())
    waited_s = world.clock.monotonic() - began_s
    assert len(world.venue.times("cancel")) == 7
    assert 6 < waited_s < 14


async def test_E4_that_the_venue_answers_nothing_is_told_once_an_outage(caplog: pytest.LogCaptureFixture) -> None:
    def told() -> int:
        return [getattr(record, "alert", "") for record in caplog.records].count("EXCHANGE_UNREACHABLE")

    async with sending() as world:
        one, other = await world.placed(BID), await world.placed(ASK)
        world.venue.script("cancel", *[NeverSent("nobody listens")] * 2)
        await world.answer(world.cancel(one))
        await world.until(lambda: one not in world.resting())
        assert told() == 0, "that passes"
        world.venue.script("cancel", *[NeverSent("nobody listens")] * 6)
        world.cancel(other)
        await world.until(lambda: not world.resting())
        assert told() == 1
        third = await world.placed(BID)
        world.venue.script("cancel", *[NeverSent("nobody listens")] * 6)
        world.cancel(third)
        await world.until(lambda: not world.resting())
        assert told() == 2


# Unknown, and the end


async def test_C1_a_call_that_is_given_up_is_unknown_and_what_had_not_left_is_not_sent() -> None:
    world = SendingWorld()
    world.venue.script("place", slow(60))
    running = asyncio.create_task(world.sender.run(world.stop))
    on_its_way = world.wish(BID)
    await world.later(1)
    world.disk.delay_s = 60
    waiting = world.wish(ASK)
    await world.later(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert set(world.disk.answers()) == {
        (on_its_way.number, Outcome.UNKNOWN, "STOPPED"),
        (waiting.number, Outcome.NOT_SENT, "STOPPED"),
    }


async def test_nothing_is_wished_anew_because_the_sender_was_given_up() -> None:
    world = SendingWorld()
    world.venue.script("place", slow(60))
    running = asyncio.create_task(world.sender.run(world.stop))
    world.wish(BID)
    await world.later(1)
    stopped = []
    world.sender._changed = lambda: stopped.append(world.sender.stopped)
    running.cancel()
    await asyncio.wait([running])
    assert stopped == ["ENDING: STOPPED"]


async def test_a_fault_of_ours_leaves_nothing_unanswered_and_ends_the_sender() -> None:
    world = SendingWorld()
    world.venue.script("place", ZeroDivisionError())
    running = asyncio.create_task(world.sender.run(world.stop))
    intent = world.wish(BID)
    with pytest.raises(ExceptionGroup):
        await running
    assert world.disk.answers() == [(intent.number, Outcome.UNKNOWN, "STOPPED")]
    assert [order.remaining_cx for order in world.live.unproven()] == [1_000]


async def test_A17_at_a_stop_cancels_leave_new_orders_do_not_and_answers_are_waited_for() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.venue.script("cancel", slow(2))
        world.cancel(one)
        late = world.wish(ASK)
        world.stop.set()
    assert world.venue.verbs() == ["place", "cancel"]
    assert world.resting() == []
    assert (late.number, Outcome.NOT_SENT, "ENDING: STOPPED") in world.disk.answers()


async def test_A17_no_new_order_leaves_once_the_trader_ends_not_even_one_that_waits_for_the_disk() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.disk.delay_s = 0.5
        waiting = world.wish(ASK)
        await world.later(0.1)
        world.sender.end("asked to stop")
        assert world.sender.stopped == "ENDING: asked to stop"
        assert await world.answer(waiting) == (Outcome.NOT_SENT, "ENDING: asked to stop")
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")
    assert world.venue.verbs() == ["place", "cancel"]


async def test_C13_a_cancel_without_an_answer_is_repeated_until_the_order_is_gone() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        lost = OutcomeUnknown("cancel order", "the answer was HTTP 502")
        world.venue.script("cancel", lost, lost, Cancelled(order_id="V1", reduced_by_cx=1_000))
        began_s = world.clock.monotonic()
        world.cancel(one)
        await world.until(lambda: not world.resting())
    assert [round(at - began_s) for at in world.venue.times("cancel")] == [0, 1, 3]


async def test_C10_a_cancel_that_finds_nothing_is_not_repeated_by_itself() -> None:
    async with sending() as world:
        one = await world.placed(BID)
        world.venue.script("cancel", NotFound(404, "not_found", "not found"))
        assert await world.answer(world.cancel(one)) == (Outcome.NOT_FOUND, "not_found")
        await world.later(30)
    assert len(world.venue.times("cancel")) == 1
    assert world.live.unsettled() == (one,)


async def test_C16_an_order_that_ended_on_arrival_does_not_rest() -> None:
    async with sending() as world:
        world.venue.script("place", Placed(order_id="V9", fill_count_cx=0, remaining_count_cx=0))
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
    assert world.live.resting() == ()
    assert world.live.unproven() == ()
