"""A kill and the fleet: who is killed stands still, and stays so until a person has released it and resumes him."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.db import transaction
from test_supervisor import a_market, a_trader, has_state
from traderworld import HandMadeMarket, Watcher, Workers

from kalshimm.ops.models import AuditRow
from kalshimm.runtime.heartbeat import beat_key
from tests.fixtures.stack import eventually
from traders import killswitch
from traders.core.kills import ALL, EVENT, TRADER, Kill, Kind
from traders.killnotes import settle
from traders.killswitch import KillSwitch
from traders.models import Desired, Trader
from traders.services import RefusedChange, steer
from traders.supervisor import Known, _why_resumed

pytestmark = pytest.mark.django_db(transaction=True)


def a_kill(kind: Kind, key: str = "") -> Kill:
    return Kill(kind=kind, key=key, by="cli:tester", at_us=1_795_000_000_000_000)


@pytest.fixture
def fleet(workers_with_database: Workers, market: HandMadeMarket, redis_client: redis.Redis) -> Workers:
    market.start()
    workers_with_database.spawner()
    workers_with_database.start("supervisor")
    eventually(lambda: redis_client.exists(beat_key("supervisor", "main")), "the supervisor is at work")
    return workers_with_database


def is_desired(trader: Trader, desired: str) -> Callable[[], bool]:
    return lambda: Trader.objects.filter(pk=trader.pk, desired=desired).exists()


def test_G1_a_killed_trader_pauses_and_stays_paused_once_the_kill_is_released(
    fleet: Workers, watcher: Watcher, settings: Any
) -> None:
    settings.KALSHIMM_HOME = fleet.home
    a_market()
    trader = a_trader()
    eventually(lambda: watcher.is_quoting(trader.pk), "the trader quotes")
    killswitch.throw(fleet.home, a_kill(TRADER, trader.name))
    eventually(has_state(trader, "paused"), "it is paused")
    eventually(is_desired(trader, Desired.PAUSED), "the database says so")
    eventually(lambda: AuditRow.objects.filter(action="kill").exists(), "the kill is on record")
    assert AuditRow.objects.get(action="kill").actor == "cli:tester"
    why = f"paused by a kill: trader {trader.name} was killed by cli:tester"
    eventually(lambda: (view := watcher.view(trader.pk)) and (view.quotes, view.why) == ([], why), "it says why")
    with pytest.raises(RefusedChange, match=rf"kill --release --trader {trader.name}"):
        steer([trader], "resume", actor="test")
    killswitch.release(fleet.home, TRADER, trader.name)
    eventually(lambda: AuditRow.objects.filter(action="kill.released").exists(), "the release is on record")
    assert is_desired(trader, Desired.PAUSED)()
    steer([trader], "resume", actor="test")
    eventually(lambda: watcher.is_quoting(trader.pk), "it quotes again")


def test_G1_a_kill_of_an_event_reaches_a_trader_that_starts_later(fleet: Workers, watcher: Watcher) -> None:
    market = a_market()
    killswitch.throw(fleet.home, a_kill(EVENT, market.event_id))
    trader = a_trader()
    eventually(has_state(trader, "paused"), "it stands still from the start")
    view = watcher.view(trader.pk)
    assert view is not None
    assert view.quotes == []


@pytest.mark.parametrize("verb", ["start", "resume", "flatten"])
def test_G1_nobody_moves_while_everything_is_killed(verb: str, tmp_path: Path, settings: Any) -> None:
    settings.KALSHIMM_HOME = tmp_path
    a_market()
    trader = a_trader()
    killswitch.throw(tmp_path, a_kill(ALL))
    with pytest.raises(RefusedChange, match="everything was killed by cli:tester"):
        steer([trader], verb, actor="test")
    steer([trader], "pause", actor="test")
    assert is_desired(trader, Desired.PAUSED)()


# With the supervisor away


@pytest.fixture
def home(home: Path, settings: Any) -> Path:
    """The installation's, too; whatever runs in it is stopped at the end, as everywhere."""
    settings.KALSHIMM_HOME = home
    return home


