"""Rows of part B that spoil the order of messages: gaps, duplicates, swaps, repeated snapshots, malformed frames."""

from __future__ import annotations

from typing import Any

import pytest

from kalshimm.runtime.heartbeat import beat_key, decode_beat
from tests.faults.rig import Case

OLDER = "older connection or subscription"
SLOW_HEAL = {"do": "ignore", "cmd": "update_subscription"}  # the first request for snapshots: the harm stays in sight


def counters(case: Case) -> dict[str, int]:
    """Return what the gateway counts, by its newest beat."""
    value: Any = case.rig.redis.get(beat_key("gateway", "local"))
    return decode_beat(value).counters


def all_distrust(case: Case, reason: str) -> None:
    case.until(lambda: case.distrusted(reason) == set(case.rig.tickers), f"every reader says: {reason}")


# ---- B4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 100])
def test_B4_lost_deltas_make_every_book_of_the_subscription_invalid_until_its_snapshot(case: Case, count: int) -> None:
    case.arm({"do": "lose", "type": "orderbook_delta", "times": count}, SLOW_HEAL)
    case.until_applied(count + 1)
    all_distrust(case, OLDER)
    verdict = case.judge(faults=count + 1)
    assert verdict.covered >= count
    assert sum(gap.received - gap.expected for gap in case.gaps("sequence gap")) >= count


def test_B4_a_lost_print_is_a_gap_row_and_spoils_no_book(case: Case) -> None:
    case.arm({"do": "lose", "type": "trade"})
    case.until_applied()
    case.until(lambda: case.gaps("sequence gap"), "a gap row")
    case.judge()
    assert not case.distrusted()


def test_B4_lost_snapshots_leave_no_book_valid_without_one(case: Case) -> None:
    case.arm(
        {"do": "lose", "type": "orderbook_delta"},
        {"do": "lose", "type": "orderbook_snapshot", "times": 5},  # of those asked for
    )
    case.until_applied(6)
    all_distrust(case, OLDER)
    case.judge(faults=6)


# ---- B5, B6, B7 ------------------------------------------------------------------------------------------------------


def test_B5_a_repeated_message_counts_once(case: Case) -> None:
    before = counters(case).get("duplicates", 0)
    case.arm(
        {"do": "repeat", "type": "orderbook_delta", "times": 20},
        {"do": "repeat", "type": "trade", "times": 2},
    )
    case.until_applied(22)
    case.until(lambda: counters(case).get("duplicates", 0) >= before + 22, "all are counted")
    case.judge(faults=22)
    assert not case.distrusted()
    assert not case.gaps()


def test_B6_swapped_neighbours_are_a_gap_that_heals(case: Case) -> None:
    # What follows may be a ticker, and no neighbour of this subscription: until one is followed by another delta.
    case.arm({"do": "swap", "type": "orderbook_delta", "times": 1_000, "chance": 0.3}, SLOW_HEAL)
    all_distrust(case, OLDER)
    case.rig.control("DELETE", "/faults")
    case.judge(faults=2)
    assert case.gaps("sequence gap")


def test_B6_a_message_half_a_second_late_is_a_gap_that_heals(case: Case) -> None:
    case.arm({"do": "hold", "type": "orderbook_delta", "delay_ms": 500}, SLOW_HEAL)
    case.until_applied(2)
    all_distrust(case, OLDER)
    case.until(lambda: len(case.gaps("sequence gap")) >= 2, "the gap, and the late one")
    case.judge()


def test_B7_an_unasked_snapshot_replaces_the_book_whole(case: Case) -> None:
    case.arm({"do": "renew", "type": "orderbook_delta", "times": 20})
    case.until_applied(20)
    case.judge(faults=20)
    assert not case.distrusted()
    assert not case.gaps()


def test_B7_a_snapshot_behind_its_deltas_heals(case: Case) -> None:
    case.arm(
        {"do": "lose", "type": "orderbook_delta"},
        {"do": "hold", "type": "orderbook_snapshot", "delay_ms": 300},
    )
    case.until_applied(2)
    all_distrust(case, OLDER)
    case.judge(faults=2)


def test_B7_a_repeated_snapshot_counts_once(case: Case) -> None:
    case.arm(
        {"do": "renew", "type": "orderbook_delta"},
        {"do": "repeat", "type": "orderbook_snapshot"},
    )
    case.until_applied(2)
    case.judge(faults=2)
    assert not case.distrusted()


# ---- B8 ------------------------------------------------------------------------------------------------------------

