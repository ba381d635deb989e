from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.queue import Proof, QueuePlace, buffer_pct, read

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


# --- cancels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead_bps", "ahead_cx"), [(None, 150), (0, 300), (2_500, 200), (10_000, 0)])
def test_the_part_of_a_cancel_ahead_of_us_is_pro_rata_or_as_told(ahead_bps: int | None, ahead_cx: int) -> None:
    place = QueuePlace(300, 300).after_cancel(400, level_cx=800, ahead_bps=ahead_bps)
    assert place.ahead_cx == ahead_cx


@given(counts, counts, st.none() | st.integers(0, 10_000), st.data())
def test_a_cancel_leaves_no_more_ahead_than_the_level_holds_and_brings_nobody(
    ahead_cx: int, behind_cx: int, ahead_bps: int | None, data: st.DataObject
) -> None:
    level_cx = ahead_cx + behind_cx + 1
    count_cx = data.draw(st.integers(1, level_cx))
    place = QueuePlace(ahead_cx, 0).after_cancel(count_cx, level_cx=level_cx, ahead_bps=ahead_bps)
    assert max(0, ahead_cx - count_cx) <= place.ahead_cx <= min(ahead_cx, level_cx - count_cx)


def test_buffer_kept_compares_the_buffer_with_that_at_rest() -> None:
    place = QueuePlace.at_rest(level_cx=300, better_cx=500)
    assert place.buffer_kept_bps(500) == 10_000
    assert place.after_print(100)[0].buffer_kept_bps(100) == 3_750
    assert QueuePlace.at_rest(level_cx=0, better_cx=0).buffer_kept_bps(10) is None


# --- the venue's number -----------------------------------------------------------------------------------------------

WORKED = {"better_cx": 50_000, "level_cx": 20_000}  # market_making.md, end of section 2


def test_the_worked_readings_prove_what_they_mean_and_come_to_the_same() -> None:
    assert read(15_000, **WORKED) == (15_000, Proof.EXCLUDES)
    assert read(65_000, **WORKED) == (15_000, Proof.INCLUDES)


@pytest.mark.parametrize("includes_better", [None, False, True])
def test_a_proof_goes_before_the_setting(includes_better: bool | None) -> None:
    assert read(15_000, **WORKED, includes_better=includes_better)[0] == 15_000
    assert read(65_000, **WORKED, includes_better=includes_better)[0] == 15_000


@pytest.mark.parametrize(("includes_better", "ahead_cx"), [(None, 150), (False, 150), (True, 50)])
def test_without_a_proof_the_setting_decides_and_excludes_by_default(
    includes_better: bool | None, ahead_cx: int
) -> None:
    assert read(150, 100, 200, includes_better=includes_better) == (ahead_cx, None)


def test_our_own_contracts_are_not_ahead_of_us() -> None:
    assert read(180, 1_000, 200, own_ahead_cx=30) == (150, Proof.EXCLUDES)
    assert read(1_280, 1_000, 200, own_ahead_cx=30, own_better_cx=100) == (150, Proof.INCLUDES)


def test_own_contracts_at_our_price_prove_nothing() -> None:
    assert read(225, 100, 200, own_ahead_cx=30)[1] is None
    assert read(231, 100, 200, own_ahead_cx=30)[1] is Proof.INCLUDES


def test_a_reading_that_fits_neither_goes_by_the_setting() -> None:
    assert read(500, 1_000, 200) == (200, Proof.CONFLICT)
    assert read(500, 1_000, 200, includes_better=True) == (0, Proof.CONFLICT)


def test_nothing_better_proves_nothing() -> None:
    assert read(500, 0, 200) == (200, None)


@given(counts, counts, counts, counts, counts, st.booleans(), st.none() | st.booleans())
def test_a_true_reading_is_read_right_where_it_proves_or_is_set_right(
    ahead_cx: int, behind_cx: int, better_cx: int, own_ahead_cx: int, own_better_cx: int, truth: bool, told: bool | None
) -> None:
    level_cx = ahead_cx + behind_cx
    reading_cx = ahead_cx + own_ahead_cx + (better_cx + own_better_cx if truth else 0)
    read_cx, proof = read(reading_cx, better_cx, level_cx, own_ahead_cx, own_better_cx, includes_better=told)
    assert 0 <= read_cx <= level_cx
    assert proof in (None, Proof.INCLUDES if truth else Proof.EXCLUDES)
    if proof is not None or bool(told) is truth:
        assert read_cx == ahead_cx
