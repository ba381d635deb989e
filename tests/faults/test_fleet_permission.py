"""Rows G2, G3 and D9's refusals: who lets traders of the whole fleet trade live, by what, and how often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tests.faults.fleetrig import FleetCase, FleetRig
from tests.faults.liverig import LiveOptions
from tests.faults.livetrader import DRY, STAYS, WIDE, Plan
from tests.faults.person import Person, Said
from traders.start import read_start

pytestmark = pytest.mark.long

RUNS, LACKS, STILL, TWICE = range(4)  # places of the module's traders
NOT_REACHABLE = 3
RAISE = """
from traders.models import Trader
trader = Trader.objects.get(name={name!r})
trader.limits["position_cx_most"] *= 2
trader.full_clean()
trader.save()
"""


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(
        traders=(
            Plan(market=RUNS, strategies=STAYS),
            Plan(market=LACKS, strategies=STAYS),
            Plan(market=STILL, mode=DRY, strategies=STAYS),
            Plan(market=TWICE, strategies=STAYS),
        )
    )


@contextmanager
def another(rig: FleetRig, name: str, **settings: str) -> Iterator[Person]:
    """Another operator at a shell of his own."""
    person = Person(rig.operator.settings | settings, folder=rig.folder, log=rig.log)
    person.log_path = rig.folder / f"{name}.log"
    try:
        yield person
    finally:
        person.close()


@contextmanager
def without_key(rig: FleetRig) -> Iterator[None]:
    index = rig.home / "keys" / "index.json"
    aside = index.with_suffix(".aside")
    index.rename(aside)
    try:
        yield
    finally:
        aside.rename(index)


def supervised_with(rig: FleetRig, flag: str) -> None:
    """Have a supervisor that was started with this flag of the installation."""
    rig.supervisor.stop()
    rig.supervisor.settings = rig.supervisor.settings | {"KALSHIMM_LIVE": flag}
    rig.supervisor.start()


def writes(fleet: FleetCase) -> list[str]:
    """Return what has been asked to change of the account since the case began."""
    return [f"{one.method} {one.path}" for one in fleet.rig.fetch().requests
            if one.number > fleet.mark.line and one.is_write]  # fmt: skip


def test_G2_with_live_in_one_place_only_nothing_starts_and_each_missing_thing_is_named(
    fleet_on: Callable[..., FleetCase],
) -> None:
    """The trader was made live and granted; each thing is taken away in turn, then each is there."""
    fleet = fleet_on(LACKS, quotes=False)
    rig, name, operator = fleet.rig, fleet.trader.name, fleet.rig.operator
    with without_key(rig):
        fleet.did("no key")
        assert "[credential]" in operator.types("traders", "start", name, "--live", code=1)
    assert "[start_flag]" in operator.types("traders", "start", name, code=1), "a plain start is none"
    operator.types("grants", "revoke", name)
    assert "[grant]" in operator.types("traders", "start", name, "--live", code=1)
    operator.types("grants", "create", name, "--confirm", f"{name}?", code=1)
    operator.types("grants", "create", name, "--confirm", name)
    with another(rig, "unflagged", KALSHIMM_LIVE="0") as unflagged:
        assert "[installation_flag]" in unflagged.types("traders", "start", name, "--live", code=1)
    still = rig.fleet[STILL]
    assert "[mode]" in operator.types("traders", "start", still.name, "--live", code=1)
    operator.types("grants", "create", still.name, "--confirm", still.name, code=1)
    row = fleet.trader.row()
    assert (row["desired"], row["state"], row["pid"]) == ("stopped", "stopped", None)
    assert (writes(fleet), (fleet.trader.folder / "start.json").exists()) == ([], False), "it never lived"
    fleet.trader.start()
    fleet.until_quotes("with all four it quotes")
    supervised_with(rig, "0")
    fleet.did("no flag of the installation")
    fleet.until(lambda: "[installation_flag]" in fleet.trader.row()["state_reason"], "it is stopped, and says why")
    fleet.until(lambda: not fleet.resting(), "nothing of it rests")
    fleet.until_row(state="stopped")
    supervised_with(rig, "1")
    fleet.until_quotes("it quotes again under the grant that it still has")
    fleet.judge(faults=2)


def both(rig: FleetRig, *argv: str) -> list[Said]:
    """Have two operators type the same at once."""
    with another(rig, "second") as second, ThreadPoolExecutor() as pool:
        second.types("traders", "list")  # it is warm
        return list(pool.map(lambda person: person.tries(*argv), (rig.operator, second)))


def told(rig: FleetRig, name: str, action: str) -> int:
    """Return how often the audit says so of a trader."""
    count = "SELECT count(*) FROM ops_auditrow WHERE subject = %s AND action = %s"
    with psycopg.connect(rig.database_url) as connection:
        row = connection.execute(count, (name, action)).fetchone()
    assert row is not None
    return int(row[0])


def test_G3_what_two_operators_do_at_once_is_done_once_and_both_see_it(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(TWICE, quotes=False)
    rig, name = fleet.rig, fleet.trader.name
    fleet.did("two starts at once")
    assert [said.code for said in both(rig, "traders", "start", name, "--live")] == [0, 0]
    fleet.until_quotes()
    assert (fleet.trader.look().epoch, told(rig, name, "trader.lease")) == (1, 1)
    assert fleet.output(rig.spawner).count(f"forked trader {fleet.trader.number} ") == 1
    assert (told(rig, name, "grant.started"), told(rig, name, "trader.desired")) == (1, 1)
    for verb, state in (("pause", "paused"), ("resume", "quoting")):
        changes = told(rig, name, "trader.desired")
        said = both(rig, "traders", verb, name, "--json")
        assert [one.code for one in said] == [0, 0]
        assert said[0].out.count('"desired"') == said[1].out.count('"desired"') == 1, "both see it"
        fleet.until_row(state=state)
        assert told(rig, name, "trader.desired") == changes + 1
    assert (fleet.trader.look().epoch, told(rig, name, "trader.lease")) == (1, 1)
    fleet.judge()


def test_G3_two_grants_at_once_leave_one_trader_under_one_lease(fleet_on: Callable[..., FleetCase]) -> None:
    fleet = fleet_on(TWICE)
    rig, name, before = fleet.rig, fleet.trader.name, fleet.trader.process.identity
    fleet.did("two grants at once")
    assert [said.code for said in both(rig, "grants", "create", name, "--confirm", name)] == [0, 0]
    fleet.let_it_look()
    assert fleet.trader.process.identity == before, "nobody has started it under them: it goes on under its own"
    fleet.judge()


def test_D9_without_the_database_starts_grants_and_raised_limits_are_refused_and_live_traders_go_on(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(RUNS)
    rig, idle = fleet.rig, fleet.rig.fleet[STILL]
    before, settings = fleet.trader.process.identity, {"DATABASE_URL": rig.supervisor.settings["DATABASE_URL"]}
    idle.end()
    fleet.until(lambda: not idle.process.is_running, "nobody runs whom somebody could start")
    rig.fleet_db.refuse()
    with another(rig, "cut-off", **settings) as cut_off:
        cut_off.types("traders", "start", idle.name, code=NOT_REACHABLE)
        cut_off.types("grants", "create", fleet.trader.name, "--confirm", fleet.trader.name, code=NOT_REACHABLE)
        cut_off.types("shell", "--no-imports", "-c", RAISE.format(name=fleet.trader.name), code=NOT_REACHABLE)
    fleet.hit_some()
    fleet.until(lambda: fleet.position_cx() == fleet.true_position_cx(), "it books what has filled")
    fleet.until_quotes("and quotes on")
    assert fleet.trader.process.identity == before
    assert not idle.process.is_running
    rig.fleet_db.pass_all()
    fleet.let_it_look()
    assert fleet.trader.process.identity == before, "it goes by the limits that were confirmed"
    assert read_start(fleet.trader.folder).limits == WIDE
    fleet.judge()


def test_D9_a_trader_that_dies_without_the_database_is_pulled_and_not_started_before_it_is_back(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(RUNS)
    rig, epoch = fleet.rig, fleet.trader.epoch
    rig.fleet_db.refuse()
    fleet.until(lambda: "database" in fleet.output(rig.supervisor), "the supervisor has noticed")
    fleet.trader.process.kill()
    fleet.until(lambda: not fleet.resting(), "what it left is pulled all the same")
    assert (fleet.trader.look().epoch, fleet.trader.process.is_running) == (epoch, False), "nothing is started"
    rig.fleet_db.pass_all()
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "it is taken over", within_s=60)
    fleet.until_quotes("it quotes again")
    fleet.judge(faults=2)
