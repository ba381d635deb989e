"""How fast requests leave after some were held back (faults.md C6)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi.errors import HeldBack, NeverSent, RateLimited
from traders.brokers.pace import AT_ONCE_MOST, Pace

NOW_US = 1_790_000_000_000_000
LIMITED = RateLimited(429, "", "")


def held_back(wait_s: float | None, fits: int = 0) -> HeldBack:
    return HeldBack("ask", "BUDGET_SPENT", wait_s, fits)


def test_what_the_budget_holds_back_waits_as_long_as_it_says_and_what_fits_may_go() -> None:
    pace = Pace().held(held_back(0.5, fits=2), 5, NOW_US, jitter=0.0)
    assert (pace.room(NOW_US), pace.why(NOW_US)) == (2, "")
    pace = pace.took(2, NOW_US)
    assert (pace.room(NOW_US + 499_999), pace.room(NOW_US + 500_000)) == (0, AT_ONCE_MOST)
    assert pace.why(NOW_US) == "BUDGET_SPENT: held back a moment ago"


def test_a_single_request_that_was_held_back_does_not_fit_whatever_the_budget_says() -> None:
    assert Pace().held(held_back(0.5, fits=3), 1, NOW_US, jitter=0.0).room(NOW_US) == 0


def test_a_request_that_will_never_fit_is_not_asked_for_in_a_loop() -> None:
    pace = Pace().held(held_back(None), 1, NOW_US, jitter=0.0)
    assert (pace.room(NOW_US + 999_999), pace.room(NOW_US + 1_000_000)) == (0, AT_ONCE_MOST)


def test_C6_after_a_429_it_backs_off_and_halves_the_batch_until_an_answer_comes() -> None:
    pace, waits_us, mosts = Pace(), [], []
    for count in (8, 4, 2, 1, 1, 1):
        pace = pace.held(LIMITED, count, NOW_US, jitter=0.0)
        waits_us.append(pace.until_us - NOW_US)
        mosts.append(pace.most)
    assert waits_us == [100_000, 200_000, 400_000, 800_000, 1_600_000, 2_000_000]
    assert mosts == [4, 2, 1, 1, 1, 1]
    again = pace.went().held(LIMITED, 8, NOW_US, jitter=0.0)
    assert (again.until_us - NOW_US, again.most) == (100_000, 4)


def test_without_a_way_to_the_venue_it_backs_off_up_to_five_seconds() -> None:
    pace, waits_us = Pace(), []
    for _ in range(7):
        pace = pace.held(NeverSent("away"), 1, NOW_US, jitter=0.0)
        waits_us.append(pace.until_us - NOW_US)
    assert waits_us == [250_000, 500_000, 1_000_000, 2_000_000, 4_000_000, 5_000_000, 5_000_000]


HELD = st.one_of(
    st.builds(held_back, st.one_of(st.none(), st.floats(0, 60)), st.integers(0, 30)),
    st.just(LIMITED),
    st.just(NeverSent("away")),
)


@given(st.lists(st.tuples(HELD, st.integers(1, 20), st.floats(0, 1)), max_size=30))
def test_after_whatever_was_held_back_fewer_fit_than_were_held_and_in_time_at_least_one_may_go(
    history: list[tuple[HeldBack, int, float]],
) -> None:
    pace = Pace()
    for exc, count, jitter in history:
        pace = pace.held(exc, count, NOW_US, jitter=jitter)
        assert pace.room(NOW_US) < count or pace.until_us == NOW_US
        assert pace.room(pace.until_us) >= 1
