"""Cancels and changes that race with fills, or whose answers are lost (faults.md C9–C13, C16)."""

from __future__ import annotations

from pathlib import Path

import pytest
from livedesk import NO, ORDERS, SECOND_US, YES, live_desk

from traders.core.commands import DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Held, Outcome

AMENDS = {"method": "POST", "path": f"{ORDERS}/*/amend"}
DECREASES = {"method": "POST", "path": f"{ORDERS}/*/decrease"}
SLOW = {"do": "delay", "delay_ms": 2_000}


async def test_C9_what_fills_while_the_cancel_is_on_its_way_is_booked_and_the_rest_released(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault("delay", delay_ms=2_000, method="DELETE")
        intent = desk.cancel(one)
        await desk.later(1)
        await desk.outsider(NO, 6_000, 300)
        assert await desk.answer(intent) == (Outcome.ACCEPTED, "")
        assert (desk.resting(), desk.unproven_cx()) == ({}, 300)
        await desk.settled()
        assert (desk.told[one], desk.position_cx, desk.unproven_cx()) == ("canceled", 300, 0)
        await desk.agrees()


async def test_C10_an_order_that_fills_whole_while_the_cancel_is_on_its_way_is_filled(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault("delay", delay_ms=2_000, method="DELETE")
        intent = desk.cancel(one)
        await desk.later(1)
        await desk.outsider(NO, 6_000, 1_000)
        assert await desk.answer(intent) == (Outcome.NOT_FOUND, "not_found")
        assert desk.unproven_cx() == 1_000
        await desk.settled()
        assert (desk.told[one], desk.position_cx) == ("filled", 1_000)
        assert desk.cancels() == 1
        await desk.agrees()


@pytest.mark.parametrize("do", ["apply_then_drop", "drop", "apply_then_delay"])
async def test_C13_a_cancel_whose_answer_was_lost_is_repeated_until_the_order_is_proven_over(
    key_dir: Path, do: str
) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        more = {"delay_ms": 30_000} if do == "apply_then_delay" else {}
        await desk.fault(do, method="DELETE", **more)
        intent = desk.cancel(one)
        if do != "apply_then_delay":  # that one is looked up before it is given up
            await desk.answer(intent)
            assert desk.resting() == {one: 1_000}
        await desk.settled()
        assert (await desk.answer(intent))[0] is Outcome.UNKNOWN
        assert desk.told[one] == "canceled"
        await desk.later(30)
        assert (1 if do == "apply_then_delay" else 2) <= desk.cancels() <= 3
        await desk.agrees()


async def test_C13_each_of_a_batch_of_cancels_whose_answer_was_lost_is_settled(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.placed()
        await desk.placed(NO, 5_500)
        await desk.fault("apply_then_drop", method="DELETE", path=f"{ORDERS}/batched")
        desk.cancel_all()
        await desk.settled()
        assert list(desk.told.values()) == ["canceled", "canceled"]
        await desk.agrees()


# Changes


async def test_C11_what_fills_while_an_order_is_decreased_makes_less_rest_and_never_more(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault(**SLOW, **DECREASES)
        intent = desk.wish(DecreaseOrder(one, 600))
        await desk.later(1)
        await desk.outsider(NO, 6_000, 500)
        assert await desk.answer(intent) == (Outcome.ACCEPTED, "")
        assert sum(desk.resting().values()) + desk.unproven_cx() == 600
        desk.hear()
        assert (desk.resting(), desk.position_cx) == ({one: 100}, 500)
        await desk.agrees()


async def test_C11_a_decrease_that_comes_after_the_fills_is_refused_and_the_order_is_as_the_fills_left_it(
    key_dir: Path,
) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault(**SLOW, **DECREASES)
        intent = desk.wish(DecreaseOrder(one, 200))
        await desk.later(1)
        await desk.outsider(NO, 6_000, 800)
        assert (await desk.answer(intent))[0] is Outcome.DECLINED
        desk.hear()
        assert (desk.resting(), desk.position_cx) == ({one: 200}, 800)
        await desk.agrees()


async def test_C11_an_answer_that_comes_late_does_not_take_back_what_was_shown_since(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault("apply_then_delay", delay_ms=5_000, **DECREASES)
        intent = desk.wish(DecreaseOrder(one, 600))
        await desk.later(1)
        await desk.outsider(NO, 6_000, 400)
        desk.hear()
        assert (await desk.answer(intent))[0] is Outcome.ACCEPTED
        assert desk.resting() == {one: 200}
        await desk.agrees()


async def test_C11_two_changes_of_an_order_do_not_cross(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault(**SLOW, **AMENDS)
        renewal = desk.wish(RenewOrder(one, desk.now_us + 600 * SECOND_US))
        held = desk.live.wish(DecreaseOrder(one, 300), desk.now_us)
        assert isinstance(held, Held)
        assert held.code == "IN_FLIGHT"
        assert await desk.answer(renewal) == (Outcome.ACCEPTED, "")
        assert await desk.does(DecreaseOrder(one, 300)) == (Outcome.ACCEPTED, "")
        await desk.agrees()
        assert desk.resting() == {one: 300}


async def test_C11_a_renewal_keeps_price_total_and_place_and_a_fill_meanwhile_does_not_enlarge_the_order(
    key_dir: Path,
) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed(expires_us=desk.now_us + 120 * SECOND_US)
        await desk.outsider(YES, 4_000, 700)  # behind us
        await desk.outsider(NO, 6_000, 200)
        desk.hear()
        await desk.fault(**SLOW, **AMENDS)
        until_us = desk.now_us + 240 * SECOND_US
        intent = desk.wish(RenewOrder(one, until_us))
        await desk.later(1)
        await desk.outsider(NO, 6_000, 300)
        assert await desk.answer(intent) == (Outcome.ACCEPTED, "")
        await desk.outsider(NO, 6_000, 100)  # still ours first
        desk.hear()
        assert (desk.resting(), desk.position_cx) == ({one: 400}, 600)
        (quote,) = desk.live.resting()
        assert abs(quote.expires_us - until_us) < SECOND_US
        await desk.agrees()


@pytest.mark.parametrize("is_renewal", [False, True])
@pytest.mark.parametrize("do", ["apply_then_drop", "drop"])
async def test_C12_a_change_whose_answer_was_lost_counts_at_its_worst_until_it_is_proven(
    key_dir: Path, do: str, is_renewal: bool
) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed(expires_us=desk.now_us + 120 * SECOND_US)
        await desk.fault(do, **(AMENDS if is_renewal else DECREASES))
        until_us = desk.now_us + 240 * SECOND_US
        command = RenewOrder(one, until_us) if is_renewal else DecreaseOrder(one, 600)
        assert (await desk.does(command))[0] is Outcome.UNKNOWN
        assert desk.resting() == {one: 1_000}
        assert desk.live.in_flight().amends == {YES}
        await desk.settled()
        is_done = do == "apply_then_drop"
        assert desk.resting() == {one: 600 if is_done and not is_renewal else 1_000}
        (quote,) = desk.live.resting()
        expires_us = until_us if is_done and is_renewal else desk.wished[one].expires_us
        assert quote.expires_us == expires_us // SECOND_US * SECOND_US
        await desk.agrees()


async def test_an_order_whose_renewals_stop_is_taken_off_by_its_own_expiry_and_that_is_found(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed(expires_us=desk.now_us + 30 * SECOND_US)
        await desk.outsider(NO, 6_000, 300)
        await desk.until(lambda: not desk.resting())
        assert desk.clock.monotonic() >= 30
        await desk.settled()
        assert (desk.told[one], desk.position_cx) == ("canceled", 300)
        await desk.agrees()


# Accepted, and not resting


@pytest.mark.parametrize("switch", ["refuse", "cancel"])
async def test_C16_a_post_only_order_that_would_cross_ends_right_however_the_venue_says_so(
    key_dir: Path, switch: str
) -> None:
    async with live_desk(key_dir, post_only_cross=switch) as desk:
        await desk.outsider(NO, 6_000, 500)
        outcome, code = await desk.does(PlaceOrder(YES, 4_000, 1_000))
        expected = (
            (Outcome.DECLINED, "invalid_order: post only cross") if switch == "refuse" else (Outcome.ACCEPTED, "")
        )
        assert (outcome, code) == expected
        assert (desk.resting(), desk.unproven_cx()) == ({}, 0)
        assert list(desk.told.values()) == ["refused" if switch == "refuse" else "canceled"]
        await desk.agrees()


async def test_C16_an_order_that_would_meet_our_own_is_canceled_by_self_trade_prevention(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.placed(NO, 6_000, 500)
        assert await desk.does(TakeOrder(YES, 4_000, 300)) == (Outcome.ACCEPTED, "")
        await desk.settled()
        assert desk.position_cx == 0
        assert list(desk.resting().values()) == [500]
        await desk.agrees()


@pytest.mark.parametrize(("offered_cx", "status"), [(300, "canceled"), (1_000, "filled")])
async def test_C16_what_a_take_filled_is_booked_and_nothing_of_it_rests(
    key_dir: Path, offered_cx: int, status: str
) -> None:
    async with live_desk(key_dir) as desk:
        await desk.outsider(NO, 5_000, offered_cx)
        intent = desk.wish(TakeOrder(YES, 5_200, 1_000))
        assert await desk.answer(intent) == (Outcome.ACCEPTED, "")
        assert desk.live.is_taking, "its fills are not booked yet"
        await desk.settled()
        assert (desk.told[intent.client_order_id], desk.position_cx) == (status, offered_cx)
        await desk.agrees()


@pytest.mark.parametrize("switch", ["cancel", "refuse"])
async def test_C16_a_take_that_finds_nothing_ends_however_the_venue_says_so(key_dir: Path, switch: str) -> None:
    async with live_desk(key_dir, unfilled_ioc=switch) as desk:
        await desk.does(TakeOrder(YES, 5_200, 1_000))
        await desk.until(lambda: not desk.live.is_taking)
        assert (desk.unproven_cx(), desk.position_cx) == (0, 0)
        await desk.agrees()


async def test_a_take_that_only_closes_is_cut_to_the_position_by_the_venue(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.outsider(NO, 5_000, 200)
        await desk.does(TakeOrder(YES, 5_200, 200))
        await desk.settled()
        await desk.outsider(YES, 5_000, 900)
        assert await desk.does(TakeOrder(NO, 5_200, 500), reduce_only=True) == (Outcome.ACCEPTED, "")
        await desk.settled()
        assert desk.position_cx == 0
        await desk.agrees()