def actions() -> list[tuple[str, str]]:
    return list(AuditRow.objects.exclude(action="trader.created").order_by("id").values_list("action", "subject"))


def test_G1_who_was_killed_and_released_unseen_is_paused_all_the_same(home: Path) -> None:
    a_market()
    a_market("HAND-2")
    killed, other = a_trader(), a_trader("hand-2", "HAND-2")
    kill = a_kill(TRADER, killed.name)
    killswitch.throw(home, kill)
    killswitch.release(home, TRADER, killed.name)
    for _ in range(2):
        settle(home)
        assert (is_desired(killed, Desired.PAUSED)(), is_desired(other, Desired.RUNNING)()) == (True, True)
        what = f"trader {killed.name}"
        assert actions() == [("kill", what), ("trader.desired", killed.name), ("kill.released", what)]
        assert not (home / "kill.json").exists()


def test_G1_a_resume_after_a_release_that_nobody_saw_is_not_undone(home: Path) -> None:
    a_market()
    trader = a_trader()
    killswitch.throw(home, a_kill(ALL))
    killswitch.release(home, ALL)
    steer([trader], "resume", actor="test")
    settle(home)
    assert is_desired(trader, Desired.RUNNING)()
    assert [action for action, _ in actions()] == ["kill", "trader.desired", "kill.released", "trader.desired"]


def test_G1_a_refused_change_leaves_a_release_to_be_settled(home: Path) -> None:
    a_market()
    a_market("HAND-2")
    first, second = a_trader(), a_trader("hand-2", "HAND-2")
    for trader in (first, second):
        killswitch.throw(home, a_kill(TRADER, trader.name))
    killswitch.release(home, TRADER, first.name)
    with pytest.raises(RefusedChange), transaction.atomic():
        steer([second], "resume", actor="test")
    assert (is_desired(first, Desired.RUNNING)(), len(KillSwitch(home).released())) == (True, 1), "as before"
    settle(home)
    assert (is_desired(first, Desired.PAUSED)(), KillSwitch(home).released()) == (True, ())


def test_a_standing_kill_pauses_whoever_was_set_to_run_by_another_way(home: Path) -> None:
    market = a_market()
    killswitch.throw(home, a_kill(EVENT, market.event_id))
    trader = a_trader()
    settle(home)
    assert is_desired(trader, Desired.PAUSED)()
    settle(home)
    assert [action for action, _ in actions()] == ["kill", "trader.desired"], "each thing is noted once"


def test_F11_G1_a_fenced_process_starts_anew_only_after_a_person_has_resumed_it() -> None:
    view: Any = SimpleNamespace(state="fenced")
    quoting: Any = SimpleNamespace(state="quoting")
    running: Any
    paused: Any
    running, paused = SimpleNamespace(desired="running"), SimpleNamespace(desired="paused")
    known = Known()
    assert _why_resumed(running, known, view) == "", "its group was triggered by the exchange: a person is to look"
    assert _why_resumed(paused, known, view) == ""
    assert _why_resumed(paused, known, None) == ""
    assert "somebody resumed it" in _why_resumed(running, known, view)
    assert _why_resumed(running, known, quoting) == ""


def test_F11_G1_a_killed_process_starts_anew_once_resumed_though_it_never_heard_that_its_group_was_triggered() -> None:
    paused_view: Any = SimpleNamespace(state="paused")
    running: Any
    paused: Any
    running, paused = SimpleNamespace(desired="running"), SimpleNamespace(desired="paused")
    known = Known(was_killed=True)
    assert _why_resumed(paused, known, paused_view) == ""
    assert "somebody resumed it" in _why_resumed(running, known, paused_view)
    assert "somebody resumed it" in _why_resumed(running, known, None)
    known.was_killed = False
    assert _why_resumed(running, known, paused_view) == ""
