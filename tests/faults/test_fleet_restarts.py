"""Rows A7 to A9, A14 to A17, D1 and E7: parts of the fleet end, stand still or come twice, down to all at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest

from kalshimm.runtime.heartbeat import BEAT_TTL_S, beat_key, decode_beat
from kalshimm.runtime.process import ProcessIdentity, boot_id
from tests.faults.fleetrig import FleetCase, FleetRig, FleetTrader
from tests.faults.liverig import CANCELLING, PLACING, LiveOptions
from tests.faults.livetrader import NO_GUARDS, STAYS, Plan
from tests.faults.processes import ROOT, Worker
from traders.core.pipeline import Choice, StrategyChoices
from traders.leases import NEEDS_RESUME
from traders.processes import Running, read_running, write_running

pytestmark = pytest.mark.long

FIRST, SECOND, BUSY = range(3)  # places of the module's traders
MINUTE_US = 60_000_000
ORPHAN_S = 10.0  # invariant 2
ANSWER_MS, CANCEL_MS = 1_000, 500
STORE_AWAY_S = BEAT_TTL_S + 3.0  # every beat has lapsed
FLAPS = StrategyChoices(Choice("flapping"), guards=NO_GUARDS)
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1/0"}


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    stays = (Plan(market=market, strategies=STAYS) for market in (FIRST, SECOND))
    return LiveOptions(traders=(*stays, Plan(market=BUSY, strategies=FLAPS, wants=1)))


class Life(NamedTuple):
    """What must not change of a trader that goes on."""

    identity: ProcessIdentity | None
    epoch: int
    group_id: str


def life(trader: FleetTrader) -> Life:
    trader.look()
    return Life(trader.process.identity, trader.epoch, trader.group_id)


def lives(rig: FleetRig) -> list[Life]:
    return [life(trader) for trader in rig.fleet if trader.process.is_running]


@pytest.fixture
def fleet(fleet_on: Callable[..., FleetCase]) -> FleetCase:
    """The row on the first trader; the second one quotes, too, and the verdict is on both."""
    other = fleet_on(SECOND)
    other.is_judged = True
    return fleet_on(FIRST)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def let_it_look(fleet: FleetCase, turns: int = 4) -> None:
    """Let the supervisor look at everything so often."""

    def loops() -> int:
        value: Any = fleet.rig.redis.get(beat_key("supervisor", "main"))
        beat = decode_beat(value) if value else None
        return beat.loops if beat and beat.pid == fleet.rig.supervisor.pid else 0

    fleet.until(loops, "the supervisor is at work")
    until = loops() + turns
    fleet.until(lambda: loops() >= until, f"it has looked {turns} times")


def adoptions(fleet: FleetCase, trader: FleetTrader) -> int:
    """Return how often a supervisor has taken over the process of a trader since the case began."""
    return fleet.output(fleet.rig.supervisor).count(f"found process {trader.process.pid} of trader {trader.number} ")


def forks(fleet: FleetCase) -> int:
    return fleet.output(fleet.rig.spawner).count("forked trader")


def group_events(fleet: FleetCase) -> list[str]:
    return [one.event for one in fleet.rig.fetch().groups if one.number > fleet.mark.line]


@pytest.mark.parametrize("away_s", [0.0, 10.0])
def test_A7_the_next_supervisor_adopts_each_trader_once_and_they_trade_on_meanwhile(
    fleet: FleetCase, away_s: float
) -> None:
    rig = fleet.rig
    before = lives(rig)
    rig.supervisor.kill()
    order = fleet.hit_some()
    fleet.until(lambda: fleet.position_cx() == fleet.true_position_cx(), "the fill is booked with nobody above it")
    fleet.wait(away_s)
    rig.supervisor.start()
    let_it_look(fleet)
    fleet.until_row(state="quoting")
    assert lives(rig) == before
    assert [adoptions(fleet, trader) for trader in rig.fleet[:BUSY]] == [1, 1]
    assert (forks(fleet), group_events(fleet)) == (0, [])
    assert rig.fetch().orders[order.order_id][-1].filled_cx > 0
    fleet.judge()


def forge(trader: FleetTrader, identity: ProcessIdentity) -> None:
    """Have the record of the trader's last process name another one."""
    running = read_running(trader.folder)
    assert running is not None
    write_running(trader.folder, Running(identity, running.instance))


