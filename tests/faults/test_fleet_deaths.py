"""Rows A1: a trader of the fleet dies, and the supervisor sees to what it left and starts it anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.fleetrig import FleetCase
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import STAYS, Plan

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=(Plan(strategies=STAYS), Plan(market=1, strategies=STAYS)))


def test_A1_a_trader_that_dies_at_rest_is_pulled_and_starts_anew(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on()
    epoch, rested = fleet.trader.epoch, {order.order_id for order in fleet.resting()}
    assert len(rested) == 2
    fleet.trader.worker.kill()
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun")
    fleet.until_quotes("it quotes again")
    ledger = fleet.rig.fetch()
    ended = max(ledger.orders[one][-1].number for one in rested)
    created = [order.number for order in fleet.orders() if order.order_id not in rested]
    assert all(ledger.orders[one][-1].is_over for one in rested)
    assert ended < min(created), "nothing was placed before the old orders had ended"
    fleet.judge()
