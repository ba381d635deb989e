"""Whose a cancel was, by what came to a level and left it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import Side
from traders.core.paperlines import Lines, part_ahead_bps

LEVEL, OTHER = (Side.YES, 4_000), (Side.NO, 5_800)
COUNTS = st.integers(1, 4)  # few sizes: several orders often share one


def a_book(yes_cx: int = 300, no_cx: int = 200) -> OrderBook:
    book = OrderBook()
    book.replace([(4_000, yes_cx)] if yes_cx else [], [(5_800, no_cx)] if no_cx else [])
    return book


def lines_with(*counts_cx: int, lump_cx: int = 300) -> Lines:
    """Return a level that began as a lump, number 1, and to which so much came since: numbers 2, 3, …"""
    lines = Lines()
    lines.begin(a_book(lump_cx), 1)
    for number, count_cx in enumerate(counts_cx, start=2):
        lines.came(LEVEL, count_cx, number)
    return lines


def left(lines: Lines, count_cx: int, *, before: int = 100) -> list[int]:
    return [arrival.number for arrival in lines.left(LEVEL, count_cx, before=before)]


def test_a_cancel_of_the_size_of_one_arrival_was_that_one() -> None:
    lines = lines_with(120, 70, 50)
    assert left(lines, 70) == [3]
    assert left(lines, 50) == [4]


def test_arrivals_of_one_size_are_all_to_choose_from_and_the_youngest_is_taken_to_be_gone() -> None:
    lines = lines_with(70, 50, 70)
    assert left(lines, 70) == [2, 4]
    assert left(lines, 70) == [2]


def test_a_size_that_nobody_brought_left_the_lump_that_was_there_before() -> None:
    lines = lines_with(120, 70)
    assert left(lines, 90) == [1]
    lines.traded(LEVEL, 210)
    assert left(lines, 10) == [], "the lump is used up, and this was a part of an order"


def test_an_arrival_of_its_size_is_likelier_than_the_lump() -> None:
    assert left(lines_with(120, lump_cx=120), 120) == [2]


def test_who_came_after_a_cancel_was_not_it() -> None:
    lines = lines_with(70, 70)
    assert left(lines, 70, before=3) == [2]


def test_a_print_meets_the_front() -> None:
    lines = lines_with(120, 70)
    lines.traded(LEVEL, 300 + 20)
    assert left(lines, 120) == [], "20 of it have traded"
    assert left(lines_with(120, 70, lump_cx=0), 120) == [2]


def test_a_snapshot_that_shows_what_is_known_changes_nothing_and_any_other_makes_a_lump() -> None:
    lines = lines_with(120)
    lines.agree(a_book(400), {LEVEL: 20}, 50)
    assert left(lines, 120) == [2]
    lines.agree(a_book(299), {}, 60)
    assert left(lines, 120) == [60]
    lines.agree(a_book(0), {}, 70)
    assert left(lines, 1) == []


def test_levels_of_both_sides_are_apart() -> None:
    lines = lines_with(70)
    lines.came(OTHER, 70, 9)
    assert left(lines, 70) == [2]


@pytest.mark.parametrize(
    ("numbers", "guess_bps", "part_bps"),
    [
        ((2,), None, 10_000),
        ((8,), None, 0),
        ((2, 8), None, 5_000),
        ((2, 8, 9), None, 3_333),
        ((), None, None),
        ((2,), 0, 10_000),
        ((8,), 10_000, 0),
        ((2, 8), 10_000, 10_000),
        ((), 2_500, 2_500),
    ],
)
def test_what_is_known_goes_before_the_setting_and_the_setting_before_a_guess(
    numbers: tuple[int, ...], guess_bps: int | None, part_bps: int | None
) -> None:
    lines = lines_with(lump_cx=0)
    for number in numbers:
        lines.came(LEVEL, 70, number)
    assert part_ahead_bps(lines.left(LEVEL, 70, before=100), 5, guess_bps) == part_bps


@pytest.mark.parametrize(("number", "guess_bps", "part_bps"), [(5, None, 10_000), (0, None, None), (5, 0, 0)])
def test_a_lump_was_ahead_of_whoever_came_later_and_says_nothing_of_whoever_was_part_of_it(
    number: int, guess_bps: int | None, part_bps: int | None
) -> None:
    assert part_ahead_bps(lines_with().left(LEVEL, 70, before=100), number, guess_bps) == part_bps


@given(st.lists(st.tuples(st.sampled_from(["came", "traded", "left"]), COUNTS), max_size=40))
@settings(max_examples=200)
def test_nobody_is_lost_or_made_up(steps: list[tuple[str, int]]) -> None:
    lines, shown_cx = lines_with(lump_cx=3), 3
    for number, (kind, count_cx) in enumerate(steps, start=2):
        if kind == "came":
            lines.came(LEVEL, count_cx, number)
            shown_cx += count_cx
        elif gone_cx := min(count_cx, shown_cx):
            shown_cx -= gone_cx
            if kind == "traded":
                lines.traded(LEVEL, gone_cx)
            else:
                lines.left(LEVEL, gone_cx, before=number)
    assert sum(arrival.count_cx for arrival in lines.at(LEVEL)) == shown_cx
    assert all(arrival.count_cx > 0 for arrival in lines.at(LEVEL))
    assert [arrival.number for arrival in lines.at(LEVEL)] == sorted(arrival.number for arrival in lines.at(LEVEL))
