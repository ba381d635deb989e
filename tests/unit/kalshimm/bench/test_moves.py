"""A market whose best bid moves at a steady cadence, and which order answers which move. No test looks at a clock."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kalshimm.bench import moves
from kalshimm.bench.moves import Arrival, Due, Move
from markets.core.units import DOLLAR_CC, NO, YES

EVERY, RUNGS = 10, 6
LAP = 2 * EVERY * RUNGS


def test_after_a_lap_the_book_is_as_it_began_and_never_crossed() -> None:
    tape = moves.tape(LAP, every=EVERY)
    (book,) = tape.books_at(0)
    for delta in tape.deltas:
        book.apply(delta.side, delta.price_cc, delta.delta_cx)  # raises below zero
        assert not book.is_crossed
    assert book.levels == tape.books_at(0)[0].levels


def test_the_bid_climbs_a_tick_at_a_time_and_comes_down_again() -> None:
    found = moves.moves(moves.tape(LAP, every=EVERY))
    up = [moves.FIRST_BID_CC + step * moves.TICK_CC for step in range(RUNGS + 1)]
    assert [move.bid_cc for move in found] == [*up[1:], *up[-2::-1]]


def test_moves_keep_their_cadence_over_the_end_of_a_lap() -> None:
    found = [move.number for move in moves.played(moves.moves(moves.tape(LAP, every=EVERY)), LAP, 0, 3 * LAP)]
    assert len(found) == 3 * 2 * RUNGS
    assert {after - before for before, after in itertools.pairwise(found)} == {EVERY - 1, EVERY, EVERY + 1}


def test_nothing_else_moves_the_touch_opens_or_empties_a_level() -> None:
    tape = moves.tape(LAP, every=EVERY)
    moving = {move.number for move in moves.moves(tape)}
    (book,) = tape.books_at(0)
    changed = 0
    for number, delta in enumerate(tape.deltas):
        before = list(book.best_cc)
        book.apply(delta.side, delta.price_cc, delta.delta_cx)
        if number not in moving:
            assert list(book.best_cc) == before
            assert (delta.side, delta.price_cc) != (YES, before[YES])  # what rests there may not have filled
            changed += delta.delta_cx < 0
        assert min(book.levels[YES].values()) >= moves.LEAST_CX
        assert min(book.levels[NO].values()) >= moves.LEAST_CX
        assert book.best_cc[NO] == DOLLAR_CC - moves.ASK_CC
    assert 0 < changed < len(tape.deltas)


@pytest.mark.parametrize(
    ("deltas", "every"), [(0, 10), (30, 10), (25, 10), (2, 1), (2 * 10 * (moves.RUNGS_MOST + 1), 10)]
)
def test_a_lap_that_has_no_such_moves_is_refused(deltas: int, every: int) -> None:
    with pytest.raises(ValueError, match="a lap has"):
        moves.tape(deltas, every=every)


def test_the_highest_rung_still_leaves_the_book_uncrossed() -> None:
    tape = moves.tape(2 * 2 * moves.RUNGS_MOST, every=2)
    assert max(move.bid_cc for move in moves.moves(tape)) == moves.ASK_CC - moves.TICK_CC


@given(first=st.integers(0, 3 * LAP), count=st.integers(0, 2 * LAP))
@settings(max_examples=100)
def test_a_play_from_the_middle_has_the_moves_of_the_whole(first: int, count: int) -> None:
    told = moves.moves(moves.tape(LAP, every=EVERY))
    whole = [(move.number, move.bid_cc) for move in moves.played(told, LAP, 0, first + count)]
    part = [(first + move.number, move.bid_cc) for move in moves.played(told, LAP, first, count)]
    assert part == [(number, bid_cc) for number, bid_cc in whole if number >= first]


def delays(moved: list[tuple[float, int]], came: list[tuple[float, int]]) -> list[float]:
    found = moves.delays_us([Due(*one) for one in moved], [Arrival(*one) for one in came])
    return [round(one, 3) for one in found]


def test_an_order_answers_the_move_that_its_price_names() -> None:
    assert delays([(1.0, 3_100), (2.0, 3_200)], [(1.001, 3_100), (2.002, 3_200)]) == [1_000.0, 2_000.0]


def test_an_order_that_comes_after_the_next_move_answers_its_own() -> None:
    assert delays([(1.0, 3_100), (2.0, 3_200)], [(2.5, 3_100), (2.6, 3_200)]) == [1_500_000.0, 600_000.0]


def test_only_the_first_order_of_a_price_answers_a_move() -> None:
    assert delays([(1.0, 3_100)], [(1.5, 3_100), (1.6, 3_100)]) == [500_000.0]


def test_of_two_moves_to_one_price_an_order_answers_the_newer() -> None:
    assert delays([(1.0, 3_100), (2.0, 3_200), (3.0, 3_100)], [(3.5, 3_100)]) == [500_000.0]


def test_an_order_before_its_move_or_of_another_price_answers_nothing() -> None:
    assert delays([(1.0, 3_100)], [(0.9, 3_100), (1.1, 3_000)]) == []


def test_figures_are_those_of_delays_that_were_seen() -> None:
    told = moves.figures("limit_", [float(number) for number in range(101, 0, -1)])
    assert told == {"limit_p50_us": 51.0, "limit_p90_us": 91.0, "limit_p99_us": 100.0}
    assert set(moves.figures("", [7.0]).values()) == {7.0}


def test_moves_say_which_delta_makes_them() -> None:
    assert moves.moves(moves.tape(4, every=2)) == [Move(1, 3_100), Move(2, 3_000)]
