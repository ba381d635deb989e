"""Rows A2, A3 and A4's fence: a trader ends, or stands still, at a named point between a wish and its answer."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from kalshimm.runtime.crash import VARIABLE
from tests.faults.fleetrig import FleetCase, FleetRig
from tests.faults.ledger import CREATE, OrderAt
from tests.faults.liverig import PLACING, LiveOptions
from tests.faults.livetrader import STAYS, Plan

pytestmark = pytest.mark.long

BEFORE_SENDING = ("trader.after_intent", "trader.after_sync", "trader.before_send")
MARKETS = 6  # one for each row: a trader's crashes within a minute add up
ANSWER_MS = 2_000
HIT_CX = 300


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=tuple(Plan(market=market, strategies=STAYS) for market in range(MARKETS)))


@pytest.fixture(autouse=True)
def traders_live_on(fleet_rig: FleetRig) -> Iterator[None]:
    yield
    if VARIABLE in fleet_rig.spawner.settings:
        fork_with(fleet_rig)


def fork_with(rig: FleetRig, switch: str = "") -> None:
    """Have the spawner fork traders with this switch of kalshimm.runtime.crash, or with none."""
    rig.spawner.stop()
    plain = {name: value for name, value in rig.spawner.settings.items() if name != VARIABLE}
    rig.spawner.settings = plain | ({VARIABLE: switch} if switch else {})
    rig.spawner.start()


def start_paused(fleet: FleetCase, switch: str = "") -> None:
    """Have the operator start the trader and pause it before it has its lease; it lives and wishes nothing."""
    if switch:
        fork_with(fleet.rig, switch)
    fleet.trader.start()
    fleet.rig.operator.types("traders", "pause", fleet.trader.name)
    fleet.until(lambda: fleet.trader.state == "paused", "it lives, and is paused", within_s=60)
    fleet.trader.look()


def has_ended(fleet: FleetCase) -> bool:
    return not fleet.trader.worker.is_running


def dies(fleet: FleetCase, switch: str) -> list[str]:
    """Let the trader die on its first orders while the supervisor looks away; return what it had wished."""
    start_paused(fleet, switch)
    fleet.rig.supervisor.freeze()
    fleet.trader.tell("resume")
    fleet.until(lambda: has_ended(fleet), f"it dies at {switch}")
    fleet.log.note("process", f"crash point {switch}")
    wished = [one.body.client_order_id for one in fleet.intents("place")]
    assert wished, "it had written down what it wished"
    return wished


def comes_back(fleet: FleetCase) -> None:
    """Let the supervisor see the death, and wait until the trader quotes under another lease."""
    fork_with(fleet.rig)
    epoch = fleet.trader.epoch
    fleet.rig.operator.types("traders", "resume", fleet.trader.name)
    fleet.rig.supervisor.thaw()
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun", within_s=60)
    fleet.until_quotes("it quotes again")


def asked(fleet: FleetCase) -> list[str]:
    """Return the client order ids of the trader's that ever reached the exchange, as often as they did."""
    party = fleet.trader.party()
    return [one for request in fleet.rig.fetch().requests for one in request.creates if party.owns(one)]


@pytest.mark.parametrize("place_of_row", range(len(BEFORE_SENDING)), ids=BEFORE_SENDING)
def test_A2_what_was_wished_and_never_left_is_settled_and_never_sent(
    fleet_on: Callable[..., FleetCase], place_of_row: int
) -> None:
    fleet = fleet_on(place_of_row, quotes=False)
    wished = dies(fleet, BEFORE_SENDING[place_of_row])
    assert asked(fleet) == []
    comes_back(fleet)
    assert not set(wished) & set(asked(fleet))
    assert all(fleet.told(one).status == "refused" for one in wished), "each is known to have come to nothing"
    fleet.judge()


def filled_in_its_absence(fleet: FleetCase, wished: list[str]) -> OrderAt:
    """Have an outsider trade with an order that the dead trader left, and return that."""
    order = next(one for one in fleet.resting() if one.side == 0)
    assert order.client_order_id in wished
    assert fleet.hit(order, HIT_CX)
    return order


def is_found_and_booked(fleet: FleetCase, order: OrderAt, wished: list[str]) -> None:
    ledger = fleet.rig.fetch()
    assert all(ledger.orders[one.order_id][-1].is_over for name in wished for one in ledger.of_client_id(name))
    assert (order.group_id, "triggered") in {(one.group_id, one.event) for one in ledger.groups}
    assert all(asked(fleet).count(one) == 1 for one in wished)
    filled = ledger.orders[order.order_id][-1].filled_cx
    assert filled > 0
    assert fleet.told(order.client_order_id).filled_cx == filled


def test_A3_an_answer_that_came_and_was_not_written_down_is_found_again(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(3, quotes=False)
    wished = dies(fleet, "trader.after_answer")
    order = filled_in_its_absence(fleet, wished)
    comes_back(fleet)
    is_found_and_booked(fleet, order, wished)
    fleet.judge()


def test_A3_an_order_whose_answer_was_still_on_its_way_is_found_and_its_fills_are_booked_once(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(4, quotes=False)
    start_paused(fleet)
    fleet.rig.supervisor.freeze()
    fleet.arm({"do": "apply_then_delay", "delay_ms": ANSWER_MS, "id": "late", **PLACING})
    fleet.trader.tell("resume")
    fleet.until(fleet.resting, "its orders rest, and it has not heard of them")
    fleet.trader.worker.kill()
    wished = [one.body.client_order_id for one in fleet.intents("place")]
    assert not fleet.outcomes(), "it was not answered"
    order = filled_in_its_absence(fleet, wished)
    comes_back(fleet)
    is_found_and_booked(fleet, order, wished)
    fleet.judge(faults=2)


def test_A4_an_order_that_a_frozen_owner_sends_after_the_takeover_is_refused_by_its_group(
    fleet_on: Callable[..., FleetCase],
) -> None:
    """It stands still between its last look at everything and the request."""
    fleet = fleet_on(5, quotes=False)
    start_paused(fleet, "trader.before_send:1:STOP")
    identity, group_id = fleet.trader.process.identity, fleet.trader.group_id
    assert identity is not None
    fleet.rig.operator.types("traders", "resume", fleet.trader.name)
    fleet.until(lambda: psutil.Process(identity.pid).status() == psutil.STATUS_STOPPED, "it stands still")
    fleet.log.note("process", f"{signal.SIGSTOP.name} at trader.before_send (pid {identity.pid})")
    wished = [one.body.client_order_id for one in fleet.intents("place")]
    fork_with(fleet.rig)
    fleet.until(lambda: is_triggered(fleet, group_id), "its group is triggered without it")
    assert fleet.trader.process.identity == identity, "and nobody else trades beside it"
    assert asked(fleet) == []
    epoch = fleet.trader.epoch
    fleet.trader.process.thaw()
    fleet.until(lambda: asked(fleet), "what it was about to send reaches the exchange")
    (request,) = [one for one in fleet.requests("POST", CREATE) if set(one.creates) & set(wished)]
    assert not [order for name in wished for order in fleet.rig.fetch().of_client_id(name)], f"no order: {request}"
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun", within_s=60)
    fleet.until_quotes("it quotes again")
    assert all(asked(fleet).count(one) == 1 for one in wished)
    fleet.judge()


def is_triggered(fleet: FleetCase, group_id: str) -> bool:
    return (group_id, "triggered") in {(one.group_id, one.event) for one in fleet.rig.fetch().groups}
