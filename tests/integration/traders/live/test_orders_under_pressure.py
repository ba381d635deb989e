"""Budgets, slow answers, refusals, pauses, credentials and clocks (faults.md C6, C7, C8, C14, C15, E1, F1, F2, F12)."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest
from livedesk import BASIC, NO, NOW_US, ORDERS, SECOND_US, YES, LiveDesk, live_desk

from feed.kalshi.limiter import Limits, Rate
from traders.brokers.venue import NotGranted
from traders.core.commands import PlaceOrder, RenewOrder
from traders.core.intents import Answered, Held, Outcome, Place, Sent, Take

BID, ASK = PlaceOrder(YES, 4_000, 1_000), PlaceOrder(NO, 5_500, 1_000)
AMPLE = Limits(read=Rate(100_000, 100_000), write=Rate(100_000, 100_000))
DENIED = '{"error":{"code":"authentication_error","message":"authentication_error","details":"NOT_FOUND"}}'


def wants(desk: LiveDesk, command: PlaceOrder) -> bool:
    """Wish as an engine does: only while nothing keeps new orders back."""
    if desk.sender.stopped or isinstance(intent := desk.live.wish(command, desk.now_us), Held):
        return False
    desk._put(intent)
    return True


def not_sent(desk: LiveDesk) -> list[str]:
    return [one.code for one in desk.journal if isinstance(one, Answered) and one.outcome is Outcome.NOT_SENT]


# Budgets


async def test_C6_a_429_is_certainly_not_done_and_cancels_get_through_first(key_dir: Path) -> None:
    async with live_desk(key_dir, tier="basic") as desk:  # without a budget of our own: the venue has to refuse
        one, other = await desk.placed(), await desk.placed(NO, 5_500)
        for price_cc in (1_000, 1_100, 1_200, 1_300, 1_400, 1_500):
            await desk.placed(YES, price_cc, 100)
        while (ended := await desk.does(PlaceOrder(YES, 1_600, 100)))[0] is Outcome.ACCEPTED:
            pass
        assert ended == (Outcome.NOT_SENT, "RATE_LIMITED")
        resting = len(desk.resting())
        assert desk.sender.stopped.startswith("RATE_LIMITED")
        for intent in (desk.cancel(one), desk.cancel(other)):
            await desk.answer(intent)
        await desk.until(lambda: len(desk.resting()) == resting - 2)
        assert desk.clock.monotonic() < 2
        await desk.agrees()


async def test_C6_a_batch_that_the_venue_refuses_whole_is_split_and_each_order_settled(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        for number in range(9):
            await desk.placed(YES, 1_000 + 100 * number, 100)
        await desk.fault("answer", method="DELETE", status=429, text='{"error":"too many requests"}', times=2)
        desk.cancel_all()
        await desk.until(lambda: not desk.resting())
        sizes = [len(body["orders"]) for body in desk.requests("DELETE", f"{ORDERS}/batched")]
        assert sizes[:3] == [9, 4, 4]
        assert not_sent(desk).count("RATE_LIMITED") == 9 + 4
        await desk.agrees()


async def test_C6_our_own_budget_keeps_the_venue_from_ever_refusing(key_dir: Path) -> None:
    async with live_desk(key_dir, tier="basic", limits=BASIC) as desk:
        number = 0
        while desk.clock.monotonic() < 20:
            number += wants(desk, PlaceOrder(YES, 1_000 + 100 * (number % 20), 100))
            if len(desk.resting()) > 12:
                desk.cancel_all()
            await desk.later(0.02)
        desk.cancel_all()
        await desk.until(lambda: not desk.resting() and not desk.live.unsettled())
        statuses = {line.status for line in desk.exchange.ledger.after(0, kind="request")}
        assert 429 not in statuses
        assert number > 100
        await desk.agrees()


async def test_C7_with_budget_for_ten_a_second_fifty_cancels_go_before_any_new_order(key_dir: Path) -> None:
    async with live_desk(key_dir, limits=AMPLE) as desk:
        for number in range(50):
            await desk.placed(YES, 1_000 + 10 * 10 * (number % 25), 100)
        began = len(desk.journal)
        desk.limiter.limits = Limits(read=AMPLE.read, write=Rate(20, 20))  # ten cancels a second
        desk.limiter._levels.clear()
        desk.cancel_all()
        wished = 0
        while desk.resting():
            wished += isinstance(intent := desk.live.wish(ASK, desk.now_us), Held) is False
            if not isinstance(intent, Held):
                desk._put(intent)
            await desk.later(0.1)
        lines = desk.journal[began:]
        sent = {line.number: line.at_us for line in lines if isinstance(line, Sent)}
        accepted = [line.number for line in lines if isinstance(line, Answered) and line.outcome is Outcome.ACCEPTED]
        assert len(accepted) >= 50
        assert 4 <= (max(sent[number] for number in accepted[:50]) - min(sent.values())) / SECOND_US <= 6
        creates = {line.number for line in lines if hasattr(line, "wish") and isinstance(line.wish, Place | Take)}
        assert wished > 20
        assert not creates & set(accepted[:50]), "a new order went before a cancel"
        assert set(not_sent(desk)) >= {"BEHIND_CANCELS", "BUDGET_SPENT"}
        await desk.settled()
        await desk.agrees()


async def test_C8_with_answers_that_take_eight_seconds_one_order_and_one_cancel_a_side_are_on_their_way(
    key_dir: Path,
) -> None:
    async with live_desk(key_dir) as desk:
        one, other = await desk.placed(), await desk.placed(NO, 5_500)
        await desk.fault("apply_then_delay", delay_ms=8_000, method="POST", path="/portfolio/events/*", times=None)
        await desk.fault("apply_then_delay", delay_ms=8_000, method="DELETE", times=None)
        began_s, before = desk.clock.monotonic(), len(desk.requests("POST"))
        desk.cancel(one)
        desk.cancel(other)
        while desk.clock.monotonic() < began_s + 24:
            for number, side in enumerate((YES, NO)):
                wants(desk, PlaceOrder(side, 1_000 + 100 * number, 100))
            assert all(sum(o.side is side for o in desk.live.unproven()) <= 1 for side in (YES, NO))
            await desk.later(0.25)
        batches = desk.requests("POST", f"{ORDERS}/batched")
        creates = len(desk.requests("POST")) - before + sum(len(batch["orders"]) for batch in batches)
        assert creates <= 2 * 24 / 2, "at most one a side at a time, and looks settle one after two seconds"
        await desk.heal()
        await desk.settled()
        await desk.agrees()


# Refusals


async def test_C14_F13_without_money_three_orders_are_refused_and_then_none_is_asked_for_a_minute(
    key_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_desk(key_dir) as desk:
        balance = (await desk.rest.portfolio.balance(exchange_index=0)).balance_ud
        await desk.control("POST", "/accounts/owner/withdraw", {"amount": f"{balance // 1_000_000}"})
        while desk.clock.monotonic() < 50:
            wants(desk, BID)
            await desk.later(0.1)
        assert len(desk.requests("POST")) == 3
        assert desk.sender.stopped == "BREAKER: insufficient_balance"
        await desk.control("POST", "/accounts/owner/deposit", {"amount": "1000"})
        while not desk.resting():
            wants(desk, BID)
            await desk.later(0.1)
        assert 60 <= desk.clock.monotonic() <= 62
        await desk.agrees()
    assert [record.alert for record in caplog.records if hasattr(record, "alert")] == ["BREAKER_OPEN"]


@pytest.mark.parametrize("switch", ["refuse", "cancel"])
async def test_C14_C16_orders_that_cross_again_and_again_stop_however_the_venue_says_so(
    key_dir: Path, switch: str
) -> None:
    async with live_desk(key_dir, post_only_cross=switch) as desk:
        await desk.outsider(NO, 6_000, 500)
        while desk.clock.monotonic() < 30:
            wants(desk, BID)
            await desk.later(0.1)
        assert len(desk.requests("POST")) == 3
        assert desk.sender.stopped.startswith("BREAKER")
        await desk.agrees()


async def test_C15_a_key_that_is_revoked_stops_orders_and_is_tried_carefully_and_shown_nowhere(
    key_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with live_desk(key_dir) as desk:
        one = await desk.placed(expires_us=desk.now_us + 600 * SECOND_US)
        await desk.fault("answer", id="key", path="/portfolio/*", status=401, text=DENIED, times=None)
        began = len(desk.exchange.ledger.after(0, kind="request"))
        assert await desk.does(ASK) == (Outcome.DECLINED, "authentication_error: NOT_FOUND")
        assert (await desk.does(RenewOrder(one, desk.now_us + 900 * SECOND_US)))[0] is Outcome.NOT_SENT
        while desk.clock.monotonic() < 80:
            wants(desk, ASK)
            await desk.later(0.25)
        assert desk.sender.stopped == "NO_CREDENTIALS: authentication_error"
        asked = desk.exchange.ledger.after(0, kind="request")[began:]
        assert [line.path for line in asked] == [
            f"/trade-api/v2{ORDERS}", f"/trade-api/v2/portfolio/order_groups/{desk.group_id}"
        ]  # fmt: skip
        await desk.control("DELETE", "/faults/key")
        while len(desk.resting()) < 2:
            wants(desk, ASK)
            await desk.later(0.25)
        await desk.agrees()
    told = caplog.text
    assert "PRIVATE KEY" not in told
    assert "ACCESS-SIGNATURE" not in told
    assert [record.alert for record in caplog.records if hasattr(record, "alert")] == ["NO_CREDENTIALS"]


# Clocks, grants


async def test_E1_with_a_clock_six_seconds_off_no_order_reaches_the_exchange_and_cancels_do(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        desk.clock.wall_off_us = 6 * SECOND_US
        assert desk.sender.stopped == "CLOCK: it is off by 5 s or more"
        assert (await desk.does(ASK))[0] is Outcome.NOT_SENT
        assert len(desk.requests("POST")) == 1
        assert await desk.answer(desk.cancel(one)) == (Outcome.ACCEPTED, "")
        desk.clock.wall_off_us = 0
        assert desk.sender.stopped == ""
        assert await desk.does(ASK) == (Outcome.ACCEPTED, "")
        await desk.agrees()


async def test_E1_with_a_clock_two_seconds_off_it_is_said_and_orders_go_on(
    key_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_desk(key_dir, date_off_s=3) as desk:
        assert await desk.does(BID) == (Outcome.ACCEPTED, "")
    assert "clock_offset" in {getattr(record, "action", "") for record in caplog.records}


async def test_nothing_new_leaves_without_a_grant_that_runs(key_dir: Path) -> None:
    async with live_desk(key_dir, start={"grant_expires_us": NOW_US + 30 * SECOND_US}) as desk:
        one = await desk.placed()
        await desk.later(31)
        assert desk.sender.stopped.startswith("NO_GRANT")
        assert (await desk.does(ASK))[0] is Outcome.NOT_SENT
        intent = desk.live.wish(ASK, desk.now_us)
        with pytest.raises(NotGranted):
            await desk.venue.place(intent.client_order_id, intent.wish)
        with pytest.raises(NotGranted):
            await desk.venue.place_many([(intent.client_order_id, intent.wish)])
        with pytest.raises(NotGranted):
            await desk.venue.take(intent.client_order_id, Take(YES, 4_000, 100), reduce_only=True)
        with pytest.raises(NotGranted):
            type(desk.venue)(desk.rest, desk.venue._start, desk.venue.ticker, desk.clock.now_us)
        assert await desk.answer(desk.cancel(one)) == (Outcome.ACCEPTED, "")
        assert len(desk.requests("POST")) == 1


async def test_a_start_without_a_group_to_fence_orders_in_gives_no_venue(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        start = msgspec.structs.replace(desk.venue._start, group_id="")
        with pytest.raises(NotGranted, match="names no order group"):
            type(desk.venue)(desk.rest, start, desk.venue.ticker, desk.clock.now_us)


# The exchange's own stops


async def test_F1_in_a_trading_pause_cancels_go_on_and_new_orders_wait_for_its_end(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.control("POST", "/pauses", {"halt": "trading"})
        desk.hear()
        assert desk.told[one] == "canceled", "it asked for that"
        wants(desk, ASK)
        while desk.clock.monotonic() < 60:
            wants(desk, ASK)
            await desk.later(0.1)
        assert len(desk.requests("POST")) == 2
        assert desk.sender.stopped == "HALTED: trading_is_paused"
        statuses = desk.requests("GET", "/exchange/status")
        assert 25 <= len(statuses) <= 31
        await desk.control("DELETE", "/pauses", {"halt": "trading"})
        while not desk.resting():
            wants(desk, ASK)
            await desk.later(0.1)
        assert desk.clock.monotonic() < 64
        await desk.agrees()


async def test_F1_a_halt_of_the_market_alone_that_no_read_shows_is_no_storm_either(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.control("POST", "/pauses", {"halt": "trading", "ticker": desk.venue.ticker})
        while desk.clock.monotonic() < 120:
            wants(desk, ASK)
            await desk.later(0.1)
        assert len(desk.requests("POST")) <= 7
        await desk.agrees()


async def test_F2_in_an_exchange_pause_cancels_are_kept_ready_and_go_first_when_it_ends(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault("lose", id="none")  # whatever the account's channels would have told
        pause = {"halt": "exchange"}
        for order in desk.exchange.world.accounts["owner"].orders.values():
            order.cancel_on_pause = False
        await desk.control("POST", "/pauses", pause)
        assert (await desk.answer(desk.cancel(one))) == (Outcome.DECLINED, "exchange_is_paused")
        while desk.clock.monotonic() < 40:
            wants(desk, ASK)
            await desk.later(0.25)
        assert desk.resting() == {one: 1_000}, "nobody believes that it is canceled"
        assert desk.cancels() <= 6
        await desk.control("DELETE", "/pauses", pause)
        ended_s = desk.clock.monotonic()
        while len(desk.told) < 2:
            wants(desk, ASK)
            await desk.later(0.05)
        assert desk.told[one] == "canceled"
        assert desk.clock.monotonic() - ended_s < 3
        lines = [line for line in desk.exchange.ledger.after(0, kind="request") if line.method in ("POST", "DELETE")]
        assert [line.method for line in lines[-2:]] == ["DELETE", "POST"]
        await desk.agrees()


async def test_F12_new_orders_wait_for_the_minute_after_a_cancel_all_and_none_is_swept(key_dir: Path) -> None:
    async with live_desk(key_dir, cancel_all_tail="minute") as desk:
        one = await desk.placed()
        await desk.rest.orders.cancel_all()
        desk.sender.hold_creates_until_us = desk.now_us + 60 * SECOND_US
        desk.hear()
        assert desk.told[one] == "canceled"
        while not desk.resting():
            wants(desk, BID)
            await desk.later(0.25)
        assert desk.clock.monotonic() >= 60
        await desk.later(30)
        desk.hear()
        assert len(desk.resting()) == 1
        await desk.agrees()


async def test_F11_nothing_new_goes_into_a_group_that_was_triggered(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.venue.trigger()
        desk.hear(backwards=True)
        await desk.settled()
        assert desk.told[one] == "canceled"
        held = desk.live.wish(BID, desk.now_us)
        assert isinstance(held, Held)
        assert held.code == "FENCED"
        await desk.agrees()
