"""Rows of part C about being too fast for the exchange, or the exchange too slow for us."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.invariants import most_at_once
from tests.faults.ledger import CREATE
from tests.faults.liverig import CANCELLING, PLACING, LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import Plan

pytestmark = pytest.mark.long

TOO_MANY = {"do": "answer", "status": 429, "text": '{"error":"too many requests"}'}
CROWD = 4  # traders on one account whose quotes cost more than a second's budget of the lowest level
LATE_US = 1_500_000
SLOW_MS = 8_000


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    plans = tuple(Plan(market=market) for market in range(CROWD))
    return LiveOptions(
        quick_leases=True, traders=plans, exchange=("--tier", "basic", "--switch", "cancel_all_tail=none")
    )


# ---- C6 --------------------------------------------------------------------------------------------------------------


def test_C6_a_429_on_cancels_leaves_the_orders_resting_until_they_are_canceled(live: LiveCase) -> None:
    (fault,) = live.arm({**TOO_MANY, **CANCELLING, "times": 3})
    names = {order.client_order_id for order in live.resting()}
    live.command("pause")
    live.until_struck(fault)
    assert all(live.told(name).status == "resting" for name in names), "a 429 cancels nothing"
    live.until_struck(fault, times=3)
    live.until(lambda: not live.resting(), "the cancels go through at last")
    live.judge()


def test_C6_a_429_on_creates_places_nothing_and_is_tried_anew_with_other_ids(live: LiveCase) -> None:
    live.pause()
    (fault,) = live.arm({**TOO_MANY, **PLACING, "times": 3})
    live.resume()
    live.until_struck(fault, times=3)
    live.until_quotes("new wishes go through")
    assert "unknown" not in live.outcomes()
    refused = [request for request in live.requests("POST") if request.status == 429]
    gone = {one for request in refused for one in request.creates}
    assert gone, "creates were refused"
    assert not any(live.rig.fetch().of_client_id(one) for one in gone)
    live.judge()


# ---- C7 --------------------------------------------------------------------------------------------------------------


def test_C7_cancels_go_first_and_no_create_is_sent_late(live_rig: LiveRig, live_on: Any) -> None:
    """All traders of the account pull and quote at once, again and again, on the smallest budget there is."""
    live_rig.start_all()
    lives: list[LiveCase] = [live_on(place, others=True) for place in range(CROWD)]
    for _ in range(3):
        lives[0].did("all pull at once")
        for live in lives:
            live.trader.tell("pause")
        for live in lives:
            live.until(lambda live=live: not live.resting(), "all are pulled")
        for live in lives:
            live.trader.tell("resume")
    for live in lives:
        live.until_quotes("all quote")
    first = lives[0]
    requests = [*first.requests("POST"), *first.requests("DELETE")]
    assert [request for request in requests if request.status == 429] == [], "the budget is everybody's, and kept"
    for live in lives:
        for request in live.requests("POST"):
            for one in request.creates:
                intent = live.trader.record.creates().get(one)
                assert intent is None or request.at_us - intent.at_us < LATE_US, "decided on another market"
        live.judge()


# ---- C8 --------------------------------------------------------------------------------------------------------------


def test_C8_where_every_answer_takes_8_s_one_create_and_one_cancel_a_side_are_on_their_way(live: LiveCase) -> None:
    slow = {"do": "delay", "delay_ms": SLOW_MS, "times": None}
    live.pause()
    live.arm(
        {**slow, "id": "slow-post", "method": "POST"},
        {**slow, "id": "slow-delete", "method": "DELETE"},
        {**slow, "id": "slow-get", "method": "GET"},
    )
    live.resume()
    live.until(lambda: live.intents("place"), "creates are on their way")
    live.command("pause")
    live.until_struck("slow-post")
    live.until_struck("slow-delete", "slow-get")
    live.command("resume")
    live.rig.control("DELETE", "/faults")
    live.until_quotes("it quotes when the exchange is quick again", within_s=40)
    for verbs in (("place", "take"), ("cancel",), ("renew", "decrease")):
        assert most_at_once(live.trader.record.read(), verbs) <= 1, verbs
    assert len(live.requests("DELETE", CREATE)) < 12, "nothing piled up"
    for request in live.requests("POST"):
        for one in request.creates:
            assert request.at_us - live.trader.record.creates()[one].at_us < LATE_US, "decided on another market"
    live.judge()
