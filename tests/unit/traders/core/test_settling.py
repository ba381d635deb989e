from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from traders.core.settling import (
    CANCEL_SPACING_MOST_US,
    MARGIN_US,
    OVERDUE_US,
    SECOND_US,
    SPACING_US,
    Doubt,
    Misses,
    cancel_spacing_us,
)

TIMES = st.integers(0, 20 * SECOND_US)


@given(TIMES, st.lists(st.tuples(TIMES, TIMES), max_size=8))
def test_C2_no_misses_are_proof_but_two_apart_both_newer_than_the_last_chance(
    left_us: int, looks: list[tuple[int, int]]
) -> None:
    misses = Misses()
    looks.sort(key=lambda look: look[1])
    for as_of_us, looked_us in looks:
        misses = misses.after(left_us, as_of_us, looked_us)
    good = [look for look in looks if look[0] > left_us + MARGIN_US]
    is_possible = any(
        later[1] - one[1] >= SPACING_US and later[0] > one[0] for one in good for later in good
    )  # fmt: skip
    assert is_possible or not misses.is_proof


def test_C2_a_miss_exactly_at_the_margin_does_not_count() -> None:
    assert Misses().after(0, MARGIN_US, MARGIN_US).count == 0
    assert Misses().after(0, MARGIN_US + 1, MARGIN_US).count == 1


def test_C4_a_second_miss_by_the_same_state_of_the_reads_does_not_count() -> None:
    one = Misses().after(0, 3 * SECOND_US, 3 * SECOND_US)
    assert one.after(0, 3 * SECOND_US, 9 * SECOND_US) == one
    assert one.after(0, 4 * SECOND_US, 9 * SECOND_US).is_proof


def test_a_request_that_may_yet_leave_is_not_missed() -> None:
    assert Misses().after(None, 9 * SECOND_US, 9 * SECOND_US) == Misses()


def test_a_doubt_is_overdue_after_a_minute_until_it_is_told() -> None:
    doubt = Doubt.begun("why", 0)
    assert not doubt.is_news_overdue(OVERDUE_US - 1)
    assert doubt.is_news_overdue(OVERDUE_US)
    assert not Doubt("why", 0, 0, is_told=True).is_news_overdue(OVERDUE_US)


def test_cancels_are_spaced_wider_and_wider_up_to_a_limit() -> None:
    spaces = [cancel_spacing_us(tries) for tries in range(1, 40)]
    assert [us // SECOND_US for us in spaces[:6]] == [1, 2, 4, 8, 15, 15]
    assert max(spaces) == CANCEL_SPACING_MOST_US
