"""Rows G1 and A14: a kill from the command line, with every store and the web out of its reach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.faults.base import OWNER
from tests.faults.ledger import CREATE
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import STAYS, Plan

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "REDIS_URL": "redis://127.0.0.1:1/0"}
CONFIRMED, UNCONFIRMED = 0, 4
OTHER = 1  # place of a trader
LOW_CC = 500
LEFT_BEFORE_US = 500_000  # of a request that was on its way when the kill was written (the bar's floor)


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=STAYS), Plan(market=1, strategies=STAYS)))


def kill(live: LiveCase, *argv: str, code: int = CONFIRMED) -> dict[str, Any]:
    """Run the command as an operator would, and return what it says."""
    settings = os.environ | NOWHERE | {"KALSHIMM_HOME": str(live.rig.home), "KALSHI_ENV": "local"}
    command = [sys.executable, "manage.py", "kill", "--json", *argv]
    ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == code, ended.stderr
    said: dict[str, Any] = msgspec.json.decode(ended.stdout)
    return said


def creates_after(live: LiveCase, said: dict[str, Any]) -> list[Any]:
    at_us = said["kill"]["at_us"] + LEFT_BEFORE_US
    return [one for one in live.requests("POST") if one.at_us > at_us]


def is_over(live: LiveCase, order_id: str) -> bool:
    return live.rig.fetch().orders[order_id][-1].is_over


def released(live: LiveCase, *scope: str) -> None:
    """Take the kill back, and start the trader anew behind another group as the supervisor would."""
    assert kill(live, "--release", *scope)["standing"] == []
    live.restart()


def test_G1_a_kill_of_everything_is_confirmed_by_the_exchange_and_nothing_leaves_after_it(live: LiveCase) -> None:
    person = live.rig.person("bid", LOW_CC, 500, live.trader.ticker, account=OWNER)["order_id"]
    live.did("killed everything")
    said = kill(live)
    (account,) = said["accounts"]
    assert (said["confirmed"], account["resting"], account["is_confirmed"]) == (True, 0, True)
    assert live.rig.fetch().resting() == []
    assert is_over(live, person), "a kill of everything spares nobody"
    live.until(lambda: live.trader.state in ("paused", "fenced"), "the trader stands still")
    live.let_it_look()
    assert creates_after(live, said) == []
    released(live)
    live.judge()


def test_G1_one_trader_is_killed_and_another_and_a_persons_order_stay(live_on: Any) -> None:
    live: LiveCase = live_on(others=True)
    other = live.rig.traders[OTHER]
    if not other.worker.is_running:
        other.start()
    live.until(lambda: other.state == "quoting", "the other one quotes")
    person = live.rig.person("bid", LOW_CC, 500, live.trader.ticker, account=OWNER)["order_id"]
    live.did("killed a trader")
    said = kill(live, "--trader", live.trader.worker.name)
    assert said["confirmed"]
    assert not live.resting()
    assert not is_over(live, person)
    assert other.state == "quoting"
    live.rig.control("DELETE", f"/orders/{person}?account={OWNER}")
    released(live, "--trader", live.trader.worker.name)
    live.judge()


def test_G1_where_cancel_all_is_refused_orders_are_canceled_one_by_one(live: LiveCase) -> None:
    live.arm({"do": "answer", "status": 404, "method": "DELETE", "path": CREATE, "times": None})
    person = live.rig.person("bid", LOW_CC, 500, live.trader.ticker, account=OWNER)["order_id"]
    said = kill(live)
    assert said["confirmed"]
    assert said["accounts"][0]["canceled"] >= 1
    assert is_over(live, person)
    released(live)
    live.judge()


def test_G1_ours_only_spares_what_others_placed(live: LiveCase) -> None:
    person = live.rig.person("bid", LOW_CC, 500, live.trader.ticker, account=OWNER)["order_id"]
    live.did("killed ours")
    assert kill(live, "--ours-only")["confirmed"]
    assert not live.resting()
    assert not is_over(live, person)
    live.rig.control("DELETE", f"/orders/{person}?account={OWNER}")
    released(live)
    live.judge()


def test_G1_E4_a_kill_that_reaches_nobody_stops_new_orders_and_says_that_nothing_is_confirmed(live: LiveCase) -> None:
    for trader in live.rig.traders:  # a kill goes by whichever address a start file names
        trader.rest.black_hole()
    said = kill(live, "--within", "3", code=UNCONFIRMED)
    (account,) = said["accounts"]
    assert (said["confirmed"], account["resting"]) == (False, None)
    live.until(lambda: live.trader.state == "paused", "the trader stands still")
    assert "everything was killed by" in live.trader.record.read().changes[-1].body.reason
    for trader in live.rig.traders:
        trader.rest.pass_all()
    assert kill(live)["confirmed"]
    assert creates_after(live, said) == []
    released(live)
    live.judge()


def test_G1_a_killed_trader_stays_so_over_its_restart_and_refuses_to_resume(live: LiveCase) -> None:
    live.did("killed everything")
    kill(live)
    live.trader.end()
    live.trader.start()
    live.until(lambda: live.trader.state == "paused", "it stands still from the start")
    command_id = live.trader.tell("resume")
    live.until(lambda: command_id in live.trader.record.read().commands, "it answers")
    answer = live.trader.record.commands[command_id].body
    assert (answer.is_done, "kill --release" in answer.reason) == (False, True)
    assert not live.resting()
    released(live)
    live.judge()
