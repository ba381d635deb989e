"""Rows about reads: they lag, they fail, and they must find what the private channel did not tell."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.liverig import LOOKING, PLACING, SILENT_CHANNELS, LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from traders.core.settling import MARGIN_US, OVERDUE_US

pytestmark = pytest.mark.long

LAG_US = 3_000_000
LAGS = {"do": "lag_reads", "lag_ms": LAG_US // 1_000}
FAILING = {"do": "answer", "id": "unread", **LOOKING, "status": 503, "times": None}
BY_POLL_S = 15.0  # the orders' poll, then that of the fills


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def a_lost_create(live: LiveCase, *faults: dict[str, Any], does: str) -> str:
    """Let the outcome of a create be unknown; return its client order id."""
    live.pause()
    (fault,) = live.arm({"do": does, **PLACING})
    if faults:
        live.arm(*faults)
    live.resume()
    live.until_struck(fault)
    live.until(live.unknown_creates, "the outcome of a create is unknown")
    return live.unknown_creates()[0]


def never_given_up(live: LiveCase, name: str) -> bool:
    return all(line.body.status != "refused" for line in live.trader.record.read().states.get(name, []))


# ---- C4 --------------------------------------------------------------------------------------------------------------


def test_C4_not_found_is_not_believed_of_a_read_that_lags(live: LiveCase) -> None:
    name = a_lost_create(live, LAGS, *SILENT_CHANNELS, does="apply_then_drop")
    live.until(lambda: live.told(name) is not None, "it is found once reads show it")
    assert never_given_up(live, name)
    live.judge()


def test_C4_never_placed_waits_until_reads_are_newer_than_the_send(live: LiveCase) -> None:
    name = a_lost_create(live, LAGS, does="drop")
    live.until(lambda: live.told(name) is not None, "it is settled")
    assert live.told(name).status == "refused"
    assert live.told_at_us(name) - live.sent_us(name) >= LAG_US + MARGIN_US
    live.judge()


def test_C4_flat_is_not_believed_of_a_read_that_lags(live: LiveCase) -> None:
    live.arm(LAGS)
    live.hit_some()
    live.until(lambda: live.position_cx() == live.true_position_cx() != 0, "the fill is booked all the same")
    live.wait(LAG_US / 1_000_000)
    assert live.position_cx() == live.true_position_cx()
    live.judge()


# ---- C5 --------------------------------------------------------------------------------------------------------------


def test_C5_a_read_that_fails_moves_no_miss(live: LiveCase) -> None:
    """Here no connection is had; the row below has reads that are answered with 503 for a minute."""
    name = a_lost_create(live, does="drop")
    live.trader.rest.refuse()
    live.wait(5)  # two looks
    assert live.told(name) is None, "unknown stays unknown"
    live.trader.rest.pass_all()
    live.until(lambda: live.told(name) is not None, "reads settle it")
    assert live.told(name).status == "refused"
    live.judge()


@pytest.mark.timeout(180)
def test_C1_C5_what_stays_unsettled_for_a_minute_triggers_the_group_and_an_alert(live: LiveCase) -> None:
    name = a_lost_create(live, FAILING, *SILENT_CHANNELS, does="apply_then_drop")
    sent_us = live.sent_us(name)
    live.until(lambda: live.requests("PUT", "/portfolio/order_groups"), "the group is triggered", within_s=90)
    (trigger,) = live.requests("PUT", "/portfolio/order_groups")[:1]
    assert trigger.path.endswith(f"{live.trader.group_id}/trigger")
    assert OVERDUE_US <= trigger.at_us - sent_us <= OVERDUE_US + 5_000_000
    live.until(lambda: {"LIVE_OVERDUE", "LIVE_FENCED"} <= set(live.alerts()), "alerts")
    assert live.told(name) is None
    live.rig.control("DELETE", "/faults")
    live.until(lambda: live.told(name) is not None, "reads settle it")
    asked = len(live.creates())
    live.let_it_look()
    assert len(live.creates()) == asked, "nothing new goes into a triggered group"
    live.restart()
    live.judge()


# ---- B16 -------------------------------------------------------------------------------------------------------------


def test_B16_what_a_silent_private_channel_does_not_tell_is_found_by_polling(live: LiveCase) -> None:
    live.arm(*SILENT_CHANNELS)
    live.hit_some()
    live.until(lambda: live.position_cx() == live.true_position_cx(), "the fill is booked", within_s=BY_POLL_S)
    live.until_struck("silent-user_order", "silent-fill")
    live.until(lambda: "ACCOUNT_DIFFERENCE" in live.alerts(), "an alert")
    live.judge()
