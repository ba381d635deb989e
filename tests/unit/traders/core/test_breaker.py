"""C14, F13: a storm of refusals opens the breaker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.units import Side
from traders.core.breaker import MOST_OPEN_US, SAME_MOST, SECOND_US, Breaker, request
from traders.core.intents import Cancel, Place, Take

ASKED, CODE = "place bid 100 at 4000", "invalid_price"


def refused(times: int, breaker: Breaker = Breaker(), *, at_us: int = 0, code: str = CODE) -> Breaker:  # noqa: B008
    for _ in range(times):
        breaker = breaker.refused(ASKED, code, at_us)
    return breaker


def test_C14_the_same_request_refused_three_times_the_same_way_opens_it_for_a_minute() -> None:
    assert not refused(2).is_open(0)
    breaker = refused(3)
    assert breaker.is_open(60 * SECOND_US - 1)
    assert not breaker.is_open(60 * SECOND_US)
    assert (breaker.code, breaker.opened) == (CODE, 1)


def test_C14_refused_otherwise_or_otherwise_asked_is_not_the_same() -> None:
    breaker = Breaker()
    for number in range(3):
        breaker = breaker.refused(ASKED, f"code {number}", 0).refused(f"other {number}", CODE, 0)
    assert not breaker.is_open(0)


def test_C14_an_acceptance_in_between_begins_anew() -> None:
    breaker = refused(2).accepted(0)
    assert not refused(2, breaker).is_open(0)


def test_C14_refused_again_after_it_closed_it_opens_twice_as_long_each_time() -> None:
    breaker, at_us, spans = refused(3), 0, []
    for _ in range(9):
        spans.append((breaker.until_us - at_us) // SECOND_US)
        at_us = breaker.until_us
        breaker = breaker.refused("something else", "another code", at_us)
    assert spans == [60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]


def test_C14_accepted_after_it_closed_it_forgets_how_often_it_opened() -> None:
    breaker = refused(3)
    breaker = breaker.accepted(breaker.until_us)
    assert breaker == Breaker()
    assert not refused(2, breaker, at_us=10**9).is_open(10**9)


def test_C14_answers_to_what_was_sent_before_it_opened_neither_close_nor_prolong_it() -> None:
    breaker = refused(3)
    assert refused(5, breaker, at_us=SECOND_US).until_us == breaker.until_us
    assert breaker.accepted(SECOND_US).until_us == breaker.until_us
    assert breaker.accepted(SECOND_US).opened == 1


def test_F13_ten_refusals_in_a_row_the_same_way_open_it_though_each_asked_for_less() -> None:
    breaker = Breaker()
    for number in range(9):
        breaker = breaker.refused(f"place bid {900 - number} at 4000", "insufficient_balance", 0)
    assert not breaker.is_open(0)
    assert breaker.refused("place bid 1 at 4000", "insufficient_balance", 0).is_open(0)


def test_F13_another_code_in_between_breaks_the_row() -> None:
    breaker = Breaker()
    for number in range(20):
        breaker = breaker.refused(f"place {number}", f"code {number % 2}", 0)
    assert not breaker.is_open(0)


def test_it_remembers_a_bounded_number_of_kinds() -> None:
    breaker = Breaker()
    for number in range(500):
        breaker = breaker.refused(f"place {number}", f"code {number % 7}", 0)
    assert len(breaker.refusals) == 64


@given(st.lists(st.tuples(st.sampled_from(["refused", "accepted", "wait"]), st.integers(0, 4)), max_size=60))
def test_C14_it_is_never_open_longer_than_an_hour_and_only_after_refusals(steps: list[tuple[str, int]]) -> None:
    breaker, at_us, so_far = Breaker(), 0, 0
    for kind, number in steps:
        if kind == "refused":
            breaker, so_far = breaker.refused(f"place {number}", CODE, at_us), so_far + 1
        elif kind == "accepted":
            breaker = breaker.accepted(at_us)
        else:
            at_us += 10**number * SECOND_US
        assert breaker.until_us <= at_us + MOST_OPEN_US
        assert not breaker.is_open(at_us) or so_far >= SAME_MOST


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (Place(Side.YES, 4_000, 5, 7), Place(Side.YES, 4_000, 5, 99), True),
        (Place(Side.YES, 4_000, 5), Place(Side.YES, 4_000, 6), False),
        (Place(Side.YES, 4_000, 5), Place(Side.NO, 4_000, 5), False),
        (Place(Side.YES, 4_000, 5), Place(Side.YES, 4_001, 5), False),
        (Place(Side.YES, 4_000, 5), Take(Side.YES, 4_000, 5), False),
        (Cancel("V1", "a"), Cancel("V2", "b"), True),
    ],
)
def test_requests_are_the_same_by_side_price_and_size(one: Place, other: Place, is_same: bool) -> None:
    assert (request(one) == request(other)) is is_same
