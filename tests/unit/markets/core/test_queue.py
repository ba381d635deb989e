from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from markets.core.queue import QueuePlace, buffer_pct

counts = st.integers(0, 10**6)


def test_it_starts_behind_everything_shown() -> None:
    place = QueuePlace.at_rest(level_cx=200, better_cx=500)
    assert (place.ahead_cx, place.buffer_at_rest_cx) == (200, 700)


@given(counts, counts)
def test_a_print_uses_up_the_queue_before_it_reaches_us(level_cx: int, print_cx: int) -> None:
    place, reaches = QueuePlace.at_rest(level_cx=level_cx, better_cx=0).after_print(print_cx)
    assert place.ahead_cx == max(0, level_cx - print_cx)
    assert reaches == max(0, print_cx - level_cx)


@given(counts, st.lists(counts, max_size=10))
def test_no_more_is_ahead_than_others_ever_showed(level_cx: int, later: list[int]) -> None:
    place = QueuePlace.at_rest(level_cx=level_cx, better_cx=0)
    for size in later:
        place = place.after_level(size)
    assert place.ahead_cx == min([level_cx, *later])


def test_buffer_percent_follows_the_worked_example() -> None:
    # market_making.md, end of section 2: buffer 650, ours 100 -> 86.7 %
    assert buffer_pct(65_000, 10_000) == 8_666


def test_next_in_line_has_no_buffer() -> None:
    assert buffer_pct(0, 100) == 0


def test_buffer_percent_is_undefined_when_nothing_remains() -> None:
    assert buffer_pct(650, 0) is None