def until_paused(fleet: FleetCase, trader: FleetTrader) -> None:
    """Wait until a trader that was not there when the supervisor came stands paused and waits for a person."""
    fleet.until(lambda: trader.state == "paused", f"{trader.name} is paused", within_s=60)
    fleet.until(lambda: trader.row()["state"] == "paused", "and the list says so")
    assert trader.row()["desired"] == "paused"
    assert f"trader {trader.name} is paused: {NEEDS_RESUME}" in fleet.output(fleet.rig.supervisor)


def resumed(fleet: FleetCase) -> None:
    """Have the operator resume both traders, and wait until the first one quotes."""
    fleet.rig.operator.types("traders", "resume", *(trader.name for trader in fleet.rig.fleet[:BUSY]))
    fleet.until_quotes("it quotes once a person has resumed it")


def test_A8_a_record_that_names_a_strangers_process_is_stale_and_the_stranger_left_alone(
    fleet: FleetCase, sleeper: subprocess.Popen[bytes]
) -> None:
    rig = fleet.rig
    rig.supervisor.kill()
    fleet.trader.process.kill()
    stranger = ProcessIdentity.of(sleeper.pid)
    assert stranger is not None
    forge(fleet.trader, ProcessIdentity(stranger.boot_id, sleeper.pid, stranger.started_us - MINUTE_US))
    fleet.log.note("process", f"forged record: {fleet.trader.name} is pid {sleeper.pid}")
    rig.supervisor.start()
    until_paused(fleet, fleet.trader)
    rig.operator.types("traders", "stop", fleet.trader.name)
    fleet.until_row(state="stopped")
    assert adoptions(fleet, rig.fleet[SECOND]) == 1
    assert f"found process {sleeper.pid} " not in fleet.output(rig.supervisor)
    assert sleeper.poll() is None, "nobody has signalled it"
    fleet.trader.start()
    fleet.until_quotes("it quotes again")
    fleet.judge(faults=3)


def test_A9_while_the_supervisor_is_frozen_traders_go_on_and_only_one_acts_after_it(fleet: FleetCase) -> None:
    rig, second = fleet.rig, fleet.rig.fleet[SECOND]
    before, epoch = life(fleet.trader), second.look().epoch
    rig.supervisor.freeze()
    second.process.kill()
    another = rig.worker("supervisor-2", ["supervisor"], rig.supervisor.settings)
    another.start()
    assert another.wait(60) == 1
    assert f"process {rig.supervisor.pid}" in another.output()
    fleet.wait(10.0)
    assert (forks(fleet), group_events(fleet)) == (0, []), "nothing is started or taken over"
    fleet.let_it_look()
    rig.supervisor.thaw()
    fleet.until(lambda: second.look().epoch > epoch, "the dead one has another lease", within_s=60)
    fleet.until(lambda: second.state == "quoting", "and quotes")
    let_it_look(fleet)
    assert (second.epoch, forks(fleet)) == (epoch + 1, 1), "once"
    assert life(fleet.trader) == before
    fleet.judge(faults=2)


def test_D1_nobody_is_fenced_or_started_anew_for_a_beat_that_lapsed_while_redis_was_away(fleet: FleetCase) -> None:
    """One of them beats again only after the supervisor has looked for it."""
    rig, late = fleet.rig, fleet.rig.fleet[SECOND]
    before = lives(rig)
    rig.valkey.kill()
    fleet.until(lambda: not rig.fetch().resting(), "traders pull their own quotes")
    asked = fleet.creates()
    fleet.wait(STORE_AWAY_S)
    assert fleet.creates() == asked, "nothing is quoted blindly"
    late.process.freeze()
    rig.valkey.start()
    let_it_look(fleet, turns=1)
    assert late.beat() is None
    late.process.thaw()
    fleet.until_quotes("it quotes again")
    fleet.until(lambda: late.state == "quoting", "and so does the other one")
    let_it_look(fleet)
    assert lives(rig) == before
    assert (forks(fleet), group_events(fleet)) == (0, [])
    fleet.judge(faults=2)


