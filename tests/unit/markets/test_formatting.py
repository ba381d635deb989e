from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import formatting as fmt

THIN = "\u202f"


@pytest.mark.parametrize(
    ("price_cc", "shown"),
    [(5_700, "57¢"), (5_730, "57.3¢"), (5_735, "57.35¢"), (1, "0.01¢"), (10_000, "100¢"), (-250, "−2.5¢"), (0, "0¢")],
)
def test_a_price_is_cents_with_decimals_only_on_finer_grids(price_cc: int, shown: str) -> None:
    assert fmt.price(price_cc) == shown


@pytest.mark.parametrize(
    ("count_cx", "shown"),
    [(0, "0"), (40_000, "400"), (124_000, f"1{THIN}240"), (1_250, "12.5"), (1_205, "12.05"), (-7_500, "−75")],
)
def test_contracts_have_decimals_only_if_fractional(count_cx: int, shown: str) -> None:
    assert fmt.contracts(count_cx) == shown


def test_a_position_carries_its_sign_and_flat_has_none() -> None:
    assert [fmt.contracts(c, plus=True) for c in (8_500, -7_500, 0)] == ["+85", "−75", "0"]


@pytest.mark.parametrize(
    ("value_ud", "shown"),
    [
        (1_234_560_000, "$1,234.56"),
        (-125_710_000, "−$125.71"),
        (0, "$0.00"),
        (5_000, "$0.00"),
        (15_000, "$0.02"),
        (5_001, "$0.01"),
        (-4_999, "$0.00"),
        (-5_001, "−$0.01"),
    ],
)
def test_money_is_rounded_to_the_cent_halves_to_even(value_ud: int, shown: str) -> None:
    assert fmt.dollars(value_ud) == shown


def test_a_gain_shows_a_plus_and_nothing_shows_none() -> None:
    assert [fmt.dollars(v, plus=True) for v in (14_620_000, -4_870_000, 0)] == ["+$14.62", "−$4.87", "$0.00"]
    assert fmt.amount(6_180_000, plus=True) == "+6.18"


@pytest.mark.parametrize(("hundredths", "shown"), [(5_400, "54.0"), (5_407, "54.1"), (0, "0.0"), (10_000, "100.0")])
def test_a_percentage_has_one_decimal(hundredths: int, shown: str) -> None:
    assert fmt.percent(hundredths) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0 s"),
        (41, "41 s"),
        (772, "12 m 52 s"),
        (120_420, "33 h 27 m"),
        (1_530_000, "17 d 17 h"),
    ],
)
def test_a_duration_shows_its_two_largest_units(seconds: int, shown: str) -> None:
    assert fmt.duration(seconds) == shown


@pytest.mark.parametrize(
    ("milliseconds", "shown"), [(-5, "0 ms"), (41, "41 ms"), (1_240, "1.2 s"), (12_900, "12 s"), (65_000, "1 m 5 s")]
)
def test_an_age_is_finer_the_younger_it_is(milliseconds: int, shown: str) -> None:
    assert fmt.age(milliseconds) == shown


@pytest.mark.parametrize(("milliseconds", "shown"), [(-5, "0.0 s"), (240, "0.2 s"), (9_950, "9.9 s"), (31_000, "31 s")])
def test_a_beat_is_aged_in_tenths_of_a_second(milliseconds: int, shown: str) -> None:
    assert fmt.beat_age(milliseconds) == shown


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_money_shown_never_differs_by_more_than_half_a_cent(value_ud: int) -> None:
    text = fmt.amount(value_ud).replace(",", "").replace(fmt.MINUS, "-")
    whole, _, cents = text.partition(".")
    shown_ud = (abs(int(whole)) * 100 + int(cents)) * fmt.CENT_UD * (-1 if text.startswith("-") else 1)
    assert abs(shown_ud - value_ud) * 2 <= fmt.CENT_UD
