"""Rows of parts A and B that take the connection or the gateway away: cuts, silence, lag, refusals, death."""

from __future__ import annotations

from typing import Any

import pytest

from feed import schema
from tests.faults.rig import Case

CHANNELS = ["market_lifecycle_v2", "orderbook_delta", "ticker", "trade"]


def subscriptions(case: Case) -> list[list[str]]:
    """Return the channels of each connection that the exchange holds."""
    clients = case.rig.control("GET", "/state")["clients"]
    return [sorted(s["channel"] for s in client["subscriptions"]) for client in clients]


def close(case: Case, code: int) -> None:
    case.rig.control("POST", "/clients/close", {"account": "owner", "code": code})


def conn(case: Case) -> int:
    """Return the connection that readers see in the newest feed entry."""
    return case.rig.watch.feeds[-1][1].conn


def heals_with_a_new_epoch(case: Case, before: int, *, faults: int = 1) -> None:
    """Judge the row, and that there is one connection with everything subscribed once, and another than before."""
    case.judge(faults=faults)
    assert conn(case) not in (0, before)
    assert subscriptions(case) == [CHANNELS]
    assert [gap for gap in case.gaps("connection began") if gap.conn == conn(case)]


def all_have_distrusted(case: Case) -> None:
    case.until(lambda: case.distrusted() == set(case.rig.tickers), "every reader distrusts its book for a while")


# ---- B1, B2, B3 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [1006, 1012, *(pytest.param(code, marks=pytest.mark.long) for code in (1001, 1011, 1013))]
)
def test_B1_a_closed_connection_comes_back_with_all_subscriptions_in_a_new_epoch(case: Case, code: int) -> None:
    before = conn(case)
    close(case, code)
    all_have_distrusted(case)
    heals_with_a_new_epoch(case, before)
    assert case.gaps("closed")


def test_B1_a_reset_connection_comes_back_with_all_subscriptions_in_a_new_epoch(case: Case) -> None:
    before = conn(case)
    case.rig.ws.reset()
    all_have_distrusted(case)
    heals_with_a_new_epoch(case, before)


def test_B2_a_cut_between_snapshots_leaves_no_book_valid_without_its_own(case: Case) -> None:
    before = conn(case)
    case.arm({"do": "close", "type": "orderbook_snapshot", "code": 1006, "skip": 6})
    close(case, 1012)
    case.until_applied(2)
    heals_with_a_new_epoch(case, before, faults=2)


def test_B2_a_cut_within_a_snapshot_leaves_no_book_valid_without_its_own(case: Case) -> None:
    before = conn(case)
    case.arm({"do": "cut_frame", "type": "orderbook_snapshot", "bytes": 60, "skip": 5})
    close(case, 1012)
    case.until_applied(2)
    heals_with_a_new_epoch(case, before, faults=2)


@pytest.mark.parametrize("directions", [(), ("down",)], ids=["both", "down"])
def test_B3_a_connection_without_frame_or_ping_is_dropped(case: Case, directions: Any) -> None:
    before = conn(case)
    case.rig.ws.black_hole(*directions)
    case.until(lambda: "silent for" in case.output(case.rig.gateway), "the gateway gives the connection up")
    case.until_invalid()
    case.rig.ws.pass_all()
    heals_with_a_new_epoch(case, before)
    assert case.gaps("silent for")


# ---- B10, B13 --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["orderbook_delta", "trade", "ticker"])
def test_B10_a_subscription_that_overflowed_is_subscribed_again(case: Case, kind: str) -> None:
    before = conn(case)
    case.arm({"do": "fail", "type": kind, "code": 25})
    case.until_applied()
    case.until(lambda: case.gaps("25"), "a gap row that names the error")
    case.until(lambda: subscriptions(case) == [CHANNELS], "the channel is subscribed again")
    if kind == "orderbook_delta":
        all_have_distrusted(case)
    case.judge()
    assert conn(case) == before, "the connection was a good one"


def test_B13_a_refused_market_is_invalid_with_its_reason_and_the_others_live(case: Case) -> None:
    ticker, others = case.rig.tickers[0], set(case.rig.tickers[1:])
    refuse = {"do": "refuse", "cmd": "subscribe", "code": 11, "market_tickers": [ticker], "rest": True}
    case.arm({**refuse, "skip": 1, "times": 3})  # each market channel, not the lifecycle's
    close(case, 1012)
    case.until_applied(4)
    case.until(lambda: not any(case.rig.watch.why[other] for other in others), "the others are valid")
    case.until(lambda: case.gaps("refused by the venue: 11"), "a gap row with the reason")
    case.judge(faults=4)  # it is asked for again after a pause
    asked = case.output(case.rig.gateway).count("action=subscription_refused")
    assert asked == 3, "once a channel: no storm"


def test_B13_a_market_limit_leaves_nothing_in_a_storm(case: Case) -> None:
    case.arm({"do": "refuse", "cmd": "subscribe", "code": 26, "skip": 1, "times": 3})
    close(case, 1012)
    case.until_applied(4)
    case.judge(faults=4)
    assert case.output(case.rig.gateway).count("action=subscription_refused") == 3


def test_B13_a_command_rate_limit_is_waited_out(case: Case) -> None:
    case.arm({"do": "refuse", "cmd": "subscribe", "code": 27, "skip": 1})
    close(case, 1012)
    case.until_applied(2)
    case.judge(faults=2)
    assert not case.gaps("refused")


# ---- A10 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "away_s", [0, 2, pytest.param(5, marks=pytest.mark.long), pytest.param(60, marks=pytest.mark.long)]
)
def test_A10_a_dead_gateway_is_seen_by_every_reader_and_leaves_gap_rows(case: Case, away_s: float) -> None:
    before = conn(case)
    case.rig.gateway.kill()
    killed_us = case.log.faults[-1].at_us
    if away_s:
        case.until_invalid(within_s=schema.FEED_ENTRY_MAX_S + 3)
        case.wait(away_s - schema.FEED_ENTRY_MAX_S)
    case.rig.gateway.start()
    case.until(lambda: conn(case) not in (0, before), "a new epoch")
    heals_with_a_new_epoch(case, before)
    assert not [s for s in case.sights() if s.conn == before and s.at_us > killed_us + 2_000_000]