PRICE, DELTA = '"price_dollars":"[^"]*"', '"delta_fp":"[^"]*"'
READABLE = {  # the number can be read: this one book is spoilt
    "a price that is null": (PRICE, '"price_dollars":null'),
    "a price that is no number": (PRICE, '"price_dollars":"NaN"'),
    "a price of nothing": (PRICE, '"price_dollars":"0.0000"'),
    "a price above a dollar": (PRICE, '"price_dollars":"1.0100"'),
    "a price finer than the grid of prices": (PRICE, '"price_dollars":"0.12345"'),
    "a size that is no number": (DELTA, '"delta_fp":"much"'),
    "a side nobody knows": ('"side":"[^"]*"', '"side":"maybe"'),
}
UNREADABLE = {
    "a price of a wrong type": (PRICE, '"price_dollars":[]'),
    "a literal NaN": (DELTA, '"delta_fp":NaN'),
    "a missing price": (PRICE + ",", ""),
    "a missing market": ('"market_ticker":"[^"]*",', ""),
    "cut JSON": ("}}$", ""),
}


def arm_each(case: Case, malformations: dict[str, tuple[str, str]]) -> set[str]:
    """Let each malformation meet a delta of a market of its own; return the markets."""
    tickers = case.rig.tickers[: len(malformations)]
    for ticker, (pattern, by) in zip(tickers, malformations.values(), strict=True):
        case.arm({"do": "alter", "type": "orderbook_delta", "ticker": ticker, "pattern": pattern, "by": by})
    return set(tickers)


def test_B8_malformed_deltas_are_kept_raw_and_each_spoils_its_own_book(case: Case) -> None:
    tickers = arm_each(case, READABLE)
    case.until_applied(len(READABLE))
    case.until(lambda: case.distrusted("malformed frame") == tickers, "their readers say why")
    case.judge(faults=len(READABLE))
    assert len(case.malformed()) == len(READABLE)
    assert case.distrusted() == tickers


def test_B8_frames_that_cannot_be_read_are_kept_raw_and_their_gaps_heal(case: Case) -> None:
    arm_each(case, UNREADABLE)
    case.until_applied(len(UNREADABLE))
    case.judge(faults=len(UNREADABLE))
    assert len(case.malformed()) == len(UNREADABLE)
    assert case.gaps("sequence gap")


def test_B8_a_frame_that_is_no_text_is_kept_raw_and_its_gap_heals(case: Case) -> None:
    case.arm({"do": "garble", "type": "orderbook_delta", "hex": "ff7b7d"}, SLOW_HEAL)
    case.until_applied(2)
    all_distrust(case, OLDER)
    case.judge()
    assert [row.frame for row in case.malformed()] == [bytes.fromhex("ff7b7d")]


def test_B8_a_level_below_zero_spoils_its_book_alone(case: Case) -> None:
    case.arm({"do": "alter", "type": "orderbook_delta", "pattern": DELTA, "by": '"delta_fp":"-99999999.00"'})
    case.until_applied()
    case.until(lambda: case.distrusted("negative level"), "its reader says why")
    case.judge(altered=1)
    assert len(case.distrusted()) == 1


def test_B8_an_unknown_type_is_ignored_and_counted(case: Case) -> None:
    before = counters(case).get("ignored", 0)
    case.arm({"do": "inject", "text": '{"type":"brand_new","msg":{"x":1}}', "times": 3})
    case.until_applied(3)
    case.until(lambda: counters(case).get("ignored", 0) >= before + 3, "all are counted")
    case.judge(faults=3)
    assert not case.distrusted()


# ---- B9, B12 ---------------------------------------------------------------------------------------------------------


def test_B9_a_snapshot_above_a_mebibyte_is_taken(case: Case) -> None:
    case.arm(
        {"do": "lose", "type": "orderbook_delta"},
        {"do": "pad", "type": "orderbook_snapshot", "bytes": 3 << 20},
    )
    case.until_applied(2)
    case.judge(faults=2)
    assert not case.gaps("closed")


CROSSING = {"do": "alter", "type": "orderbook_delta", "pattern": f'{PRICE},{DELTA},"side":"[^"]*"'}
CROSSED = '"price_dollars":"0.9900","delta_fp":"5.00","side":"yes"'


def test_B12_a_book_that_stays_crossed_is_asked_for_once(case: Case) -> None:
    ticker = case.rig.tickers[0]
    case.arm({**CROSSING, "ticker": ticker, "by": CROSSED})
    case.until_applied()
    case.until(lambda: case.distrusted("crossed past its time stamp") == {ticker}, "its reader says why")
    case.judge(altered=1)
    assert case.distrusted() == {ticker}


def test_B12_a_book_that_is_crossed_again_at_once_is_paused(case: Case) -> None:
    ticker = case.rig.tickers[1]
    # All true levels stay: on a book without them the next delta might fall below zero, which heals it.
    opened, crossed = r'"yes_dollars_fp":\[', '"yes_dollars_fp":[["0.9900","5.00"],'
    case.arm(
        {**CROSSING, "ticker": ticker, "by": CROSSED},
        {"do": "alter", "type": "orderbook_snapshot", "ticker": ticker, "pattern": opened, "by": crossed},
    )
    case.until_applied(2)
    case.until(lambda: case.distrusted("paused") == {ticker}, "its market is paused")
    assert case.distrusted() == {ticker}
    case.rig.control("POST", "/clients/close", {"account": "owner", "code": 1001})  # only a new connection helps
    case.judge(faults=3, altered=2)
