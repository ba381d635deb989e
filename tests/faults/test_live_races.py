"""Rows about what happens at once: fills while a cancel or an amend is on its way, and events in another order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.ledger import OrderAt
from tests.faults.liverig import AMENDING, CANCELLING, PLACING, LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, STAYS, Plan

pytestmark = pytest.mark.long

SLOW_MS = 1_500
RENEWING, CROSSING = 1, 2  # places of traders
WHOLE_CX, PART_CX = 1_000, 300
TRIES = 5


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    plans = (
        Plan(strategies=IMPROVES),
        Plan(market=1, strategies=STAYS, lifetime_s=4),
        Plan(market=2),
    )
    return LiveOptions(quick_leases=True, traders=plans, exchange=("--switch", "post_only_cross=cancel"))


def is_sent(live: LiveCase, verb: str, order: OrderAt) -> bool:
    record = live.trader.record
    return any(
        one.body.number in record.sent
        for one in live.intents(verb)
        if one.body.client_order_id == order.client_order_id
    )


def hit_while_leaving(live: LiveCase, count_cx: int, *faults: dict[str, Any]) -> OrderAt:
    """Let an order fill while its cancel is on its way; return it as it is in the end.

    The scenario's own takers may come first and leave it filled otherwise than the row wants it. Then it is let go, and
    the next order's turn comes.
    """
    wanted = range(WHOLE_CX, WHOLE_CX + 1) if count_cx == WHOLE_CX else range(1, WHOLE_CX)
    for _ in range(TRIES):
        order = _hit_once(live, count_cx, *faults)
        if order.filled_cx in wanted:
            return order
        live.rig.control("DELETE", "/faults")
        live.until(lambda: not live.resting(), "nothing rests of a paused trader")
        live.resume()
        live.until_quotes("it quotes again")
    raise AssertionError(f"{TRIES} orders in turn were filled otherwise than the row wants it")


def _hit_once(live: LiveCase, count_cx: int, *faults: dict[str, Any]) -> OrderAt:
    before = len(live.intents("cancel"))
    live.arm({"do": "delay", "delay_ms": SLOW_MS, **CANCELLING, "times": 2}, *faults)
    live.trader.tell("pause")
    live.until(lambda: len(live.intents("cancel")) > before, "cancels are wished")
    name = live.intents("cancel")[before].body.client_order_id
    (order,) = live.rig.fetch().of_client_id(name)
    live.until(lambda: is_sent(live, "cancel", order), "its cancel has left")
    live.hit(order, count_cx)
    live.until(lambda: live.rig.fetch().of_client_id(name)[0].is_over, "it is over")
    return live.rig.ledger.of_client_id(name)[0]


# ---- C9, C10 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_late", [False, True], ids=["told-at-once", "told-late"])
def test_C9_a_partial_fill_during_a_cancel_is_booked_and_the_rest_released(live: LiveCase, *, is_late: bool) -> None:
    # Late: the cancel's answer comes before anybody tells of the fill.
    late = ({"do": "hold", "type": "fill", "delay_ms": 2 * SLOW_MS}, {"do": "lose", "type": "user_order"})
    order = hit_while_leaving(live, PART_CX, *(late if is_late else ()))
    live.until(lambda: live.told(order.client_order_id).status == "canceled", "it is told as canceled")
    told = live.told(order.client_order_id)
    assert (told.filled_cx, told.remaining_cx) == (order.filled_cx, 0)
    live.judge()


def test_C10_a_full_fill_during_a_cancel_is_a_filled_order_and_no_error(live: LiveCase) -> None:
    order = hit_while_leaving(live, WHOLE_CX)
    live.until(lambda: live.told(order.client_order_id).status == "filled", "it is told as filled")
    cancels = [one for one in live.intents("cancel") if one.body.client_order_id == order.client_order_id]
    assert len(cancels) <= 2, "not cancelled for ever"
    live.judge()


# ---- C11 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("does", ["delay", "apply_then_delay"], ids=["fill-first", "answer-late"])
def test_C11_a_fill_while_an_amend_is_on_its_way_never_makes_it_larger(live_on: Any, does: str) -> None:
    live: LiveCase = live_on(RENEWING)
    live.arm({"do": does, "delay_ms": SLOW_MS, **AMENDING, "times": 2})
    live.until(lambda: live.intents("renew"), "a renewal is wished")
    name = live.intents("renew")[0].body.client_order_id
    (order,) = live.rig.fetch().of_client_id(name)
    live.until(lambda: is_sent(live, "renew", order), "it has left")
    fills = live.hit(order, PART_CX)
    assert fills, "the row's own premise"
    live.until_applied(2)
    (after,) = live.rig.fetch().of_client_id(name)
    assert after.filled_cx + after.remaining_cx <= WHOLE_CX
    live.judge()


# ---- B15 -------------------------------------------------------------------------------------------------------------


def test_B15_a_fill_before_the_create_is_answered_is_booked_once(live: LiveCase) -> None:
    live.pause()
    live.arm(
        {"do": "apply_then_delay", "id": "late", "delay_ms": SLOW_MS, **PLACING},
        {"do": "hold", "id": "held", "type": "user_order", "delay_ms": SLOW_MS // 2, "times": 4},
        {"do": "repeat", "id": "twice", "type": "fill"},
    )
    live.resume()
    live.hit_some(count_cx=PART_CX)
    live.until_struck("late", "held", "twice")
    live.until(lambda: live.position_cx() == live.true_position_cx(), "it is booked")
    live.rig.hurry_desk()  # which tells of every fill of the day once more
    live.until(lambda: live.rig.desk_state() == "live", "the desk has read them again")
    live.judge(faults=3)


def test_B15_a_cancel_notice_before_the_last_fill_waits_for_it(live: LiveCase) -> None:
    live.arm({"do": "hold", "type": "fill", "delay_ms": SLOW_MS, "times": None, "id": "held"})
    order = live.hit_some(count_cx=PART_CX)
    live.command("pause")
    live.until_struck("held")
    live.until(lambda: live.told(order.client_order_id).status == "canceled", "its end is told")
    told = live.told(order.client_order_id)
    assert told.filled_cx == live.rig.fetch().of_client_id(order.client_order_id)[0].filled_cx > 0
    live.judge()


# ---- C16 -------------------------------------------------------------------------------------------------------------


def test_C16_an_order_accepted_and_canceled_on_arrival_is_not_taken_for_resting(live_on: Any) -> None:
    """The exchange of this module takes a post-only order that would trade, and cancels it at once."""
    live: LiveCase = live_on(CROSSING)
    live.pause()
    (fault,) = live.arm({"do": "delay", "delay_ms": SLOW_MS, **PLACING})
    live.resume()
    live.until(lambda: live.intents("place"), "creates are wished")
    bid = next(one for one in live.intents("place") if one.body.side == 0).body
    live.rig.person("ask", bid.price_cc, 500_000, live.trader.ticker)
    live.until_struck(fault)
    live.until(lambda: live.told(bid.client_order_id) is not None, "it is told")
    (order,) = live.rig.fetch().of_client_id(bid.client_order_id)
    assert (order.status, order.reason, order.filled_cx) == ("canceled", "PostOnlyCrossCancel", 0)
    assert live.told(bid.client_order_id).status == "canceled"
    live.judge()
