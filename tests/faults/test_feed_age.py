"""Rows of parts A and B that are found by age, on a gateway with the waits of production."""

from __future__ import annotations

import pytest

from feed import schema
from tests.faults.rig import Case, Options


@pytest.fixture(scope="module")
def rig_options() -> Options:
    return Options(waits_percent=100)


def close(case: Case, code: int) -> None:
    case.rig.control("POST", "/clients/close", {"account": "owner", "code": code})


@pytest.mark.parametrize(
    "away_s", [3, pytest.param(10, marks=pytest.mark.long), pytest.param(30, marks=pytest.mark.long)]
)
def test_A11_B10_a_frozen_gateway_is_found_by_age_and_catches_up(case: Case, away_s: float) -> None:
    case.rig.gateway.freeze()
    case.until_invalid(within_s=schema.FEED_ENTRY_MAX_S + 3)
    assert case.distrusted("the feed is silent") == set(case.rig.tickers)
    case.wait(away_s - schema.FEED_ENTRY_MAX_S)
    case.rig.gateway.thaw()
    case.judge()


def test_B11_late_messages_are_not_trusted_and_raise_an_alert(case: Case) -> None:
    case.arm({"do": "slow", "delay_ms": 5_500})
    case.until_applied()
    case.until(lambda: case.distrusted("late") == set(case.rig.tickers), "every reader says so")
    case.until(lambda: "FEED_LATE" in case.alerts(), "an alert")
    close(case, 1001)  # the delay belongs to the connection
    case.judge(faults=2)
    case.until_alert_is_stored("FEED_LATE")


@pytest.mark.long
def test_B3_fifteen_seconds_of_silence_end_a_connection(case: Case) -> None:
    case.rig.ws.black_hole()
    case.until(lambda: "silent for 15 s" in case.output(case.rig.gateway), "the gateway gives the connection up")
    case.until_invalid()
    case.rig.ws.pass_all()
    case.judge()
