from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi.clock import SECOND_US, Dated, Offset, VenueTime, learn, offset

START_US = 1_795_337_400_000_000  # the venue's wall clock when our monotonic clock says 0


def answers(trips: list[tuple[int, int, int]], *, ahead_us: int = 0) -> VenueTime | None:
    """Return what is learnt from answers whose `Date` is made `out` after sending and received `back` later.

    Args:
        trips: (pause, out, back) in microseconds.
    """
    known, now_us = None, 0
    for pause_us, out_us, back_us in trips:
        sent_us = now_us + pause_us
        made_us = sent_us + out_us
        now_us = made_us + back_us
        known = learn(known, Dated((START_US + ahead_us + made_us) // SECOND_US, sent_us, now_us))
    return known


def seen(known: VenueTime | None, *, ours_us: int = START_US) -> Offset:
    """Return the offset with a wall clock of ours that said `ours_us` at monotonic 0."""
    assert known is not None
    return offset(known, wall_us=ours_us + known.as_of_us, monotonic_us=known.as_of_us)


TRIP = st.tuples(st.integers(0, 3 * SECOND_US), st.integers(0, 400_000), st.integers(0, 400_000))


@given(st.lists(TRIP, min_size=1, max_size=40), st.integers(-400 * SECOND_US, 400 * SECOND_US))
def test_E1_the_truth_never_lies_outside_the_bounds(trips: list[tuple[int, int, int]], ahead_us: int) -> None:
    found = seen(answers(trips, ahead_us=ahead_us))
    assert found.low_us <= ahead_us <= found.high_us
    assert abs(found.estimate_us - ahead_us) <= found.error_us


def test_E1_one_answer_knows_a_second_and_many_know_far_better() -> None:
    trips = [(137_000, 10_000, 10_000)] * 60
    one, many = seen(answers(trips[:1])), seen(answers(trips))
    assert one.error_us == 510_000
    assert many.error_us < 60_000


def test_E1_a_good_clock_is_never_warned_of() -> None:
    for count in range(1, 40):
        assert not seen(answers([(311_000, 20_000, 30_000)] * count)).must_warn


@pytest.mark.parametrize("ahead_s", [-300, -35, -5, -1, 1, 5, 35, 300])
def test_E1_a_wrong_clock_is_warned_of_at_1_s_and_stops_writes_at_5_s(ahead_s: int) -> None:
    found = seen(answers([(137_000, 5_000, 5_000)] * 60, ahead_us=ahead_s * SECOND_US))
    assert found.must_warn
    assert found.must_stop is (abs(ahead_s) >= 5)


def test_E2_a_step_of_our_clock_shows_without_a_new_answer() -> None:
    known = answers([(137_000, 5_000, 5_000)] * 60)
    assert abs(seen(known).estimate_us) < 60_000
    assert abs(seen(known, ours_us=START_US - 35 * SECOND_US).estimate_us - 35 * SECOND_US) < 60_000


def test_what_is_known_grows_stale() -> None:
    known = answers([(137_000, 5_000, 5_000)] * 60)
    assert known is not None
    later = known.at(known.as_of_us + 3_600 * SECOND_US)
    assert later.high_us - later.low_us == known.high_us - known.low_us + 720_000


def test_a_venue_whose_clock_jumped_is_believed_anew() -> None:
    before = answers([(137_000, 5_000, 5_000)] * 60)
    assert before is not None
    now_us = before.as_of_us + SECOND_US
    after = learn(before, Dated((START_US + now_us + 60 * SECOND_US) // SECOND_US, now_us, now_us + 10_000))
    assert 59 * SECOND_US <= seen(after).estimate_us <= 61 * SECOND_US
