"""Row E4: the network to the exchange is gone for everybody, for longer than orders live that nobody renews."""

from __future__ import annotations

import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import STAYS, Plan

pytestmark = pytest.mark.long

LIFETIME_S = 20  # of orders; production has 120 at least


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, waits_percent=10, traders=(Plan(strategies=STAYS, lifetime_s=LIFETIME_S),))


def test_E4_orders_beyond_reach_count_as_live_until_the_exchange_itself_says_otherwise(live: LiveCase) -> None:
    """First nothing comes back, then nothing goes out; for longer than orders live that nobody renews."""
    lines = (live.rig.ws, live.rig.desk_ws, live.rig.desk_rest, live.trader.rest)
    live.hit_some()
    live.until_quotes()
    rested = {order.client_order_id: order.order_id for order in live.resting()}
    for line in lines:
        line.black_hole()
    live.until(live.unknown, "a request is left without an answer")
    for line in lines:
        line.refuse()
    live.until(lambda: "EXCHANGE_UNREACHABLE" in live.alerts(), "the trader says so")
    live.until(lambda: {"FEED_DOWN", "ACCOUNT_CHANNEL_DOWN"} <= set(live.alerts()), "and so do all others")
    live.until(lambda: not live.resting(), "the exchange takes off what nobody renews", within_s=2 * LIFETIME_S)
    live.let_it_look()
    record = live.trader.record.read()
    last = record.last_number
    assert {name: live.told(name).status for name in rested} == dict.fromkeys(rested, "resting"), "none is lost"
    view = live.trader.view()
    assert view is not None
    assert len(view.quotes) == len(rested), "and each is shown"
    for line in lines:
        line.pass_all()
    live.until_quotes("it quotes again")
    ends = {name: state.number for name in rested if (state := live.trader.record.read().newest(name)) is not None}
    first = min(one.number for one in live.intents("place") if one.number > last and one.body.number in record.sent)
    assert max(ends.values()) < first, "what became of the old ones is known before anything new leaves"
    live.judge(faults=8)
    live.until_written()