def test_D1_A1_the_orders_of_a_trader_that_dies_while_redis_is_away_are_pulled_all_the_same(fleet: FleetCase) -> None:
    rig, other = fleet.rig, life(fleet.rig.fleet[SECOND])
    epoch, group_id, rested = fleet.trader.epoch, fleet.trader.group_id, fleet.resting()
    assert len(rested) == 2
    fleet.trader.process.freeze()  # else it would pull its quotes itself
    rig.valkey.kill()
    fleet.trader.process.kill()
    fleet.until(lambda: not rig.fetch().resting(), "what it left is pulled", within_s=ORPHAN_S)
    assert (group_id, "triggered") in {(one.group_id, one.event) for one in rig.fetch().groups}, "by the supervisor"
    asked = fleet.creates()
    fleet.wait(STORE_AWAY_S)
    assert fleet.creates() == asked, "nothing is quoted blindly"
    rig.valkey.start()
    fleet.until(lambda: fleet.trader.look().epoch > epoch, "another lease has begun", within_s=60)
    fleet.until_quotes("it quotes again")
    assert life(rig.fleet[SECOND]) == other, "nobody else is touched"
    fleet.judge(faults=3)


def answers(rig: FleetRig) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{rig.web_port}/livez", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def test_A14_nothing_depends_on_the_web_not_even_a_kill(fleet: FleetCase) -> None:
    rig = fleet.rig
    rig.web.start()
    fleet.until(lambda: answers(rig), "the web answers", within_s=60)
    before, helpers = lives(rig), [worker.pid for worker in rig.helpers]
    rig.web.kill()
    fleet.let_it_look()
    let_it_look(fleet)
    assert lives(rig) == before
    assert [worker.pid for worker in rig.helpers if worker.is_running] == helpers
    assert (forks(fleet), group_events(fleet)) == (0, [])
    assert kill(rig)["confirmed"]
    assert rig.fetch().resting() == []
    assert kill(rig, "--release")["standing"] == []
    rig.web.start()
    fleet.until(lambda: answers(rig), "it comes back", within_s=60)
    rig.web.stop()
    resumed(fleet)
    fleet.judge()


def kill(rig: FleetRig, *argv: str) -> dict[str, Any]:
    """Run the command as an operator would whom no store answers."""
    settings = os.environ | rig.operator.settings | NOWHERE
    command = [sys.executable, "manage.py", "kill", "--json", *argv]
    ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=90, check=True)
    said: dict[str, Any] = msgspec.json.decode(ended.stdout)
    return said


def test_A16_a_second_copy_of_anything_ends_with_a_message_and_touches_nothing(fleet: FleetCase) -> None:
    rig, trader = fleet.rig, fleet.trader
    before = lives(rig)
    firsts: list[tuple[Worker, list[str], dict[str, str]]] = [
        *((worker, worker.argv, worker.settings) for worker in rig.helpers),
        (trader.process, ["trader", str(trader.number)], rig.trader_settings(trader)),
    ]
    pids = [worker.pid for worker, *_ in firsts]
    seconds = [rig.worker(f"{worker.name}-again", argv, settings) for worker, argv, settings in firsts]
    for second in seconds:
        second.start()
    for second, pid in zip(seconds, pids, strict=True):
        assert second.wait(90) == 1, second.output()
        assert f"process {pid}" in second.output()
        fleet.did(f"a second {second.argv[0]}")
    let_it_look(fleet)
    assert [worker.pid for worker, *_ in firsts if worker.is_running] == pids
    assert lives(rig) == before
    assert (forks(fleet), group_events(fleet)) == (0, [])
    fleet.judge(faults=len(seconds))


