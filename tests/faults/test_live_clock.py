"""Rows E1 and E2: one live trader whose wall clock is wrong, or is set while it runs; all others keep the machine's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.faults.liverig import PLACING, LiveCase, LiveOptions, LiveRig
from tests.faults.livetrader import IMPROVES, Plan
from tests.faults.shifted import MovingClock

pytestmark = pytest.mark.long

LATE_MS = 1_500
HOUR_S = 3_600
# Far behind, its interest in the market is over as soon as it is told, so it has no book either.
WHYS = ("CLOCK: it is off by 5 s or more", "no longer leased")


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


@pytest.fixture(scope="module")
def moving(live_rig: LiveRig, tmp_path_factory: pytest.TempPathFactory) -> MovingClock:
    """The clock of the module's trader."""
    moving = MovingClock(tmp_path_factory.mktemp("clock"))
    settings = live_rig.traders[0].worker.settings
    settings |= moving.settings(settings["PYTHONPATH"])
    return moving


@pytest.fixture
def live(moving: MovingClock, live_on: Callable[..., LiveCase]) -> LiveCase:
    """As ever, on a trader that was started with that clock."""
    return live_on()


@pytest.fixture
def clock(moving: MovingClock, live: LiveCase) -> Iterator[MovingClock]:
    yield moving
    step(live, moving, 0)


def step(live: LiveCase, clock: MovingClock, ahead_s: int) -> None:
    """Set the trader's clock between two of its lines, so that each is known to be of one of the two."""
    trader = live.trader
    if trader.worker.is_running:
        trader.worker.freeze()
    trader.record.read()
    clock.set_ahead(ahead_s)
    trader.record.ahead_us = clock.ahead_us
    if trader.worker.is_running:
        trader.worker.thaw()
    live.did(f"the clock of {trader.worker.name} is {ahead_s} s ahead")


def restart_at(live: LiveCase, clock: MovingClock, ahead_s: int) -> None:
    live.trader.end()
    step(live, clock, ahead_s)
    live.trader.start()


# ---- E1 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [1, -1])
def test_E1_a_clock_that_is_a_little_off_is_warned_of_and_trades_on(
    live: LiveCase, clock: MovingClock, ahead_s: int
) -> None:
    restart_at(live, clock, ahead_s)
    live.until_quotes("it quotes all the same")
    live.until(lambda: "action=clock_offset" in live.output(live.trader.worker), "it says so")
    live.pause()
    live.resume()
    live.until_quotes()
    live.hit_some()
    live.judge()


@pytest.mark.parametrize("ahead_s", [5, -5, 35, -35, 300, -300])
def test_E1_a_clock_that_is_far_off_lets_no_order_leave_until_it_is_right(
    live: LiveCase, clock: MovingClock, ahead_s: int
) -> None:
    restart_at(live, clock, ahead_s)
    asked = len(live.creates())
    live.until(lambda: any(why in live.why() for why in WHYS), "it says why it does not quote")
    live.let_it_look()
    assert len(live.creates()) == asked
    assert live.resting() == []
    step(live, clock, 0)
    live.until_quotes("it goes on by itself once its clock is right")
    live.judge()


# ---- E2 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_s", [-3, 3])
def test_E2_a_step_of_the_clock_moves_no_order_and_no_row(live: LiveCase, clock: MovingClock, by_s: int) -> None:
    """A create is on its way when the clock is set: it is waited for as long as it takes, by time that nobody sets."""
    live.pause()
    (fault,) = live.arm({"do": "delay", "delay_ms": LATE_MS, **PLACING, "times": 1})
    live.resume()
    live.until(lambda: live.intents("place"), "a create is on its way")
    step(live, clock, by_s)
    live.until_struck(fault)
    live.until_quotes("it quotes")
    assert "unknown" not in live.outcomes()
    filled = live.hit_some()
    live.until(lambda: any(fill.order_id == filled.order_id for fill in live.fills()), "it fills")
    live.judge()
    for fill in live.fills():
        stored_us = fill_time_us(live, fill.order_id, fill.trade_id)
        assert abs(stored_us - fill.at_us) < 1_000_000, "its row has the exchange's time"


@pytest.mark.parametrize("by_s", [-HOUR_S, HOUR_S])
def test_E2_a_clock_that_jumps_by_an_hour_stops_new_orders_and_loses_none(
    live: LiveCase, clock: MovingClock, by_s: int
) -> None:
    rested = {order.client_order_id for order in live.resting()}
    step(live, clock, by_s)
    asked = len(live.creates())
    live.until(live.trader.beat, "it lives")
    live.let_it_look(12)
    assert len(live.creates()) == asked, "nothing new leaves"
    for name in rested & {order.client_order_id for order in live.resting()}:
        assert live.told(name).status == "resting", "what rests is known to"
    step(live, clock, 0)
    live.until_quotes("it goes on by itself")
    live.judge()


def fill_time_us(live: LiveCase, order_id: str, trade_id: str) -> int:
    query = "SELECT extract(epoch FROM time) * 1000000 FROM traders_fill WHERE order_id = %s AND trade_id = %s"
    with psycopg.connect(live.rig.database_url) as connection:
        row = connection.execute(query, (order_id, trade_id)).fetchone()
    assert row is not None
    return int(row[0])
