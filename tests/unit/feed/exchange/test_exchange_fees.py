"""The exchange's own fee reference against the figures Kalshi has charged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.trading.fees import PRECISION_UD, charge, model_fee_ud


def taker_fee_ud(price_cc: int, count_cx: int = 100) -> int:
    model = model_fee_ud(
        fee_type="quadratic", multiplier_bps=10_000, is_taker=True, yes_price_cc=price_cc, count_cx=count_cx
    )
    return charge(revenue_ud=-price_cc * count_cx, trade_fee_ud=model, gathered_ud=0).fee_ud


@pytest.mark.parametrize(("price_cc", "fee_ud"), [(5_200, 17_500), (9_900, 700)])
def test_a_taker_pays_what_the_recorded_fills_paid(price_cc: int, fee_ud: int) -> None:
    assert taker_fee_ud(price_cc) == fee_ud


@pytest.mark.parametrize(
    ("fee_type", "model_ud"),
    [("quadratic", 0), ("quadratic_with_maker_fees", 4_375), ("quadratic_with_combo_maker_fees", 8_750)],
)
def test_a_maker_pays_the_share_of_the_fee_type(fee_type: str, model_ud: int) -> None:
    assert (
        model_fee_ud(fee_type=fee_type, multiplier_bps=10_000, is_taker=False, yes_price_cc=5_000, count_cx=100)
        == model_ud
    )


def test_the_model_fee_is_rounded_up_to_a_micro_dollar() -> None:
    # 0.07 × 0.01 × 0.33 × 0.67 = 0.00015477 dollars
    assert (
        model_fee_ud(fee_type="quadratic", multiplier_bps=10_000, is_taker=True, yes_price_cc=3_300, count_cx=1) == 155
    )


def test_half_a_multiplier_halves_the_fee() -> None:
    assert (
        model_fee_ud(fee_type="quadratic", multiplier_bps=5_000, is_taker=True, yes_price_cc=5_000, count_cx=100)
        == 8_750
    )


@given(st.lists(st.tuples(st.integers(1, 9_999), st.integers(1, 50_000), st.booleans()), min_size=1, max_size=30))
def test_rounding_gathers_per_order_and_never_costs_a_whole_step(fills: list[tuple[int, int, bool]]) -> None:
    gathered = models = fees = 0
    for price, count, is_taker in fills:
        model = model_fee_ud(
            fee_type="quadratic", multiplier_bps=10_000, is_taker=is_taker, yes_price_cc=price, count_cx=count
        )
        result = charge(revenue_ud=-price * count, trade_fee_ud=model, gathered_ud=gathered)
        assert result.fee_ud >= 0
        assert (-price * count - result.fee_ud) % PRECISION_UD == 0
        gathered, models, fees = result.gathered_ud, models + model, fees + result.fee_ud
    assert fees == models + gathered
