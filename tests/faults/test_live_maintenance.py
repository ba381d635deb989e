"""Row F3 by the schedule: the clock of the whole rig stands shortly before the venue's weekly maintenance."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from feed.link import ALERT_ATTEMPTS
from tests.faults.base import OWNER
from tests.faults.ledger import CREATE
from tests.faults.liverig import LiveCase, LiveOptions
from tests.faults.livetrader import NO_GUARDS, STAYS, Plan
from tests.faults.shifted import shifted
from traders.core.pipeline import StrategyChoices

pytestmark = pytest.mark.long

NEW_YORK = ZoneInfo("America/New_York")
THURSDAY, BEGINS_HOUR = 3, 3
SECOND_US = 1_000_000
AHEAD_S = 600  # so far ahead it is when the rig starts
SOON_S = 10  # from a trader's start to when its schedule pulls its quotes
SHUT = ALERT_ATTEMPTS + 1  # attempts to connect that are turned away
SLOWER = 8  # at least; half of each wait is jitter
PULLED_WITHIN_US = 1_500_000


def last_maintenance_s() -> int:
    """Return when the newest weekly maintenance that has begun did so, in Unix seconds."""
    now = datetime.now(NEW_YORK)
    day = now - timedelta(days=(now.weekday() - THURSDAY) % 7)
    begin = day.replace(hour=BEGINS_HOUR, minute=0, second=0, microsecond=0)
    return int((begin if begin <= now else begin - timedelta(weeks=1)).timestamp())


BEGINS_S = last_maintenance_s()


@pytest.fixture(scope="module", autouse=True)
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Before the rig, and until it has ended."""
    with shifted(BEGINS_S - AHEAD_S - int(time.time()), tmp_path_factory.mktemp("clock")):
        yield


@pytest.fixture(scope="module")
def live_options(clock: None) -> LiveOptions:
    return LiveOptions(quick_leases=True, waits_percent=40, traders=(Plan(),))


def heeds_the_schedule(live: LiveCase) -> int:
    """Have the trader take the schedule into account, so early that it begins to soon; return that moment."""
    due_s = int(time.time()) + SOON_S
    guards = {**NO_GUARDS, "weekly_maintenance": True, "before_maintenance_s": BEGINS_S - due_s}
    live.trader.plan = msgspec.structs.replace(
        live.trader.plan, strategies=StrategyChoices(STAYS.placement, guards=guards)
    )
    live.restart()
    return due_s * SECOND_US


@pytest.mark.timeout(180)
def test_F3_quotes_are_pulled_before_the_maintenance_by_its_schedule(live_on: Any) -> None:
    live: LiveCase = live_on()
    due_us = heeds_the_schedule(live)
    pause_s = due_us // SECOND_US + 3
    live.rig.control("POST", "/maintenance", {"start_ts": pause_s, "end_ts": pause_s + 5, "halt": "exchange"})
    live.until(lambda: "weekly maintenance" in live.why(), "its schedule tells it to pull its quotes")
    live.until(lambda: not live.resting(), "they are pulled")
    pulled_us = [order.at_us for order in live.orders() if order.is_over and order.at_us >= due_us]
    assert pulled_us, "it quoted until then"
    assert max(pulled_us) < due_us + PULLED_WITHIN_US < pause_s * SECOND_US, "before the exchange takes them off"
    live.did("the schedule pulls the quotes")

    asked = len(live.requests("POST", CREATE))
    live.arm({"do": "close_at_once", "id": "shut", "code": 1012, "times": None})
    live.rig.control("POST", "/clients/close", {"account": OWNER, "code": 1012})
    live.until(lambda: len(waits_s(live)) >= SHUT, "the feed is tried again and again")
    live.until_struck("shut", times=SHUT)
    live.rig.control("DELETE", "/faults")
    first_s, *_, last_s = waits_s(live)
    assert last_s > SLOWER * first_s, "ever more slowly"
    assert live.alerts().count("FEED_DOWN") == 1, "one alert, however long it lasts"
    assert set(Counter(live.alerts()).values()) == {1}
    assert len(live.requests("POST", CREATE)) == asked, "nothing is tried meanwhile"

    live.let_it_look()
    assert live.resting() == [], "the maintenance is not over by the schedule"
    live.trader.plan = msgspec.structs.replace(live.trader.plan, strategies=STAYS)
    live.restart()
    live.judge()


def waits_s(live: LiveCase) -> list[float]:
    """Return how long the gateway has waited before each attempt to connect."""
    return [float(wait) for wait in re.findall(r"Attempt \d+ follows in ([\d.]+) s", live.output(live.rig.gateway))]
