"""Rows of part B that spoil the order of messages: gaps, duplicates, swaps, repeated snapshots."""

from __future__ import annotations

import pytest

from tests.faults.rig import Case


@pytest.mark.parametrize("count", [1, 2, 100])
def test_B4_lost_messages_make_every_book_of_the_subscription_invalid_until_its_snapshot(
    case: Case, count: int
) -> None:
    case.arm({"do": "lose", "type": "orderbook_delta", "times": count})
    case.until_applied(count)
    case.until(lambda: case.distrusted("older connection or subscription") == set(case.rig.tickers), "all distrust")
    verdict = case.judge(faults=count)
    assert verdict.covered >= count
    assert case.gaps("sequence gap")
