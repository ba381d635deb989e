"""What keeps new orders back, and that cancels need no leave (faults.md C14, C15, C16, E1, F1, F2, F12)."""

from __future__ import annotations

import itertools

import pytest

from feed.kalshi.clock import Offset
from feed.kalshi.errors import (
    AlreadyExists,
    Disconnected,
    Forbidden,
    HeldBack,
    NeverSent,
    NotFound,
    OrderRejected,
    Paused,
    RateLimited,
    Unauthorized,
)
from feed.kalshi.wire.orders import Placed
from feed.schema import AccountOrder
from markets.core.units import Side
from tests.unit.traders.brokers.sendingworld import HOUR_US, NOW_US, SECOND_US, TICKER, SendingWorld, sending
from traders.core.commands import DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Outcome

YES, NO = Side.YES, Side.NO
BID, ASK = PlaceOrder(YES, 4_000, 1_000), PlaceOrder(NO, 5_500, 1_000)
POOR = OrderRejected(400, "insufficient_balance", "insufficient balance")
TRADING, EXCHANGE = Paused(409, "trading_is_paused", ""), Paused(409, "exchange_is_paused", "")
BAD_KEY, NOT_ALLOWED = Unauthorized(401, "authentication_error", ""), Forbidden(403, "forbidden", "")


async def refuse(world: SendingWorld, verb: str, refused: Exception, command: object, times: int) -> None:
    world.venue.script(verb, *[refused] * times)
    for _ in range(times):
        outcome, _ = await world.does(command)
        assert outcome is Outcome.DECLINED


def alerts(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.alert for record in caplog.records if hasattr(record, "alert")]


# C14


