from __future__ import annotations

from traders.core.turns import CALM_S, LATE_MOST_S, Turns

EVERY_S = 0.25


def turned(*at_s: float) -> Turns:
    turns = Turns(EVERY_S)
    for one_s in at_s:
        turns = turns.turned(one_s)
    return turns


def test_before_its_first_turn_a_loop_is_not_late() -> None:
    assert Turns(EVERY_S).too_late_s(1_000) == 0


def test_E6_a_loop_that_comes_a_little_late_is_on_time() -> None:
    assert turned(10, 10 + EVERY_S + LATE_MOST_S).too_late_s(11.5) == 0


def test_E6_a_turn_that_is_overdue_is_late_before_it_comes() -> None:
    turns = turned(10)
    assert turns.too_late_s(10 + EVERY_S + LATE_MOST_S) == 0
    assert turns.too_late_s(12.25) == 2


def test_E6_after_a_late_turn_it_must_be_on_time_for_a_while() -> None:
    turns = turned(10, 12.25)
    assert turns.too_late_s(12.25) == 2
    for tick in range(1, 20):
        now_s = 12.25 + tick * EVERY_S
        turns = turns.turned(now_s)
        assert turns.too_late_s(now_s) == 2, "not yet"
    assert turns.turned(12.25 + CALM_S).too_late_s(12.25 + CALM_S) == 0


def test_E6_a_loop_that_is_late_again_and_again_is_late_all_the_time() -> None:
    turns, now_s = turned(0), 0.0
    for number in range(30):
        now_s += 1.5 if number % 3 == 0 else EVERY_S
        turns = turns.turned(now_s)
        assert turns.too_late_s(now_s) == 1.25
