"""Row E6: a live trader gets a core too seldom, or only what others leave."""

from __future__ import annotations

import os
import sys

import pytest

from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import IMPROVES, Plan
from tests.faults.processes import crowded, starved
from traders.core.turns import LATE_MOST_S

pytestmark = pytest.mark.long

# Shorter than the feed may be silent: what it reads after each pause counts as good, and is old.
STOPPED_S, RUNNING_S = 1.35, 0.1
SLICES = 5
SPINNERS = 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="module")
def live_options() -> LiveOptions:
    return LiveOptions(quick_leases=True, traders=(Plan(strategies=IMPROVES),))


def lag_ms(live: LiveCase) -> int:
    beat = live.trader.beat()
    return beat.lag_ms if beat else 0


def test_E6_a_trader_that_gets_a_core_too_seldom_quotes_nothing_and_says_why(live: LiveCase) -> None:
    with starved(live.trader.worker, live.log, stopped_s=STOPPED_S, running_s=RUNNING_S):
        live.until(lambda: "its own loop comes" in live.why(), "it says so")
        live.until(lambda: not live.resting(), "it pulls its quotes")
        live.until(lambda: lag_ms(live) > LATE_MOST_S * 1_000, "its beat shows how late it comes")
        asked = len(live.creates())
        live.wait(SLICES * (STOPPED_S + RUNNING_S))
        assert len(live.creates()) == asked, "nor does it quote whenever it has a slice"
        assert live.resting() == []
    live.until_quotes("it quotes again once it has its turns")
    live.judge()


@pytest.mark.skipif(sys.platform != "linux", reason="the lowest priority is Linux' own")
def test_E6_a_trader_that_has_what_others_leave_shows_how_late_it_comes_and_decides_on_nothing_old(
    live: LiveCase,
) -> None:
    """However much that is; it quotes, or it does not: what it places is judged by the book of that moment."""
    with crowded(live.trader.worker, live.log, spinners=SPINNERS):
        live.until(lambda: lag_ms(live) > 0, "its beat shows how late it comes")
        for _ in range(3):
            live.pause()
            live.resume()
            live.until_quotes()
    os.sched_setscheduler(live.trader.worker.pid, os.SCHED_OTHER, os.sched_param(0))
    live.judge()
