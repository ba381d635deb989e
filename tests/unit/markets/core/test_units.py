from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.units import (
    DOLLAR_CC,
    Side,
    format_count,
    format_dollars,
    format_price,
    parse_count,
    parse_price,
    yes_price_cc,
)


@given(st.integers(0, DOLLAR_CC))
def test_a_price_survives_its_wire_form(price_cc: int) -> None:
    assert parse_price(format_price(price_cc)) == price_cc


@given(st.integers(-(10**12), 10**12))
def test_a_count_survives_its_wire_form(count_cx: int) -> None:
    assert parse_count(format_count(count_cx)) == count_cx


@pytest.mark.parametrize(
    ("value_ud", "text"), [(0, "0.000000"), (1, "0.000001"), (-17_500, "-0.017500"), (12_000_000, "12.000000")]
)
def test_an_amount_has_six_decimals_on_the_wire(value_ud: int, text: str) -> None:
    assert format_dollars(value_ud) == text


@pytest.mark.parametrize(
    ("text", "price_cc"),
    [("0.42", 4200), ("0.480", 4800), ("0.0010", 10), ("1", 10_000), ("1.0000", 10_000), ("0.420000", 4200)],
)
def test_it_reads_every_number_of_decimals_the_venue_uses(text: str, price_cc: int) -> None:
    assert parse_price(text) == price_cc


@pytest.mark.parametrize(
    "text", ["", ".", "0.", ".5", "abc", "NaN", "1e-2", "0.42 ", "0.00001", "1.0001", "-0.1", "٠.٥", "0,4"]
)
def test_it_refuses_what_is_no_price(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


@pytest.mark.parametrize(("text", "count_cx"), [("12.00", 1200), ("-2.5", -250), ("0.01", 1), ("7", 700)])
def test_it_reads_counts_with_and_without_fraction(text: str, count_cx: int) -> None:
    assert parse_count(text) == count_cx


def test_it_refuses_a_count_finer_than_a_hundredth() -> None:
    with pytest.raises(ValueError, match="more than 2 decimals"):
        parse_count("1.005")


@given(st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1))
def test_the_yes_price_of_a_yes_price_is_the_own_price(side: Side, price_cc: int) -> None:
    assert yes_price_cc(side, yes_price_cc(side, price_cc)) == price_cc
