"""Rows A10 and A11 as orders of a live trader see them: without a gateway nothing rests and nothing is quoted."""

from __future__ import annotations

import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from tests.faults.told import adding

pytestmark = pytest.mark.long

AWAY_S = 8.0
SILENT = "the feed is silent"


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def told_conn(live: LiveCase) -> int:
    """Return the connection that the gateway has told of last."""
    conn: int = live.rig.listen().feed.values[-1].conn
    return conn


def decided_conn(live: LiveCase) -> int:
    """Return the connection of the book that the newest order was decided on."""
    _, decision = adding(live.trader.record.read())[-1]
    assert decision is not None
    conn: int = decision.body.figures["basis"][0]
    return conn


def until_pulled(live: LiveCase) -> None:
    """Wait until the exchange has nothing of the trader that rests, by its ledger."""
    live.until(lambda: not live.resting(), "its quotes are pulled")
    live.until(lambda: SILENT in live.why(), "it says why")


def keeps_still(live: LiveCase) -> None:
    """Look at the ledger for as long as the gateway is away: nothing new reaches the exchange."""
    asked = live.creates()
    live.wait(AWAY_S)
    assert live.creates() == asked, "nothing is quoted blindly"
    assert live.resting() == []
    assert SILENT in live.why()


def test_A10_without_a_gateway_nothing_of_a_live_trader_rests_until_another_one_tells_of_the_book(
    live: LiveCase,
) -> None:
    before = told_conn(live)
    live.rig.gateway.kill()
    until_pulled(live)
    keeps_still(live)
    live.rig.gateway.start()
    live.until_quotes("it quotes again by itself")
    assert told_conn(live) not in (0, before), "a new epoch"
    assert decided_conn(live) == told_conn(live), "which is what it goes by"
    live.hit_some()
    live.judge()


def test_A11_with_a_frozen_gateway_nothing_of_a_live_trader_rests_although_every_connection_stands(
    live: LiveCase,
) -> None:
    live.rig.gateway.freeze()
    held = live.rig.ws.connections
    until_pulled(live)
    keeps_still(live)
    assert live.rig.ws.connections == held == 1, "found by age alone"
    live.rig.gateway.thaw()
    live.until_quotes("it quotes again by itself")
    assert decided_conn(live) == told_conn(live)
    live.hit_some()
    live.judge()
