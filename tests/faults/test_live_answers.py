"""Rows of part C about answers that do not come, or say something else than what happened."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.liverig import AMENDING, CANCELLING, PLACING, SILENT_CHANNELS, LiveCase, LiveOptions
from tests.faults.livetrader import STAYS, Plan
from traders.core.settling import FIRST_LOOK_US, SPACING_US

pytestmark = pytest.mark.long

HTML = {"status": 502, "text": "<html><body>Bad Gateway</body></html>", "content_type": "text/html"}
LOST: dict[str, dict[str, Any]] = {
    "closed": {"do": "apply_then_drop"},
    "408": {"do": "apply_then_answer", "status": 408},
    "500": {"do": "apply_then_answer", "status": 500},
    "502 with a page": {"do": "apply_then_answer", **HTML},
    "503": {"do": "apply_then_answer", "status": 503},
    "504": {"do": "apply_then_answer", "status": 504},
    "cut": {"do": "cut", "bytes": 20},
    "timed out": {"do": "apply_then_delay", "delay_ms": 11_000},
}
NOT_DONE: dict[str, dict[str, Any]] = {
    "closed": {"do": "drop"},
    "503": {"do": "answer", "status": 503},
}
CANCELS_LOST = ("closed", "408", "502 with a page", "cut")
RENEWING = 1  # place of the trader whose orders are renewed often


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(), Plan(market=1, strategies=STAYS, lifetime_s=4)))


def until_lost(live: LiveCase, fault: dict[str, Any], **where: Any) -> list[str]:
    """Let a fault strike the next creates; return the ids of those whose outcome is unknown then."""
    live.pause()
    (fault_id,) = live.arm({**where, **fault})
    live.resume()
    live.until_struck(fault_id)
    live.until(live.unknown_creates, "the outcome of a create is unknown")
    return live.unknown_creates()


# ---- C1 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_C1_a_create_whose_answer_is_lost_is_found_and_never_sent_again(live: LiveCase, fault: dict[str, Any]) -> None:
    for name in until_lost(live, fault, **PLACING):
        live.until(lambda name=name: live.told(name) is not None, "it is known what became of it")
        assert len(live.rig.fetch().of_client_id(name)) == 1
        assert live.creates().count(name) == 1
    live.judge()


def test_C1_without_the_private_channel_a_lost_create_is_found_by_reading(live: LiveCase) -> None:
    live.arm(*SILENT_CHANNELS)
    for name in until_lost(live, LOST["closed"], **PLACING):
        live.until(lambda name=name: live.told(name) is not None, "it is found")
        assert live.creates().count(name) == 1
    live.until_struck("silent-user_order")
    live.judge()


# ---- C2, C3 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", NOT_DONE.values(), ids=NOT_DONE)
def test_C2_a_create_that_never_arrived_is_given_up_after_two_spaced_looks(
    live: LiveCase, fault: dict[str, Any]
) -> None:
    names = until_lost(live, fault, **PLACING)
    for name in names:
        live.until(lambda name=name: live.told(name) is not None, "it is settled")
        assert live.told(name).status == "refused"
        assert live.told_at_us(name) - live.sent_us(name) >= FIRST_LOOK_US + SPACING_US
        assert live.rig.fetch().of_client_id(name) == []
    live.until_quotes("new wishes take their place, with ids of their own")
    live.judge()


def test_C3_a_conflict_on_a_first_send_is_proof_that_the_order_exists(live: LiveCase) -> None:
    live.pause()
    exists = '{"error":{"code":"order_already_exists","message":"order already exists"}}'
    (fault,) = live.arm({"do": "apply_then_answer", **PLACING, "status": 409, "text": exists})
    live.resume()
    live.until_struck(fault)
    live.until(lambda: "exists" in live.outcomes() or "unknown" in live.outcomes(), "the answer is taken in")
    live.until_quotes("what was placed is known to rest")
    live.judge()


# ---- C12, C13 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("does", "is_silent"), [("apply_then_drop", False), ("drop", True)], ids=["made", "not-made"])
def test_C12_a_change_whose_answer_is_lost_counts_both_ways_until_one_is_proven(
    live_on: Any, does: str, *, is_silent: bool
) -> None:
    live: LiveCase = live_on(RENEWING)
    if is_silent:
        live.arm(*SILENT_CHANNELS)
    (fault,) = live.arm({"do": does, **AMENDING})
    live.until_struck(fault)
    live.until(lambda: live.unknown("renew"), "the outcome of a renewal is unknown")
    number = live.unknown("renew")[-1].number
    live.until(lambda: live.intents("renew")[-1].body.number > number, "renewals go on")
    live.judge()


@pytest.mark.parametrize("fault", [LOST[name] for name in CANCELS_LOST], ids=CANCELS_LOST)
def test_C13_a_cancel_whose_answer_is_lost_is_over_once_the_end_is_seen(live: LiveCase, fault: dict[str, Any]) -> None:
    until_cancel_is_lost(live, fault)
    live.judge()


def test_C13_without_the_private_channel_the_end_of_a_lost_cancel_is_found_by_reading(live: LiveCase) -> None:
    live.arm(*SILENT_CHANNELS)
    until_cancel_is_lost(live, LOST["closed"])
    live.until_struck("silent-user_order")
    live.judge()


def until_cancel_is_lost(live: LiveCase, fault: dict[str, Any]) -> None:
    """Let a fault strike the cancels of all that rests, and wait until the ends are known."""
    (fault_id,) = live.arm({**CANCELLING, **fault})
    names = {order.client_order_id for order in live.resting()}
    live.command("pause")
    live.until_struck(fault_id)
    live.until(lambda: all(live.told(name).status != "resting" for name in names), "the ends are known")


def test_C13_a_cancel_that_never_arrived_is_repeated(live: LiveCase) -> None:
    (fault,) = live.arm({"do": "drop", **CANCELLING})
    live.pause()
    live.until_struck(fault)
    live.judge()
