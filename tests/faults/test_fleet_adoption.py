"""Row A7 at full size: twenty traders keep process, orders and queue places through restarts of what stands above them.

What they have earned is then the exchange's own figure, to the micro-dollar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import psycopg
import pytest

from markets.core.units import Side
from tests.faults.fleetrig import FleetCase, FleetRig
from tests.faults.ledger import CANCELED, OrderAt
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import STAYS, Plan
from traders.core.inventory import Inventory

pytestmark = pytest.mark.long

TRADERS = 20
RESTARTS = 5
HIT_CX = 100
STORED = "SELECT ticker, side, price_cc, count_cx, fee_ud FROM traders_fill WHERE account = %s ORDER BY time, id"


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    plans = (Plan(market=market, strategies=STAYS) for market in range(30, 30 + TRADERS))
    return LiveOptions(scenario="busy", traders=tuple(plans))


def rests(rig: FleetRig) -> dict[str, OrderAt]:
    groups = {trader.group_id for trader in rig.fleet}
    return {order.order_id: order for order in rig.fetch().resting() if order.group_id in groups}


def earned_ud(rig: FleetRig) -> int:
    """Return the cash that the fills of the database come to."""
    held: dict[str, Inventory] = defaultdict(Inventory)
    with psycopg.connect(rig.database_url) as connection:
        for ticker, side, price_cc, count_cx, fee_ud in connection.execute(STORED, (rig.account,)).fetchall():
            assert fee_ud is not None
            held[ticker] = held[ticker].after(Side(side), price_cc, count_cx, fee_ud=fee_ud)
    return sum(inventory.cash_ud for inventory in held.values())


def adoptions(rig: FleetRig, pids: list[int]) -> set[int]:
    """Return how often these processes were found by a supervisor, over all of its lives."""
    said = rig.supervisor.output()
    return {
        said.count(f"found process {pid} of trader {one.number} ") for pid, one in zip(pids, rig.fleet, strict=True)
    }


def test_A7_twenty_traders_keep_pids_orders_and_queue_places_through_five_supervisors_and_a_web(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(0, quotes=False)
    rig = fleet.rig
    cash_ud = rig.cash_ud()
    rig.operator.types("traders", "start", "--live", *(trader.name for trader in rig.fleet))
    fleet.until(lambda: all(trader.state == "quoting" for trader in rig.fleet), "all quote", within_s=120)
    for trader in rig.fleet:
        trader.look()
    fleet.until(lambda: len(rests(rig)) >= 2 * TRADERS, "and their orders rest", within_s=60)
    before, pids = rests(rig), [trader.process.pid for trader in rig.fleet]
    fleet.until(lambda: adoptions(rig, pids) == {1}, "who started them has found each")
    ahead = {one: rig.owner.ahead_cx(one) for one in before}
    rig.web.start()
    line = rig.fetch().last_number
    for turn in range(RESTARTS):
        rig.supervisor.kill()
        victim = next(order for order in rests(rig).values() if order.ticker == rig.fleet[turn].ticker)
        fleet.hit(victim, HIT_CX)
        rig.supervisor.start()
        if turn == RESTARTS // 2:
            rig.web.kill()
            rig.web.start()
        fleet.until(rig.supervisor_beats, "the next supervisor is at work", within_s=60)
        fleet.until(lambda lives=turn + 2: adoptions(rig, pids) == {lives}, "it adopts each, once")
    assert [trader.process.pid for trader in rig.fleet] == pids
    ledger = rig.fetch()
    ended = [ledger.orders[one][-1] for one in before if ledger.orders[one][-1].is_over]
    assert [order for order in ended if order.status == CANCELED] == [], "only trades have ended what rested"
    kept = [one for one in before if not ledger.orders[one][-1].is_over]
    assert len(kept) >= TRADERS
    places = {one: (ahead[one], rig.owner.ahead_cx(one)) for one in kept}
    assert all(now is None or now <= (then or 0) for then, now in places.values()), "nobody has come to stand before"
    assert not [one for one in ledger.groups if one.number > line]
    fleet.judge(faults=RESTARTS, stirs=False)
    fleet.until(lambda: earned_ud(rig) == rig.cash_ud() - cash_ud, f"{earned_ud(rig)} is {rig.cash_ud() - cash_ud}")
    assert earned_ud(rig) != 0
