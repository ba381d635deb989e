"""Invariant I6 on real processes: a dry-run trader writes nothing to any exchange, whatever happens around it."""

from __future__ import annotations

import pytest

from tests.faults.invariants import writes
from tests.faults.liverig import LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import DRY, LiveTrader, Plan


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(traders=(Plan(mode=DRY),))


def quotes(trader: LiveTrader) -> bool:
    view = trader.view()
    return view is not None and view.state == "quoting" and len(view.quotes) == trader.plan.wants


def test_I6_a_dry_run_trader_writes_nothing_to_the_exchange(live_rig: LiveRig) -> None:
    (trader,) = live_rig.traders
    case = LiveCase(live_rig, trader, quotes=False)
    trader.start()
    case.until(lambda: quotes(trader), "it quotes on paper")
    for verb in ("pause", "resume", "flatten", "resume"):
        case.command(verb)
    live_rig.control("POST", "/clients/close", {"account": "owner", "code": 1006})
    case.until_applied()
    case.until(lambda: quotes(trader), "it quotes on paper again")
    trader.worker.kill()
    trader.start()
    case.until(lambda: quotes(trader), "it quotes on paper after a crash")
    placed = [line for states in trader.record.read().states.values() for line in states]
    assert len(placed) >= 8, "it placed and cancelled on paper all the while"
    assert writes(live_rig.fetch().requests, since=case.mark.line) == []
    assert trader.rest.accepted == 0, "not even a connection to the exchange"
    trader.end()
