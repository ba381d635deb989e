"""Rows A1, A6 and A18: a trader of the fleet dies, and the supervisor sees to what it left and starts it anew.

Another trader stands beside all of that, untouched.
"""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from kalshimm.runtime.process import ProcessIdentity
from tests.faults.fleetrig import FleetCase
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import NO_GUARDS, STAYS, Plan
from tests.faults.runaway import switch_on
from traders.core.pipeline import Choice, StrategyChoices
from traders.core.restart import RESTARTS_MOST

pytestmark = pytest.mark.long

DIES, STARVES, RAISES, LACKS_FILES, LACKS_MEMORY, BESIDE = range(6)  # places of the module's traders
MUCH = b"0" * 64_000_000  # more than a process without room can take in


def plug_in(name: str, market: int) -> Plan:
    choices = StrategyChoices(Choice(name), guards=NO_GUARDS, tolerances={"price_steps": 100})
    return Plan(market=market, strategies=choices)


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    stays = {market: Plan(market=market, strategies=STAYS) for market in (DIES, LACKS_FILES, LACKS_MEMORY, BESIDE)}
    others = {STARVES: plug_in("dying", STARVES), RAISES: plug_in("raising", RAISES)}
    return LiveOptions(traders=tuple((stays | others)[market] for market in range(BESIDE + 1)))


class Seen(NamedTuple):
    """A trader as it stands: its process, its lease, and what it does."""

    identity: ProcessIdentity | None
    epoch: int
    group_id: str
    state: str
    rests: bool


def seen(fleet: FleetCase) -> Seen:
    trader = fleet.trader.look()
    return Seen(trader.process.identity, trader.epoch, trader.group_id, trader.state, bool(fleet.resting()))


@pytest.fixture
def untouched(fleet_on: Callable[..., FleetCase]) -> Iterator[None]:
    """The trader beside quotes on, in the same process under the same lease."""
    beside = fleet_on(BESIDE)
    beside.did("a row on another trader")
    before = seen(beside)
    assert before[-2:] == ("quoting", True)
    yield
    assert seen(beside) == before
    beside.is_judged = True  # by the row's own verdict, which is on all traders


@pytest.mark.usefixtures("untouched")
def test_A1_a_trader_that_dies_at_rest_is_pulled_and_starts_anew(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(DIES)
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


@pytest.mark.usefixtures("untouched")
def test_A6_a_trader_whose_strategy_ends_it_again_and_again_is_given_up_until_a_person_starts_it(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(STARVES)
    epoch, supervisor = fleet.trader.epoch, fleet.rig.supervisor.pid
    switch = switch_on(fleet.rig.packages, "dying")
    try:
        fleet.did("a strategy that ends its process")
        row = fleet.until_row(state="failed", within_s=90)
        assert "SystemExit: the strategy has had enough" in row["state_reason"]
        assert fleet.trader.look().epoch == epoch + RESTARTS_MOST, "no more restarts than are allowed"
        fleet.until(lambda: not fleet.resting(), "nothing of it rests")
        fleet.until(lambda: fleet.trader.row()["state"] == "failed", "it stays so")
        assert not fleet.trader.process.is_running
        assert fleet.rig.supervisor.pid == supervisor
        assert fleet.rig.supervisor.is_running
        assert f"trader {fleet.trader.name} failed" in fleet.output(fleet.rig.supervisor)
        fleet.until(lambda: "TRADER_FAILED" in fleet.alerts(), "those who can be told are told")
    finally:
        switch.unlink()
    fleet.trader.start()
    fleet.until_quotes("a person has started it again")
    fleet.judge()


@pytest.mark.usefixtures("untouched")
def test_A6_a_strategy_that_fails_at_each_look_costs_its_trader_its_quotes_and_nobody_anything_else(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(RAISES)
    identity = fleet.trader.process.identity
    switch = switch_on(fleet.rig.packages, "raising")
    try:
        fleet.did("a strategy that raises")
        fleet.until(lambda: not fleet.resting(), "its orders are canceled")
        fleet.until(lambda: "the strategy knows no price" in fleet.why(), "and it says why")
        assert "STRATEGY_FAILED" in fleet.alerts()
        assert fleet.trader.process.identity == identity, "it has not ended"
    finally:
        switch.unlink()
    fleet.until_quotes("it quotes once its strategy works again")
    assert fleet.trader.process.identity == identity
    fleet.judge()


def limited(fleet: FleetCase, what: int, most: int) -> None:
    """Take from the trader's process what it may have more of."""
    pid = fleet.trader.process.pid
    _, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))


def lowest_free(pid: int) -> int:
    """Return the number that the next file handle of a process would get."""
    held = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in held)


def ends_and_comes_back(fleet: FleetCase, epoch: int, words: str) -> None:
    """Wait until the trader has ended by itself, said why, and quotes anew after a takeover."""
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun", within_s=60)
    fleet.until_quotes("it quotes again")
    said = fleet.output(fleet.rig.supervisor)
    assert f"trader {fleet.trader.name} crashed: {words}" in said, said[-3_000:]


@pytest.mark.usefixtures("untouched")
def test_A18_a_trader_without_file_handles_ends_with_the_reason_and_starts_anew(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(LACKS_FILES)
    epoch = fleet.trader.epoch
    limited(fleet, resource.RLIMIT_NOFILE, lowest_free(fleet.trader.process.pid))
    fleet.did("no more file handles")
    fleet.hit_some()  # what it writes down then needs a new file
    ends_and_comes_back(fleet, epoch, "OSError: [Errno 24] Too many open files")
    fleet.judge()


@pytest.mark.usefixtures("untouched")
def test_A18_a_trader_without_memory_ends_with_the_reason_and_starts_anew(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(LACKS_MEMORY)
    epoch = fleet.trader.epoch
    limited(fleet, resource.RLIMIT_AS, psutil.Process(fleet.trader.process.pid).memory_info().vms)
    fleet.did("no more memory")
    fleet.trader.tell("fair", MUCH)
    ends_and_comes_back(fleet, epoch, "MemoryError")
    fleet.judge()
