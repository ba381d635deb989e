"""Row B14: a venue that accepts and hangs up at once, with waits cut to a hundredth: else it would take an hour."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from feed.link import ALERT_ATTEMPTS, Waits
from kalshimm.runtime.backoff import delay_s
from tests.faults.rig import Case, Options

PERCENT = 1


@pytest.fixture(scope="module")
def rig_options() -> Options:
    return Options(waits_percent=PERCENT)


@pytest.mark.parametrize("times", [8, pytest.param(100, marks=pytest.mark.long)])
def test_B14_attempts_follow_the_back_off_raise_an_alert_and_leave_one_connection(case: Case, times: int) -> None:
    case.arm({"do": "close_at_once", "times": times})
    case.rig.control("POST", "/clients/close", {"account": "owner", "code": 1013})
    case.until_applied(times + 1)
    case.judge(faults=times + 1)
    told = re.findall(r"Attempt (\d+) follows in ([\d.]+) s", case.output(case.rig.gateway))
    attempts = [int(attempt) for attempt, _ in told]
    assert len(attempts) >= times
    # On a busy machine a connection may last a hundredth of ten seconds: it was a good one, and the count begins anew.
    # The first may count on: the case before may have ended with a connection that had just come up.
    assert all(attempt in (1, before + 1) for before, attempt in pairwise(attempts)), attempts
    waits = Waits().scaled(PERCENT)
    for attempt, (_, wait) in zip(attempts, told, strict=True):
        full = delay_s(attempt, first_s=waits.reconnect_first_s, most_s=waits.reconnect_most_s, jitter=0.0)
        assert full / 2 - 0.01 <= float(wait) <= full + 0.01, "printed to a hundredth of a second"
    assert case.alerts().count("FEED_DOWN") == attempts.count(ALERT_ATTEMPTS), "one an outage"
    clients = case.rig.control("GET", "/state")["clients"]
    assert [sorted(s["channel"] for s in client["subscriptions"]) for client in clients] == [
        ["market_lifecycle_v2", "orderbook_delta", "ticker", "trade"]
    ]
    case.until_alert_is_stored("FEED_DOWN")
