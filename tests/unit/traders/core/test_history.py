from __future__ import annotations

import pytest

from markets.core.units import Side
from traders.core.history import KEPT_MOST, KEPT_US, History, Print, Touch

SECOND_US = 1_000_000


def a_print(time_us: int, taker_side: Side = Side.YES) -> Print:
    return Print(time_us, 4_200, 100, taker_side)


def printed(*times_us: int) -> History:
    history = History()
    for time_us in times_us:
        history.note_print(a_print(time_us))
    return history


def touched(*touches: tuple[int, int, int]) -> History:
    history = History()
    for touch in touches:
        history.note_touch(*touch)
    return history


def test_a_print_met_orders_of_the_side_its_taker_did_not_buy_on() -> None:
    assert a_print(1, Side.YES).maker_side is Side.NO
    assert a_print(1, Side.NO).maker_side is Side.YES


def test_prints_are_read_from_the_newest_back_to_a_moment() -> None:
    history = printed(10, 20, 30)
    assert [happened.time_us for happened in history.prints_since(20)] == [30, 20]
    assert list(history.prints_since(31)) == []


def test_prints_older_than_what_is_kept_are_forgotten() -> None:
    history = printed(0, 1, KEPT_US + 1)
    assert [happened.time_us for happened in history.prints] == [1, KEPT_US + 1]


def test_a_busy_market_keeps_its_newest_prints() -> None:
    history = printed(*range(KEPT_MOST + 5))
    assert (len(history.prints), history.prints[0].time_us) == (KEPT_MOST, 5)


def test_a_touch_that_did_not_change_is_noted_once() -> None:
    history = touched((10, 4_000, 5_800), (20, 4_000, 5_800), (30, 4_100, 5_800), (40, 4_000, 5_800))
    assert [touch.time_us for touch in history.touches] == [10, 30, 40]


@pytest.mark.parametrize(("since_us", "times_us"), [(35, [30]), (30, [30]), (25, [30, 20]), (5, [30, 20, 10])])
def test_the_touch_that_stood_at_a_moment_is_read_with_those_after_it(since_us: int, times_us: list[int]) -> None:
    history = touched((10, 4_000, 5_800), (20, 4_100, 5_800), (30, 4_200, 5_700))
    assert [touch.time_us for touch in history.touches_since(since_us)] == times_us


def test_a_busy_market_keeps_its_newest_touches() -> None:
    history = touched(*((at, 4_000 + at % 2, 5_000) for at in range(KEPT_MOST + 5)))
    assert (len(history.touches), history.touches[0].time_us) == (KEPT_MOST, 5)


def test_a_lost_book_leaves_no_past() -> None:
    history = printed(10)
    history.note_touch(10, 4_000, 5_800)
    history.clear()
    assert list(history.prints_since(0)) == list(history.touches_since(0)) == []
    history.note_touch(20, 4_000, 5_800)
    assert len(history.touches) == 1


def test_the_mid_is_doubled_to_stay_whole_and_needs_both_sides() -> None:
    assert Touch(1, 4_000, 5_700).twice_mid_cc == 8_300  # 40¢ and 43¢
    assert Touch(1, 0, 5_700).twice_mid_cc is None
    assert Touch(1, 4_000, 0).twice_mid_cc is None
