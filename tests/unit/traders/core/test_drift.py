"""A position that fills do not explain is found, and not before it has lasted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.settlement import Position
from markets.core.units import DOLLAR_CC, Side
from traders.core.drift import LASTING_US, WELL_BEFORE_US, Drift, outside_of, remembered


def ours(position_cx: int, cost_ud: int = 0) -> Position:
    return Position(position_cx=position_cx, cost_ud=cost_ud)


def known(ours_cx: int = 300, position_cx: int = 800) -> Drift:
    """Return one that has seen the account agree: 500 are somebody else's."""
    return Drift().on_position(position_cx, is_agreed=True).looked(ours(ours_cx), is_settled=True, now_us=0)


def test_what_was_there_before_is_not_ours() -> None:
    assert known().outside_cx == 500
    assert not known().is_news(LASTING_US * 10)


def test_our_fills_and_theirs_explain_a_change() -> None:
    drift = (
        known()
        .on_outside_fill(Side.YES, 4_000, 200)
        .on_outside_fill(Side.NO, 5_000, 100)
        .on_position(1_000, is_agreed=True)
    )

    assert drift.looked(ours(400), is_settled=True, now_us=1).since_us is None


def test_a_difference_counts_once_it_has_lasted() -> None:
    drift = known().on_position(900, is_agreed=True).looked(ours(300), is_settled=True, now_us=5)

    assert not drift.is_news(4 + LASTING_US)
    assert drift.is_news(5 + LASTING_US)
    assert drift.why(300) == ""
    told = drift.told()
    assert not told.is_news(5 + 2 * LASTING_US)
    assert told.why(300) == "the account holds 900 cx, 300 of ours and 500 of others explain it"


def test_it_is_over_once_both_agree_again() -> None:
    drift = known().on_position(900, is_agreed=True).looked(ours(300), is_settled=True, now_us=0).told()

    assert drift.looked(ours(300), is_settled=False, now_us=1).why(300)  # nothing was compared
    assert drift.looked(ours(400), is_settled=True, now_us=2).why(400) == ""


def test_what_is_on_its_way_or_disputed_is_not_compared() -> None:
    moved = known().on_position(900, is_agreed=True)

    assert moved.looked(ours(300), is_settled=False, now_us=0).since_us is None
    waiting = moved.looked(ours(300), is_settled=True, now_us=0)
    assert waiting.since_us == 0
    assert waiting.looked(ours(300), is_settled=False, now_us=1).since_us is None
    assert known().on_position(900, is_agreed=False).looked(ours(300), is_settled=True, now_us=0).since_us is None


# What others hold costs what the venue says, and what nobody says is a dollar each


@pytest.mark.parametrize(
    ("position_cx", "cost_ud", "mine", "left"),
    [
        (1_000, 4_000_000, ours(0), ours(1_000, 4_000_000)),
        (-1_000, 6_000_000, ours(0), ours(-1_000, 6_000_000)),
        (1_000, None, ours(0), ours(1_000, 10_000_000)),
        (1_000, 4_000_000, ours(300, 1_500_000), ours(700, 2_500_000)),
        (1_000, 4_000_000, ours(300, 4_500_000), ours(700, 0)),
        (500, 2_000_000, ours(-300, 1_500_000), ours(800, 8_000_000)),  # netted: their part of it is not told
        (500, 2_000_000, ours(800, 3_000_000), ours(-300, 3_000_000)),
        (0, 0, ours(0), ours(0)),
        (300, 1_200_000, ours(300, 900_000), ours(0)),
    ],
)
def test_what_is_not_ours_costs_the_venues_figure_less_what_we_paid(
    position_cx: int, cost_ud: int | None, mine: Position, left: Position
) -> None:
    assert outside_of(position_cx, cost_ud, mine) == left


@given(
    position_cx=st.integers(-10_000, 10_000),
    cost_ud=st.none() | st.integers(0, 10**8),
    ours_cx=st.integers(-10_000, 10_000),
    ours_ud=st.integers(0, 10**8),
)
def test_no_contract_is_said_to_have_cost_less_than_nothing_or_more_than_a_dollar(
    position_cx: int, cost_ud: int | None, ours_cx: int, ours_ud: int
) -> None:
    left = outside_of(position_cx, cost_ud, ours(ours_cx, ours_ud))
    assert left.position_cx == position_cx - ours_cx
    assert 0 <= left.cost_ud <= abs(left.position_cx) * DOLLAR_CC


def test_their_fills_change_what_theirs_has_cost() -> None:
    drift = Drift().on_position(1_000, 4_000_000, is_agreed=True).looked(ours(0), is_settled=True, now_us=0)
    assert drift.on_outside_fill(Side.YES, 5_000, 200).outside.cost_ud == 5_000_000  # type: ignore[union-attr]
    sold = drift.on_outside_fill(Side.NO, 7_000, 500).outside
    assert sold is not None
    assert (sold.position_cx, sold.cost_ud) == (500, 2_000_000)


def test_a_cost_that_nobody_kept_is_a_dollar_each() -> None:
    assert remembered(None, None) is None
    assert remembered(-300, None) == ours(-300, 3_000_000)
    assert remembered(-300, 100) == ours(-300, 100)


def test_a_fill_from_well_before_is_in_what_was_there_already() -> None:
    """A store that began anew, or a desk that did, has everything told once more."""
    learnt_us = 10**12
    drift = Drift().on_position(800, is_agreed=True).looked(ours(300), is_settled=True, now_us=learnt_us)
    assert drift.on_outside_fill(Side.YES, 4_000, 200, time_us=learnt_us - WELL_BEFORE_US - 1) == drift
    for fresh_us in (learnt_us - WELL_BEFORE_US, learnt_us + 5, 0):
        assert drift.on_outside_fill(Side.YES, 4_000, 200, time_us=fresh_us).outside_cx == 700