def test_A17_asked_to_stop_with_orders_on_their_way_it_sends_no_more_and_leaves_nothing(
    fleet_on: Callable[..., FleetCase],
) -> None:
    fleet = fleet_on(BUSY, quotes=False)
    fleet.arm(
        {"do": "apply_then_delay", "delay_ms": ANSWER_MS, "id": "late", "times": None, **PLACING},
        {"do": "apply_then_delay", "delay_ms": CANCEL_MS, "id": "late-too", "times": None, **CANCELLING},
    )
    fleet.trader.start()
    fleet.until_struck("late", times=2)
    fleet.until(lambda: on_their_way(fleet), "an order is on its way")
    identity = fleet.trader.process.identity
    fleet.trader.process.terminate()
    fleet.until(lambda: fleet.trader.process.identity != identity, "it ends")
    fleet.rig.operator.types("traders", "stop", fleet.trader.name)
    changes = [one for one in fleet.trader.record.read().changes if fleet._is_new(one)]
    drains = next(one for one in changes if one.body.state == "draining")
    stopped = next(one for one in changes if one.number > drains.number)
    assert (stopped.body.state, stopped.body.reason) == ("stopped", "asked to stop"), "and the exchange has confirmed"
    names = [fleet.trader.record.intents[one.body.number].body.verb for one in fleet.trader.record.sent.values()
             if drains.number < one.number < stopped.number]  # fmt: skip
    assert set(names) <= {"cancel"}, "nothing new left after it was asked"
    assert f"{fleet.trader.name} crashed" not in fleet.output(fleet.rig.supervisor)
    fleet.until_row(state="stopped")
    fleet.judge(faults=2, stirs=False, first=True)


def on_their_way(fleet: FleetCase) -> list[int]:
    """Return the numbers of orders that have left and were not answered yet."""
    record = fleet.trader.record.read()
    left = [number for number in record.sent if number not in record.answers]
    return [number for number in left if record.intents[number].body.verb == "place"]


def all_at_once(rig: FleetRig) -> None:
    """Kill every process but the exchange's, and PostgreSQL, which this machine's other tests use."""
    for worker in (*rig.helpers, *(trader.process for trader in rig.fleet)):
        if worker.is_running:
            worker.kill()
    rig.valkey.kill()


def all_again(fleet: FleetCase, *, empty: bool = False) -> None:
    """Start everything again; the traders come back paused, and nothing of them is left at the exchange."""
    rig = fleet.rig
    assert len(fleet.resting()) >= 2, "what was killed has left its orders, those too that were on the move"
    rig.valkey.start(empty=empty)
    for worker in rig.helpers:
        worker.start()
    fleet.until(rig.supervisor_beats, "the supervisor is back")
    fleet.until(lambda: not rig.fetch().resting(), "no orphan is left", within_s=ORPHAN_S)
    for trader in rig.fleet[:BUSY]:
        until_paused(fleet, trader)
    began_us = time.time_ns() // 1_000
    fleet.let_it_look()
    assert not [one for one in fleet.requests("POST") if one.at_us > began_us], "nobody quotes unasked"


def test_A15_after_everything_was_killed_at_once_nothing_is_left_and_nobody_trades_unasked(fleet: FleetCase) -> None:
    epochs = [trader.epoch for trader in fleet.rig.fleet[:BUSY]]
    all_at_once(fleet.rig)
    all_again(fleet)
    assert [trader.look().epoch for trader in fleet.rig.fleet[:BUSY]] == [epoch + 1 for epoch in epochs]
    resumed(fleet)
    fleet.judge(faults=8)


def test_A15_E7_after_a_reboot_every_record_is_stale_and_the_rest_is_as_after_a_crash_of_everything(
    fleet: FleetCase, sleeper: subprocess.Popen[bytes]
) -> None:
    """One record names a pid that lives now, and even when it began."""
    rig = fleet.rig
    all_at_once(rig)
    stranger = ProcessIdentity.of(sleeper.pid)
    assert stranger is not None
    names = [stranger, *(running.identity for trader in rig.fleet[1:] if (running := read_running(trader.folder)))]
    for trader, identity in zip(rig.fleet, names, strict=False):
        forge(trader, msgspec.structs.replace(identity, boot_id=boot_id()[::-1]))
    fleet.log.note("process", "forged records: of another boot")
    all_again(fleet, empty=True)
    assert sleeper.poll() is None, "nobody has signalled it"
    assert f"found process {sleeper.pid} " not in fleet.output(rig.supervisor)
    assert "crashed" not in fleet.output(rig.supervisor), "a reboot is nobody's fault"
    resumed(fleet)
    fleet.judge(faults=9)