async def test_C14_the_same_refusal_three_times_stops_new_orders_for_a_minute_and_alarms(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        await refuse(world, "place", POOR, BID, 2)
        assert world.sender.stopped == ""
        await refuse(world, "place", POOR, BID, 1)
        assert world.sender.stopped == "BREAKER: insufficient_balance"
        assert await world.does(BID) == (Outcome.NOT_SENT, "BREAKER: insufficient_balance")
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")
        await world.later(60)
        assert world.sender.stopped == ""
        await refuse(world, "place", POOR, BID, 1)  # the first one after it was a trial
        await world.later(119)
        assert world.sender.stopped
        await world.later(2)
        assert world.sender.stopped == ""
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
        await refuse(world, "place", POOR, PlaceOrder(YES, 4_100, 1_000), 2)
        assert world.sender.stopped == ""
    assert alerts(caplog) == ["BREAKER_OPEN", "BREAKER_OPEN"]


async def test_C14_C16_orders_that_the_venue_takes_and_cancels_on_arrival_are_a_storm_as_well() -> None:
    async with sending() as world:
        for number in range(3):
            world.venue.script("place", Placed(order_id=f"X{number}", fill_count_cx=0, remaining_count_cx=0))
            assert await world.does(BID) == (Outcome.ACCEPTED, "")
        assert world.sender.stopped == "BREAKER: canceled on arrival"


async def test_C14_a_take_that_finds_nothing_is_no_refusal() -> None:
    async with sending() as world:
        unfilled = OrderRejected(409, "immediate_or_cancel_insufficient_resting_volume", "")
        for number in range(6):
            nothing = Placed(order_id=f"X{number}", fill_count_cx=0, remaining_count_cx=0)
            world.venue.script("take", nothing if number % 2 else unfilled)
            await world.does(TakeOrder(YES, 6_000, 100))
        assert world.sender.stopped == ""


async def test_C14_changes_that_are_refused_again_and_again_stop_changes_and_not_new_orders() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        renewal = RenewOrder(one, NOW_US + HOUR_US)
        await refuse(world, "renew", OrderRejected(400, "invalid_order", ""), renewal, 3)
        assert await world.does(renewal) == (Outcome.NOT_SENT, "BREAKER: invalid_order")
        assert await world.does(DecreaseOrder(one, 100)) == (Outcome.NOT_SENT, "BREAKER: invalid_order")
        assert world.sender.stopped == ""
        assert await world.does(BID) == (Outcome.ACCEPTED, "")


async def test_C11_a_change_that_finds_no_order_is_a_race_and_no_refusal() -> None:
    async with sending() as world:
        for _ in range(4):
            one = await world.placed(ASK)
            world.venue.script("renew", NotFound(404, "not_found", ""))
            assert await world.does(RenewOrder(one, NOW_US + HOUR_US)) == (Outcome.NOT_FOUND, "not_found")
            await world.answer(world.cancel(one))
        last = await world.placed(ASK)
        assert await world.does(RenewOrder(last, NOW_US + HOUR_US)) == (Outcome.ACCEPTED, "")


# C15


async def test_C15_a_key_that_is_not_accepted_stops_all_but_cancels_and_is_tried_once_carefully(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("place", BAD_KEY)
        assert (await world.does(BID))[0] is Outcome.DECLINED
        assert world.sender.stopped == "NO_CREDENTIALS: authentication_error"
        assert (await world.does(BID))[0] is Outcome.NOT_SENT
        assert (await world.does(RenewOrder(one, NOW_US + HOUR_US)))[0] is Outcome.NOT_SENT
        world.venue.script("check key", BAD_KEY, None)
        await world.later(91)
        assert [round(at) for at in world.venue.times("check key")] == [30, 90]
        assert world.sender.stopped == ""
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
    assert alerts(caplog) == ["NO_CREDENTIALS"]
    (record,) = [record for record in caplog.records if hasattr(record, "alert")]
    assert record.offset_us == 50_000


async def test_C15_cancels_go_on_without_a_key_and_one_that_is_taken_proves_it() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("cancel", BAD_KEY)
        assert (await world.answer(world.cancel(one)))[0] is Outcome.DECLINED
        assert world.sender.stopped.startswith("NO_CREDENTIALS")
        await world.until(lambda: not world.resting())
        assert world.sender.stopped == ""
    assert len(world.venue.times("cancel")) == 2


async def test_C15_a_key_that_may_not_place_orders_is_not_proven_by_cancels_and_is_tried_ever_less() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("place", *[NOT_ALLOWED] * 3)
        assert (await world.does(BID))[0] is Outcome.DECLINED
        await world.answer(world.cancel(one))
        assert world.sender.stopped == "NO_CREDENTIALS: forbidden"
        tries = [world.clock.monotonic()]
        for _ in range(2):
            await world.until_free()
            tries.append(world.clock.monotonic())
            assert (await world.does(BID))[0] is Outcome.DECLINED
        assert [round(later - at) for at, later in itertools.pairwise(tries)] == [30, 60]


async def test_C15_cancels_that_are_refused_meanwhile_do_not_put_the_trial_off_and_go_at_once_when_it_is_over() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("place", BAD_KEY)
        await world.does(BID)
        await world.later(4)
        world.venue.script("cancel", *[BAD_KEY] * 5)
        world.cancel(one)
        await world.until(lambda: not world.resting())
        assert [round(at) for at in world.venue.times("check key")] == [30]
        assert [round(at) for at in world.venue.times("cancel")] == [4, 5, 7, 11, 19, 30]


async def test_C15_a_429_proves_nothing_of_the_key() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("place", BAD_KEY)
        await world.does(BID)
        world.venue.script("cancel", RateLimited(429, "", ""), Disconnected("away"))
        assert (await world.answer(world.cancel(one)))[0] is Outcome.NOT_SENT
        assert world.sender.stopped.startswith("NO_CREDENTIALS")


async def test_C14_C3_C6_what_is_no_refusal_of_the_request_opens_no_breaker() -> None:
    async with sending() as world:
        for no_refusal in (RateLimited(429, "", ""), HeldBack("ask", "BUDGET_SPENT", 0.1, 0), NeverSent("away")):
            for _ in range(4):
                world.venue.script("place", no_refusal)
                await world.does(BID)
                await world.until_free()
        exists = AlreadyExists(409, "order_already_exists", "")
        for _ in range(4):
            world.venue.script("place", exists)
            intent = world.wish(BID)
            assert (await world.answer(intent))[0] is Outcome.EXISTS
            shown = AccountOrder(
                "V9", intent.client_order_id, TICKER, 0, 4_000, 1_000, 0, 0, "canceled", "", "", 0, 0, None,
                world.now_us, False, False,
            )  # fmt: skip
            world.live.on_order(shown, world.now_us)
        assert world.sender.stopped == ""


async def test_C15_a_read_that_fails_proves_nothing_of_the_key() -> None:
    async with sending() as world:
        world.venue.script("place", BAD_KEY)
        await world.does(BID)
        world.venue.script("check key", Disconnected("away"), NotFound(404, "not_found", ""))
        await world.later(30)
        assert world.sender.stopped.startswith("NO_CREDENTIALS")
        await world.until_free()
    assert len(world.venue.times("check key")) == 2


# E1


async def test_E1_with_a_clock_far_off_no_order_and_no_change_leaves_and_cancels_do() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.offset = Offset(4_900_000, 5_900_000)
        assert world.sender.stopped == "CLOCK: it is off by 5 s or more"
        assert (await world.does(BID))[0] is Outcome.NOT_SENT
        assert (await world.does(RenewOrder(one, NOW_US + HOUR_US)))[0] is Outcome.NOT_SENT
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")
        world.venue.offset = Offset(900_000, 1_900_000)
        assert world.sender.stopped == ""


async def test_E1_while_the_venues_clock_is_not_known_it_is_asked_and_no_order_leaves() -> None:
    world = SendingWorld()
    world.venue.offset = None
    assert world.sender.stopped == "CLOCK: the exchange's is not known yet"
    async with sending() as world:
        world.venue.offset = None
        await world.later(5)
        assert [round(at) for at in world.venue.times("status")] == [0, 2, 4]
        world.venue.offset = Offset(0, 1)
        await world.later(5)
        assert len(world.venue.times("status")) == 3


# F1, F2


async def test_F1_a_pause_is_no_storm_of_refusals_and_orders_wait_until_the_venue_trades_again() -> None:
    async with sending() as world:
        world.venue.script("place", TRADING)
        assert await world.does(BID) == (Outcome.DECLINED, "trading_is_paused")
        assert world.sender.stopped == "HALTED: trading_is_paused"
        world.venue.script("status", "the exchange does not trade", Disconnected("away"), "the market is inactive")
        for _ in range(8):
            assert (await world.does(BID))[0] is Outcome.NOT_SENT
            await world.later(1)
        assert [round(at) for at in world.venue.times("status")] == [2, 4, 6, 8]
        await world.until_free()
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
    assert len(world.venue.times("place")) == 2


async def test_F1_a_venue_that_says_it_trades_and_refuses_is_asked_ever_less() -> None:
    async with sending() as world:
        world.venue.script("place", *[TRADING] * 5)
        for _ in range(5):
            await world.until_free()
            assert await world.does(BID) == (Outcome.DECLINED, "trading_is_paused")
        await world.until_free()
        assert [round(at) for at in world.venue.times("place")] == [0, 2, 6, 14, 30]
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
        assert world.venue.times("place")[-1] >= 62
        world.venue.script("place", TRADING)
        began_s = world.clock.monotonic()
        await world.does(PlaceOrder(YES, 4_100, 1_000))
        await world.until_free()
        assert world.clock.monotonic() - began_s == pytest.approx(2, abs=0.6), "it has traded since: asked as at first"


async def test_F2_cancels_that_the_pause_refused_go_first_when_it_is_over() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.venue.script("cancel", *[EXCHANGE] * 5)
        world.venue.script("status", *["the exchange does not trade"] * 8)
        assert await world.answer(world.cancel(one)) == (Outcome.DECLINED, "exchange_is_paused")
        assert world.sender.stopped == "HALTED: exchange_is_paused"
        assert world.resting() == [one]
        await world.until(lambda: not world.resting())
        assert await world.does(BID) == (Outcome.ACCEPTED, "")
    assert [round(at) for at in world.venue.times("cancel")] == [0, 1, 3, 7, 15, 18]
    assert world.venue.verbs()[-2:] == ["cancel", "place"]


# F12, grants


async def test_F12_new_orders_wait_for_the_minute_after_a_cancel_all() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.sender.hold_creates_until_us = world.now_us + 60 * SECOND_US
        world.sender.hold_creates_until_us = world.now_us + 10 * SECOND_US  # an older one does not shorten it
        assert world.sender.stopped == "CANCEL_ALL: new orders may be swept, too"
        assert (await world.does(BID))[0] is Outcome.NOT_SENT
        assert await world.does(RenewOrder(one, NOW_US + HOUR_US)) == (Outcome.ACCEPTED, "")
        await world.later(59)
        assert world.sender.stopped
        await world.later(2)
        assert world.sender.stopped == ""


async def test_nothing_new_leaves_once_the_grant_has_expired() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        await world.later(20 * 60)
        assert world.sender.stopped == "NO_GRANT: it has expired"
        assert (await world.does(BID))[0] is Outcome.NOT_SENT
        assert (await world.does(RenewOrder(one, world.now_us + HOUR_US)))[0] is Outcome.NOT_SENT
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")


# G1


async def test_G1_while_it_is_killed_cancels_leave_and_nothing_else() -> None:
    async with sending() as world:
        one = await world.placed(ASK)
        world.killed = "everything was killed by cli:tester"
        assert world.sender.stopped == "KILLED: everything was killed by cli:tester"
        assert await world.does(BID) == (Outcome.NOT_SENT, world.sender.stopped)
        assert await world.does(DecreaseOrder(one, 500)) == (Outcome.NOT_SENT, world.sender.stopped)
        assert await world.answer(world.cancel(one)) == (Outcome.ACCEPTED, "")
        world.killed = ""
        assert world.sender.stopped == ""
        assert (await world.does(BID))[0] is Outcome.ACCEPTED


async def test_G1_a_kill_while_an_order_waits_for_the_disk_keeps_it_back() -> None:
    async with sending() as world:
        world.disk.delay_s = 0.2
        intent = world.wish(BID)
        await world.later(0.1)
        world.killed = "everything was killed by cli:tester"
        assert (await world.answer(intent))[0] is Outcome.NOT_SENT
        assert "place" not in world.venue.verbs()
