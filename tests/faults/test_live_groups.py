"""Rows F11 and F12: the order group triggers, and everything of the account is canceled at once."""

from __future__ import annotations

import pytest

from tests.faults.ledger import CREATE
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, SWEEP_S, Plan

pytestmark = pytest.mark.long

GROUP_LIMIT_CX = 800


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES, group_limit_cx=GROUP_LIMIT_CX),))


def test_F11_fills_beyond_the_groups_limit_end_quoting_until_a_new_lease(live: LiveCase) -> None:
    group_id = live.trader.group_id
    while not any(one.event == "triggered" and one.group_id == group_id for one in live.rig.fetch().groups):
        live.hit_some(count_cx=1_000)
    live.until(lambda: not live.resting(), "the exchange has canceled what rested")
    live.until(lambda: "LIVE_FENCED" in live.alerts(), "an alert")
    live.until_agreed("the ends are known")
    asked = len(live.creates())
    live.let_it_look()
    assert len(live.creates()) == asked, "nothing new goes into a triggered group"
    live.restart()
    assert live.trader.group_id != group_id
    live.judge()


def test_F12_after_a_cancel_all_new_orders_are_held_back_and_a_late_sweep_is_noticed(live: LiveCase) -> None:
    for _ in range(2):  # whoever placed since the first one is swept, too
        swept, sent = live.resting(), len(live.requests("POST"))
        assert live.rig.owner.ask("DELETE", CREATE).status == 204
        live.did("cancel-all by the account's owner")
        live.until(
            lambda swept=swept: all(live.told(one.client_order_id).status == "canceled" for one in swept),
            "the ends are known",
        )
        live.until_quotes("it quotes anew")
        (swept_us,) = [request.at_us for request in live.requests("DELETE") if request.path.endswith(CREATE)][-1:]
        assert live.requests("POST")[sent].at_us - swept_us >= SWEEP_S * 1_000_000
    live.judge()
