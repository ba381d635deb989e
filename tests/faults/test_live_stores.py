"""Rows of part D about Redis, as orders of live traders see it: dead, empty, hanging, slow, full."""

from __future__ import annotations

import pytest

from feed.schema import GENERATION
from tests.faults.ledger import CREATE
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan

pytestmark = pytest.mark.long

SLOW_S = 0.5
LATE_US = 1_500_000  # no book is used that is older
PAUSE_MS = 5_000


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def until_pulled(live: LiveCase) -> None:
    """Wait until the trader has taken off what rests, itself."""
    rested = {order.order_id for order in live.resting()}
    live.until(lambda: not live.resting(), "it pulls its quotes")
    asked = {
        order_id for request in live.rig.fetch().requests for word, order_id in request.changes if word == "cancel"
    }
    assert rested <= asked, "by cancels of its own, which need no store"


def keeps_still(live: LiveCase, seconds: float) -> None:
    """Look at it for so long: nothing new leaves."""
    asked = len(live.creates())
    live.wait(seconds)
    assert len(live.creates()) == asked, "nothing is quoted blindly"
    assert live.resting() == []


# ---- D1, D2 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away_s", [0, 5, 15])
def test_D1_a_store_that_was_away_is_quoted_without_only_for_as_long_as_the_feed_may_be_silent(
    live: LiveCase, away_s: int
) -> None:
    live.rig.valkey.kill()
    if away_s:
        until_pulled(live)
        keeps_still(live, away_s)
    live.rig.valkey.start()
    live.until_quotes("it goes on by itself")
    live.hit_some()
    live.judge()
    live.until_written()


def test_D1_what_it_was_told_while_it_could_not_hear_it_does_once_it_can(live: LiveCase) -> None:
    live.trader.worker.freeze()
    told = live.trader.tell("pause")
    live.rig.valkey.kill()
    live.rig.valkey.start()
    live.trader.worker.thaw()
    live.until(lambda: told in live.trader.record.read().commands, "it answers what it was told before")
    assert live.trader.record.commands[told].body.is_done
    live.until(lambda: not live.resting(), "and has done it")
    live.resume()
    live.until_quotes()
    live.judge(faults=2)
    live.until_written()


def test_D2_a_store_that_comes_back_empty_is_told_again_what_was_not_committed(live: LiveCase) -> None:
    before = live.rig.redis.get(GENERATION)
    live.rig.writer.freeze()
    live.hit_some()
    live.pause()  # so that something of the journal stands nowhere but in the store and the trader's folder
    live.resume()
    live.until_quotes()
    live.rig.valkey.kill()
    until_pulled(live)
    live.rig.valkey.start(empty=True)
    live.rig.writer.thaw()
    live.until_quotes("its book is built anew from a snapshot")
    assert live.rig.redis.get(GENERATION) not in (None, before)
    live.hit_some()
    live.judge(faults=3)
    live.until_written()


# ---- D3 --------------------------------------------------------------------------------------------------------------


def test_D3_a_store_that_hangs_holds_no_order_up(live: LiveCase) -> None:
    """Commands, beats and journal lines cannot pass; what rests is taken off all the same, at once."""
    live.rig.redis.client_pause(PAUSE_MS)
    live.did(f"CLIENT PAUSE {PAUSE_MS}")
    until_pulled(live)
    over_us = max(order.at_us for order in live.orders() if order.is_over)
    answered = live.rig.redis.info("server")["server_time_usec"]
    assert over_us < answered, "before the store answered anybody"
    live.until_quotes("it goes on when the store does")
    live.judge()
    live.until_written()


def test_D3_orders_do_not_wait_for_a_slow_line_to_the_store(live: LiveCase) -> None:
    """Whatever is written or asked takes half a second each way: a budget is answered too late, the feed is old.

    What rests is taken off from the trader's own part of the budget; for new orders it would have to know the others'.
    """
    live.reads_within_us = LATE_US
    live.trader.redis.delay(SLOW_S)
    until_pulled(live)
    live.until(lambda: "BUDGET_UNREACHABLE" in live.alerts(), "it says that it cannot share the budget")
    keeps_still(live, 3)
    live.trader.redis.pass_all()
    live.until_quotes("it goes on")
    live.judge()
    live.until_written()


# ---- D4 --------------------------------------------------------------------------------------------------------------


def test_D4_a_full_store_stops_quoting_loudly_and_keeps_no_cancel_back(live: LiveCase) -> None:
    client = live.rig.redis
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1mb")
    live.did("maxmemory 1 MiB, noeviction")
    try:
        until_pulled(live)
        live.until(lambda: "STREAM_WRITE_FAILED" in live.alerts(), "it is told of")
        keeps_still(live, 2)
    finally:
        client.config_set("maxmemory", "0")
    live.until_quotes("it goes on once there is room")
    live.hit_some()
    live.judge()
    live.until_written()
    assert client.info("stats")["evicted_keys"] == 0
    assert live.requests("POST", CREATE), "it quoted again"
