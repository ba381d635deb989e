"""A live trader that is told other parameters: at the exchange its orders stay where they are in the queue."""

from __future__ import annotations

import msgspec
import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import NO_GUARDS, STAYS, WIDE, Plan
from traders.core.params import TraderParams, encode_params
from traders.core.pipeline import Choice, StrategyChoices

pytestmark = pytest.mark.long

TRIES = 5
SMALLER_CX = 600


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=STAYS),))


def places(live: LiveCase) -> dict[str, int]:
    """Return what matches before each order of the trader's that rests, by the exchange's word."""
    found = {order.order_id: live.rig.owner.ahead_cx(order.order_id) for order in live.resting()}
    return {order_id: ahead_cx for order_id, ahead_cx in found.items() if ahead_cx is not None}


def go_over(live: LiveCase, choices: StrategyChoices) -> tuple[dict[str, int], dict[str, int]]:
    """Tell the trader what to go by, and return places of orders before and after; both sides rest all the while.

    The scenario's own takers may take an order away meanwhile; then it is tried again, with what amounts to the same.
    """
    for lead_s in range(1, TRIES + 1):
        live.until_quotes()
        before = places(live)
        chosen = msgspec.structs.replace(choices, guards=NO_GUARDS | {"lag_s": lead_s})
        params = TraderParams(chosen, WIDE)
        live.did(f"other parameters, {params.digest}")
        live.command("params", encode_params(params))
        live.let_it_look()
        view = live.trader.view()
        assert view is not None
        assert view.params_digest == params.digest
        after = places(live)
        if len(before) == 2 and before.keys() <= after.keys():
            return before, after
    raise AssertionError(f"in {TRIES} tries an order was taken away each time: {live.state()}")


def test_I1_I2_other_parameters_leave_orders_and_their_places_in_the_queue(live: LiveCase) -> None:
    buffered = msgspec.structs.replace(STAYS, buffering=Choice("min_ahead", {"ahead_cx": 0}))
    before, after = go_over(live, buffered)
    assert all(after[order_id] <= ahead_cx for order_id, ahead_cx in before.items()), (before, after)
    smaller = msgspec.structs.replace(
        buffered, placement=Choice("join_best", {"bid_cx": SMALLER_CX, "ask_cx": SMALLER_CX})
    )
    before, after = go_over(live, smaller)
    assert all(after[order_id] <= ahead_cx for order_id, ahead_cx in before.items()), (before, after)
    sizes = {order.order_id: order.remaining_cx for order in live.resting()}
    assert all(sizes.get(order_id, 0) <= SMALLER_CX * 11 // 10 for order_id in after), "they are made smaller in place"
    assert live.intents("cancel") == [], "nothing was taken off to be placed anew"
    live.judge()


def test_I2_what_cannot_be_gone_over_to_is_refused_and_changes_nothing(live: LiveCase) -> None:
    before = live.trader.view()
    assert before is not None
    larger = TraderParams(STAYS, WIDE | {"order_cx_most": 5_000})
    for body, words in ((b"\xc1", "cannot be used"), (encode_params(larger), "order group")):
        command_id = live.trader.tell("params", body)
        live.until(lambda one=command_id: one in live.trader.record.read().commands, "the trader answers")
        answer = live.trader.record.commands[command_id].body
        assert (answer.is_done, words in answer.reason) == (False, True), answer
        live.did(f"parameters that it refuses: {answer.reason}")
    live.let_it_look()
    view = live.trader.view()
    assert view is not None
    assert view.params_digest == before.params_digest
    assert live.intents("cancel") == []
    live.judge()
