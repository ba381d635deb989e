"""Rows A4 and A5: a trader of the fleet stands still for a while, frozen or in a loop of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.fleetrig import FleetCase
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import NO_GUARDS, STAYS, Plan
from tests.faults.runaway import switch_on
from traders.core.pipeline import Choice, StrategyChoices

pytestmark = pytest.mark.long

SHORT, LONG, FOREVER, SPINNING = range(4)  # places of the module's traders
SHORT_S, LONG_S = 3.0, 15.0
SPINS = StrategyChoices(Choice("spinning"), guards=NO_GUARDS, tolerances={"price_steps": 100})


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    plans = [Plan(market=market, strategies=STAYS) for market in (SHORT, LONG, FOREVER)]
    return LiveOptions(traders=(*plans, Plan(market=SPINNING, strategies=SPINS)))


def is_pulled(fleet: FleetCase, group_id: str) -> bool:
    """Whether nothing of a lease rests, and nothing of it ever will."""
    ledger = fleet.rig.fetch()
    is_triggered = (group_id, "triggered") in {(one.group_id, one.event) for one in ledger.groups}
    return is_triggered and not [order for order in ledger.resting() if order.group_id == group_id]


def until_anew(fleet: FleetCase, epoch: int) -> None:
    """Wait until the trader quotes under a lease after this one; nobody had to restart it after a crash."""
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun", within_s=60)
    fleet.until_quotes("it quotes again")


def created_after(fleet: FleetCase, at_us: int) -> list[str]:
    party = fleet.trader.party()
    requests = [one for one in fleet.requests("POST") if one.at_us > at_us]
    return [name for one in requests for name in one.creates if party.owns(name)]


def test_A4_a_trader_that_was_frozen_for_a_moment_goes_by_nothing_from_before(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(SHORT)
    identity, epoch = fleet.trader.process.identity, fleet.trader.epoch
    before = {order.order_id for order in fleet.resting()}
    fleet.trader.process.freeze()
    fleet.wait(SHORT_S)
    fleet.trader.process.thaw()
    fleet.until(lambda: all(fleet.rig.fetch().orders[one][-1].is_over for one in before), "it pulls what it had quoted")
    fleet.until_quotes("it quotes again")
    assert (fleet.trader.process.identity, fleet.trader.look().epoch) == (identity, epoch), "as the same owner"
    fleet.judge()


def test_A4_the_orders_of_a_frozen_trader_are_pulled_and_it_never_trades_beside_its_successor(
    fleet_on: Callable[..., FleetCase],
) -> None:
    """One wakes up in time to end by itself, the other never does."""
    wakes, never = fleet_on(LONG), fleet_on(FOREVER)
    frozen = [(case, case.trader.process.identity, case.trader.epoch, case.trader.group_id) for case in (wakes, never)]
    for case, *_ in frozen:
        case.trader.process.freeze()
    for case, identity, epoch, group_id in frozen:
        case.until(lambda case=case, group_id=group_id: is_pulled(case, group_id), "its orders are pulled for it")
        assert case.trader.process.identity == identity, "nobody was started beside it"
        assert case.trader.look().epoch == epoch
        case.until_row(state="silent")
    pulled_us = wakes.rig.fetch().requests[-1].at_us
    wakes.wait(LONG_S - SHORT_S)
    assert [created_after(case, pulled_us) for case, *_ in frozen] == [[], []]
    restarts = wakes.trader.row()["restarts"]
    wakes.trader.process.thaw()
    until_anew(wakes, frozen[0][2])
    assert wakes.trader.row()["restarts"] == restarts, "it has not crashed"
    never.until(lambda: never.trader.process.identity != frozen[1][1], "who never wakes is ended", within_s=60)
    until_anew(never, frozen[1][2])
    wakes.judge(faults=2)
    never.judge(faults=2)


def test_A5_a_trader_whose_loop_is_blocked_is_pulled_although_it_is_busy(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(SPINNING)
    identity, epoch, group_id = fleet.trader.process.identity, fleet.trader.epoch, fleet.trader.group_id
    assert identity is not None
    switch = switch_on(fleet.rig.packages, "spinning")
    try:
        fleet.did("a strategy that spins")
        fleet.until(lambda: is_pulled(fleet, group_id), "its orders are pulled for it")
        assert fleet.trader.beat() is None, "nothing beats for a loop that does not turn"
        assert (fleet.trader.process.identity, fleet.trader.look().epoch) == (identity, epoch), "nobody is beside it"
    finally:
        switch.unlink()
    until_anew(fleet, epoch)
    fleet.judge()
