"""Orders whose answers were lost, at the local exchange (faults.md C1–C5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from livedesk import NO, ORDERS, SECOND_US, YES, live_desk

from traders.core.commands import PlaceOrder
from traders.core.intents import Held, Outcome

BID, ASK = PlaceOrder(YES, 4_000, 1_000), PlaceOrder(NO, 5_500, 1_000)
HTML = {"status": 502, "text": "<html>Bad gateway</html>", "content_type": "text/html"}
APPLIED = {
    "cut": {"do": "apply_then_drop"},
    "408": {"do": "apply_then_answer", "status": 408, "text": "{}"},
    "500": {"do": "apply_then_answer", "status": 500, "text": "{}"},
    "502 html": {"do": "apply_then_answer", **HTML},
    "503": {"do": "apply_then_answer", "status": 503},
    "504": {"do": "apply_then_answer", "status": 504, "text": ""},
    "malformed": {"do": "apply_then_answer", "status": 201, "text": '{"order_id":"'},
    "cut JSON": {"do": "cut", "bytes": 12},
}
DROPPED = {
    "cut": {"do": "drop"},
    "500": {"do": "answer", "status": 500, "text": "{}"},
    "502 html": {"do": "answer", **HTML},
    "503": {"do": "answer", "status": 503},
}
CREATES = {"method": "POST", "path": ORDERS}


@pytest.mark.parametrize("how", APPLIED)
async def test_C1_an_order_whose_answer_was_lost_is_found_by_looking_and_sent_once(key_dir: Path, how: str) -> None:
    async with live_desk(key_dir) as desk:
        fault: dict[str, Any] = {**APPLIED[how], **CREATES}
        await desk.fault(**fault)
        intent = desk.wish(BID)
        assert (await desk.answer(intent))[0] is Outcome.UNKNOWN
        assert desk.unproven_cx() == 1_000
        assert isinstance(desk.live.wish(BID, desk.now_us), Held)
        await desk.settled()
        assert desk.resting() == {intent.client_order_id: 1_000}
        assert await desk.applied() == [fault["do"]]
        await desk.agrees()


async def test_C1_an_order_whose_answer_does_not_come_is_found_while_it_is_still_waited_for(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_delay", delay_ms=20_000, **CREATES)
        intent = desk.wish(BID)
        await desk.until(desk.resting)
        assert desk.clock.monotonic() < 4
        assert (await desk.answer(intent))[0] is Outcome.UNKNOWN
        await desk.later(15)
        assert desk.resting() == {intent.client_order_id: 1_000}
        assert await desk.applied() == ["apply_then_delay"]
        await desk.agrees()


@pytest.mark.parametrize("backwards", [False, True])
async def test_C1_an_order_whose_answer_was_lost_is_settled_by_the_private_channel(
    key_dir: Path, backwards: bool
) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_drop", **CREATES)
        await desk.does(BID)
        await desk.outsider(NO, 6_000, 300)
        desk.hear(times=2, backwards=backwards)
        await desk.until(desk.resting, within_s=1)
        assert desk.position_cx == 300
        await desk.agrees()
        assert desk.requests("GET", "/portfolio/orders") == []


async def test_C1_both_orders_of_a_batch_whose_answer_was_lost_are_found(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_drop", method="POST", path=f"{ORDERS}/batched")
        desk.wish(BID)
        assert (await desk.answer(desk.wish(ASK)))[0] is Outcome.UNKNOWN
        await desk.settled()
        assert len(desk.resting()) == 2
        await desk.agrees()
        assert len(desk.requests("GET", "/portfolio/orders")) == 1, "one list for both"


async def test_C1_what_filled_while_the_order_was_unknown_is_booked_once(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_drop", **CREATES)
        await desk.does(BID)
        await desk.outsider(NO, 6_000, 400)
        await desk.settled()
        assert (desk.position_cx, desk.unproven_cx()) == (400, 0)
        desk.hear(times=2)
        await desk.agrees()


async def test_C1_C5_an_order_that_stays_unknown_for_a_minute_has_its_group_triggered(
    key_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_drop", **CREATES)
        await desk.fault("answer", method="GET", path="/portfolio/*", status=503, times=None)
        intent = desk.wish(BID)
        await desk.answer(intent)
        await desk.later(58)
        assert (await desk.orders())[intent.client_order_id]["status"] == "resting"
        await desk.later(5)
        assert (await desk.orders())[intent.client_order_id]["status"] == "canceled"
        await desk.later(240)
        assert desk.unproven_cx() == 1_000, "reads failed all the time: nothing is proven"
        assert isinstance(desk.live.wish(ASK, desk.now_us), Held)
        await desk.heal()
        await desk.settled()
        assert desk.told == {intent.client_order_id: "canceled"}
        await desk.agrees()
    assert {"GROUP_TRIGGERED"} == {record.alert for record in caplog.records if hasattr(record, "alert")}


async def test_C1_the_trigger_is_repeated_until_the_venue_has_taken_it(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("apply_then_drop", **CREATES)
        await desk.fault("answer", method="GET", path="/portfolio/*", status=503, times=None)
        await desk.fault("drop", method="PUT", path="/portfolio/order_groups/*", times=3)
        intent = desk.wish(BID)
        await desk.later(80)
        assert (await desk.applied()).count("drop") == 3
        assert (await desk.orders())[intent.client_order_id]["status"] == "canceled"
        await desk.heal()
        await desk.settled()
        await desk.agrees()


@pytest.mark.parametrize("how", DROPPED)
async def test_C2_an_order_that_never_arrived_is_never_placed_after_two_looks_and_the_next_wish_is_a_new_one(
    key_dir: Path, how: str
) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault(**DROPPED[how], **CREATES)
        first = desk.wish(BID)
        await desk.settled()
        assert desk.told[first.client_order_id] == "refused"
        assert desk.clock.monotonic() >= 4
        second = desk.wish(BID)
        assert await desk.answer(second) == (Outcome.ACCEPTED, "")
        assert second.client_order_id != first.client_order_id
        await desk.agrees()


async def test_C2_an_order_that_arrives_after_it_was_given_up_is_not_held_for_never_placed(key_dir: Path) -> None:
    async with live_desk(key_dir, clock_window_ms=60_000) as desk:
        await desk.fault("delay", delay_ms=12_500, **CREATES)
        intent = desk.wish(BID)
        assert (await desk.answer(intent))[0] is Outcome.UNKNOWN
        assert 10 <= desk.clock.monotonic() <= 11
        await desk.settled()
        assert desk.resting() == {intent.client_order_id: 1_000}
        await desk.agrees()


async def test_C3_a_conflict_on_a_first_send_proves_the_order_which_is_fetched_and_booked(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        intent = desk.live.wish(BID, desk.now_us)
        await desk.venue.place(intent.client_order_id, intent.wish)  # it was there already, by whatever way
        await desk.outsider(NO, 6_000, 300)
        desk._put(intent)
        assert await desk.answer(intent) == (Outcome.EXISTS, "order_already_exists")
        assert desk.unproven_cx() == 1_000
        await desk.settled()
        assert (desk.resting(), desk.position_cx) == ({intent.client_order_id: 700}, 300)


async def test_C3_a_conflict_is_believed_although_no_read_shows_the_order(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        conflict = '{"error":{"code":"order_already_exists","message":"order already exists"}}'
        await desk.fault("answer", status=409, text=conflict, **CREATES)
        assert (await desk.does(BID))[0] is Outcome.EXISTS
        await desk.later(30)
        assert desk.unproven_cx() == 1_000, "it is not taken for never placed"
        await desk.later(35)
        assert desk.live.fenced


@pytest.mark.parametrize("do", ["apply_then_drop", "drop"])
async def test_C4_reads_that_lag_half_a_minute_settle_nothing_too_soon(key_dir: Path, do: str) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("lag_reads", lag_ms=28_000)
        await desk.later(60)
        await desk.fault(do, **CREATES)
        intent = desk.wish(BID)
        await desk.answer(intent)
        await desk.later(27)
        assert desk.unproven_cx() == 1_000
        await desk.settled()
        assert desk.live.fenced == ""
        expected = {intent.client_order_id: 1_000} if do == "apply_then_drop" else {}
        assert desk.resting() == expected
        await desk.agrees()


async def test_C4_a_cancel_is_not_forgotten_because_a_read_that_lags_still_shows_the_order(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed()
        await desk.fault("lag_reads", lag_ms=15_000)
        await desk.fault("apply_then_drop", method="DELETE")
        desk.cancel(one)
        await desk.settled()
        assert desk.resting() == {}
        assert desk.clock.monotonic() > 15
        await desk.agrees()


async def test_C5_reads_that_fail_do_not_count_as_misses(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        await desk.fault("drop", **CREATES)
        await desk.fault("answer", method="GET", path="/portfolio/orders", status=500, text="{}", times=None)
        intent = desk.wish(BID)
        await desk.later(50)
        assert desk.unproven_cx() == 1_000
        await desk.heal()
        await desk.settled()
        assert desk.told[intent.client_order_id] == "refused"
        assert desk.live.fenced == ""
        await desk.agrees()


async def test_an_order_names_its_group_its_expiry_and_what_shall_become_of_it_in_a_pause(key_dir: Path) -> None:
    async with live_desk(key_dir) as desk:
        one = await desk.placed(NO, 5_500, 1_000, expires_us=desk.now_us + 120 * SECOND_US + 900_000)
        (order,) = (await desk.orders()).values()
        assert order["order_group_id"] == desk.group_id
        assert order["yes_price_dollars"] == "0.4500"
        assert (order["cancel_order_on_pause"], order["self_trade_prevention_type"]) == (True, "taker_at_cross")
        (body,) = desk.requests("POST")
        wished_us = desk.wished[one].expires_us
        assert body["post_only"] is True
        assert 0 <= wished_us - body["expiration_time"] * SECOND_US < SECOND_US
