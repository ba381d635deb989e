from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID
from markets.core.payouts import DENOMINATOR_MAX_BITS, FLOORED_BITS, Accrual, payout_ud
from markets.core.rewards import HOUR_US, Snapshot, score_snapshot, with_orders
from markets.core.scoring import OwnOrder
from markets.core.units import DOLLAR_UD
from tests.unit.markets.core.rewardbooks import a_program, no, yes

# Example 4's hour: $50, 1000 contracts; 100 of our YES contracts beside others'.
PROGRAM = a_program(period_reward_cc=500_000, end_us=HOUR_US)
OURS = yes("a", 6_000, 10_000)
OTHERS = ({6_000: 40_000, 5_900: 90_000}, {3_800: 50_000, 3_700: 80_000})


def snapshot(order: OwnOrder = OURS, *, market_open: bool = True) -> Snapshot:
    found = score_snapshot(CENT_GRID, with_orders(OTHERS, [order]), [order], PROGRAM, market_open=market_open)
    assert found is not None
    return found


def test_the_fourth_examples_hour_pays_what_it_says() -> None:
    accrual = Accrual(PROGRAM).after(snapshot(), seconds=2_400).after(snapshot(market_open=False), seconds=1_200)
    assert (accrual.observed_s, accrual.included_s, accrual.total_s) == (3_600, 2_400, 3_600)
    assert accrual.time_period_score == Fraction(1, 19)
    assert accrual.raw_ud == Fraction(100, 57) * DOLLAR_UD
    assert accrual.paid_ud() == 1_750_000


def test_the_published_check_comes_to_sixteen_dollars() -> None:
    program = a_program(end_us=10_000 * 1_000_000)
    accrual = Accrual(program, observed_s=10_000, included_s=8_000, share_s=Fraction(8_000, 5))
    assert accrual.time_period_score == Fraction(1, 5)
    assert accrual.paid_ud() == 16_000_000


def test_a_second_that_nobody_saw_adds_nothing_and_is_counted_as_unknown() -> None:
    seen = Accrual(PROGRAM).after(snapshot())
    blind = seen.after(None, seconds=30)
    assert (blind.observed_s, blind.unknown_s, blind.raw_ud) == (1, 30, seen.raw_ud)


def test_nothing_is_scored_before_a_second_is_included() -> None:
    accrual = Accrual(PROGRAM).after(snapshot(market_open=False))
    assert (accrual.time_period_score, accrual.raw_ud, accrual.paid_ud()) == (0, 0, 0)


def test_a_pool_that_is_not_published_pays_an_unknown_amount() -> None:
    accrual = Accrual(a_program(period_reward_cc=None)).after(snapshot())
    assert accrual.share_s > 0
    assert accrual.raw_ud is accrual.paid_ud() is accrual.projected_ud(Fraction(1), at_us=0) is None


@pytest.mark.parametrize(
    ("raw_ud", "paid_ud"),
    [
        (Fraction(9_345_794), 9_340_000),
        (Fraction(1_000_000), 1_000_000),  # at least $1.00 (R9)
        (Fraction(999_999), 0),
        (Fraction(3 * 10**6 - 1, 3), 0),
        (Fraction(0), 0),
    ],
)
def test_a_period_pays_whole_cents_from_a_dollar_on(raw_ud: Fraction, paid_ud: int) -> None:
    assert payout_ud(raw_ud, cap_cc=None) == paid_ud


def test_the_cap_comes_before_rounding_and_minimum() -> None:
    assert payout_ud(Fraction(5_000_000), cap_cc=12_399) == 1_230_000
    assert payout_ud(Fraction(5_000_000), cap_cc=9_999) == 0
    assert payout_ud(Fraction(5_000_000), cap_cc=60_000) == 5_000_000


def test_a_projection_tells_when_holding_on_pays_nothing() -> None:
    # Example 3: $30 over a week, 4/11 of it ours, so $0.0649 an hour.
    program = a_program(period_reward_cc=300_000, end_us=168 * HOUR_US)
    rate = Fraction(5, 77) * DOLLAR_UD
    late = Accrual(program).projected_ud(rate, at_us=156 * HOUR_US)
    assert late is not None
    assert (round(late), payout_ud(late, cap_cc=program.cap_cc)) == (779_221, 0)
    in_time = Accrual(program).projected_ud(rate, at_us=(168 * HOUR_US) - 154 * HOUR_US // 10)
    assert in_time == DOLLAR_UD
    assert payout_ud(in_time, cap_cc=program.cap_cc) == DOLLAR_UD


def test_a_projection_adds_the_rate_to_what_is_accrued_within_the_period_alone() -> None:
    accrual = Accrual(PROGRAM).after(snapshot(), seconds=1_800)
    rate = Fraction(DOLLAR_UD)
    assert accrual.raw_ud is not None
    assert accrual.projected_ud(rate, at_us=HOUR_US // 2) == accrual.raw_ud + DOLLAR_UD // 2
    assert accrual.projected_ud(rate, at_us=-HOUR_US) == accrual.raw_ud + DOLLAR_UD
    assert accrual.projected_ud(rate, at_us=2 * HOUR_US) == accrual.raw_ud
    assert accrual.projected_ud(None, at_us=0) is None


def test_a_lively_period_keeps_its_sum_small() -> None:
    accrual = Accrual(PROGRAM)
    for size_cx in random.Random(1).sample(range(1, 10**6), 300):
        accrual = accrual.after(snapshot(no("a", 3_700, size_cx)))
        assert accrual.share_s.denominator.bit_length() <= DENOMINATOR_MAX_BITS


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6))
def test_a_sum_that_is_kept_small_is_right_to_many_places(sizes: list[int]) -> None:
    bounded, exact = Accrual(PROGRAM, denominator_max_bits=20), Accrual(PROGRAM, denominator_max_bits=None)
    for size_cx in sizes:
        second = snapshot(no("a", 3_700, size_cx))
        bounded, exact = bounded.after(second), exact.after(second)
    assert 0 <= exact.share_s - bounded.share_s <= Fraction(len(sizes), 2**FLOORED_BITS)
