"""Row F10: sign, price and cash of every kind of fill, by real orders: on both sides, opening and closing.

A bid buys Yes, which sells No; an ask sells Yes, which buys No: each order here is two cells of the table.
"""

from __future__ import annotations

import pytest

from markets.core.units import Side
from tests.faults.invariants import closing_cx
from tests.faults.ledger import DOLLAR_CC, FillAt, money_ud, signed_cx
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from traders.core.inventory import Inventory

pytestmark = pytest.mark.long

BID, ASK = 0, 1
LOT_CX = 300
CELLS = {
    "buy yes or sell no, to open": (BID, 0),
    "sell yes or buy no, to close": (ASK, LOT_CX),
    "sell yes or buy no, to open": (ASK, 0),
    "buy yes or sell no, to close": (BID, -LOT_CX),
}


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def hold(live: LiveCase, wanted_cx: int) -> None:
    """Bring the trader's position to where it shall be, with fills of its own quotes."""
    while missing_cx := wanted_cx - live.true_position_cx():
        live.hit(live.an_order(BID if missing_cx > 0 else ASK), abs(missing_cx))
    live.until(lambda: live.position_cx() == live.true_position_cx(), "it knows")


def booked(live: LiveCase) -> Inventory:
    """Return what the trader's own fills come to, as it wrote them down."""
    held = Inventory()
    for line in live.trader.record.read().fills:
        body = line.body
        held = held.after(Side(body.side), body.price_cc, body.count_cx, fee_ud=body.fee_ud)
    return held


def cash_effect_ud(fills: list[FillAt], position_cx: int) -> int:
    """Return what fills do to cash: opening pays the price, closing returns the rest of the dollar, fees go off."""
    total_ud = 0
    for fill in fills:
        closed_cx = closing_cx(position_cx, fill.side, fill.count_cx)
        total_ud += closed_cx * DOLLAR_CC - fill.count_cx * fill.price_cc - fill.fee_ud
        position_cx += signed_cx(fill)
    return total_ud


@pytest.mark.parametrize(("side", "before_cx"), CELLS.values(), ids=CELLS)
def test_F10_position_price_and_cash_are_right_in_every_cell(live: LiveCase, side: int, before_cx: int) -> None:
    hold(live, before_cx)
    before, known = booked(live), len(live.fills())
    live.hit_some(side, LOT_CX)
    live.pause()
    fills = live.fills()[known:]
    live.until(lambda: live.position_cx() == live.true_position_cx(), "it is booked")
    after = booked(live)
    assert after.position_cx - before.position_cx == sum(map(signed_cx, fills))
    assert after.cash_ud - before.cash_ud == cash_effect_ud(fills, before.position_cx), "to the micro-dollar"
    cash_book = live.rig.holdings()["cash_book"]
    at_exchange_ud = sum(money_ud(one["amount_dollars"]) for one in cash_book if one["kind"] in ("fill", "fee"))
    assert after.cash_ud == at_exchange_ud
    live.judge()
