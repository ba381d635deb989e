"""Row C18: orders that a person places on the account of a trader, in the market of that trader."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.base import OWNER
from tests.faults.invariants import Most
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import WIDE, Plan

pytestmark = pytest.mark.long

NARROW, WAITING = 1, 2  # places of traders
LOW_CC = 500
ROOM_CX = 3_000


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    narrow = WIDE | {"position_cx_most": ROOM_CX}
    plans = (
        Plan(),
        Plan(market=1, limits=narrow),
        Plan(market=2, limits=WIDE | {"waits_for_outsiders": True}),
    )
    return LiveOptions(quick_leases=True, traders=plans)


def a_persons_order(live: LiveCase, *, count_cx: int = 500, side: str = "bid") -> str:
    """Place an order of the account by a person's hand, far from the touch, and wait until it is listed as such."""
    yes_cc = LOW_CC if side == "bid" else 10_000 - LOW_CC
    placed = live.rig.person(side, yes_cc, count_cx, live.trader.ticker, account=OWNER)
    order_id: str = placed["order_id"]
    live.until(lambda: order_id in live.stored().external, "it is listed as external")
    return order_id


def cancel(live: LiveCase, order_id: str) -> None:
    live.rig.control("DELETE", f"/orders/{order_id}?account={OWNER}")


def untouched(live: LiveCase, order_id: str) -> bool:
    requests = [*live.requests("POST"), *live.requests("DELETE")]
    return all(order_id != one for request in requests for _, one in request.changes)


def test_C18_a_persons_order_is_listed_and_left_alone_through_its_life(live: LiveCase) -> None:
    order_id = a_persons_order(live)
    live.pause()
    live.resume()
    body = {"ticker": live.trader.ticker, "side": "bid", "price": "0.0600", "count": "7.00"}
    live.rig.control("POST", f"/orders/{order_id}/amend?account={OWNER}", body)
    live.until(lambda: live.stored().orders[order_id].remaining_cx == 700, "the change is known")
    live.until_quotes("the trader quotes beside it")
    assert untouched(live, order_id)
    cancel(live, order_id)
    live.until(lambda: live.stored().orders[order_id].remaining_cx == 0, "its end is known")
    live.judge(faults=3)


def test_C18_a_persons_fill_is_the_accounts_and_not_the_traders(live: LiveCase) -> None:
    before_cx = live.position_cx()
    live.pause()
    best = max(price for price, _ in live.levels(1))  # what a YES bid meets is a NO bid
    live.rig.person("bid", 10_000 - best, 500, live.trader.ticker, account=OWNER, time_in_force="immediate_or_cancel")
    live.until(live.outside_fills, "the person has traded")
    live.resume()
    live.until_quotes("the trader quotes all the same")
    assert live.position_cx() == before_cx + sum(
        fill.count_cx if fill.side == 0 else -fill.count_cx for fill in live.fills()
    )
    live.judge()


def test_C18_a_persons_order_counts_in_the_limits(live_on: Any) -> None:
    live: LiveCase = live_on(NARROW)
    live.pause()
    order_id = a_persons_order(live, count_cx=ROOM_CX - 500)
    live.resume()
    live.until(live.resting, "the trader quotes with the room that is left")
    live.let_it_look()
    assert untouched(live, order_id)
    party = live.trader.party()
    party.most = Most(ROOM_CX, party.most.exposure_ud)
    own_cx = sum(order.remaining_cx for order in live.resting() if order.side == 0)
    assert live.true_position_cx() + own_cx + ROOM_CX - 500 <= ROOM_CX
    cancel(live, order_id)
    live.judge()


def test_C18_a_trader_may_be_set_to_wait_while_a_persons_orders_rest(live_on: Any) -> None:
    live: LiveCase = live_on(WAITING)
    live.pause()
    order_id = a_persons_order(live)
    live.resume()
    asked = len(live.creates())
    live.let_it_look()
    assert len(live.creates()) == asked, "it waits"
    cancel(live, order_id)
    live.until_quotes("it goes on")
    live.judge()
