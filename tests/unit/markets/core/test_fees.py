from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.fees import (
    COARSE,
    DIRECT_PRECISION_UD,
    FINE,
    FINE_SINCE_US,
    INDIRECT_PRECISION_UD,
    Charge,
    FeeSchedule,
    FeeTerms,
    Generation,
    OrderRounding,
    charged_fee,
    model_fee_ud,
    predicted_fee_ud,
)
from markets.core.units import DOLLAR_CC

NOW_US = FINE_SINCE_US
QUADRATIC = FeeTerms(FeeSchedule("quadratic", 10_000))
MAKER_FEES = FeeTerms(FeeSchedule("quadratic_with_maker_fees", 10_000))


def charge(terms: FeeTerms = QUADRATIC, **changes: Any) -> Charge:
    fill = {"is_taker": True, "price_cc": 5000, "count_cx": 100, "at_us": NOW_US}
    found = charged_fee(terms, changes.pop("rounding", OrderRounding()), **(fill | changes))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("fee_type", "taker_ud", "maker_ud"),
    [
        ("quadratic", 17_500, 0),
        ("quadratic_with_maker_fees", 17_500, 4_375),
        ("quadratic_with_combo_maker_fees", 17_500, 8_750),
    ],
)
def test_the_type_sets_what_taker_and_maker_pay(fee_type: str, taker_ud: int, maker_ud: int) -> None:
    terms = FeeTerms(FeeSchedule(fee_type, 10_000))
    fill = {"price_cc": 5000, "count_cx": 100, "at_us": NOW_US}
    assert model_fee_ud(terms, is_taker=True, **fill) == taker_ud
    assert model_fee_ud(terms, is_taker=False, **fill) == maker_ud


@pytest.mark.parametrize("fee_type", ["flat", "a_type_of_tomorrow"])
def test_it_refuses_to_guess_a_type_it_does_not_know(fee_type: str) -> None:
    terms = FeeTerms(FeeSchedule(fee_type, 10_000))
    fill = {"is_taker": True, "price_cc": 5000, "count_cx": 100, "at_us": NOW_US}
    assert predicted_fee_ud(terms, **fill) is None
    assert charged_fee(terms, OrderRounding(), **fill) is None


def test_the_multiplier_scales_the_makers_fee_too() -> None:
    half = FeeTerms(FeeSchedule("quadratic_with_maker_fees", 5000))
    assert model_fee_ud(half, is_taker=False, price_cc=5000, count_cx=100, at_us=NOW_US) == Fraction(4_375, 2)


def test_the_overrides_of_an_event_win_over_its_series() -> None:
    series, override = FeeSchedule("quadratic", 10_000), FeeSchedule("quadratic_with_maker_fees", 5000)
    assert FeeTerms.resolve(series, override).schedule == override
    assert FeeTerms.resolve(series, None).schedule == series


def test_a_waived_fill_costs_nothing_until_the_waiver_expires() -> None:
    waived = FeeTerms.resolve(QUADRATIC.schedule, waived_until_us=NOW_US + 1)
    assert charge(waived, at_us=NOW_US).fee_ud == 0
    assert charge(waived, at_us=NOW_US + 1).fee_ud == 17_500


def test_the_published_maker_example_is_met_for_both_kinds_of_member() -> None:
    fill = {"is_taker": False, "price_cc": 5000, "count_cx": 10_000}
    assert charge(MAKER_FEES, **fill).fee_ud == 437_500
    assert charge(MAKER_FEES, **fill, precision_ud=INDIRECT_PRECISION_UD).fee_ud == 440_000


def test_the_trade_fee_is_rounded_up_to_the_unit_of_its_generation() -> None:
    fill = {"is_taker": False, "price_cc": 3700, "count_cx": 700}  # raw $0.02855475
    assert charge(MAKER_FEES, **fill, generation=COARSE).trade_fee_ud == 28_600
    assert charge(MAKER_FEES, **fill, generation=FINE).trade_fee_ud == 28_555


def test_the_date_chooses_the_generation() -> None:
    fill = {"is_taker": False, "price_cc": 3700, "count_cx": 700}
    assert charge(MAKER_FEES, **fill, at_us=FINE_SINCE_US - 1).trade_fee_ud == 28_600
    assert charge(MAKER_FEES, **fill, at_us=FINE_SINCE_US).trade_fee_ud == 28_555


def test_a_fill_of_a_hundredth_pays_up_to_the_precision_and_gets_it_back() -> None:
    first = charge(price_cc=5000, count_cx=1)  # model $0.000175, revenue −$0.005
    assert (first.trade_fee_ud, first.rounding_fee_ud, first.fee_ud) == (175, 25, 200)
    fees, rounding = [], OrderRounding()
    for _ in range(8):
        fill = charge(price_cc=5000, count_cx=1, rounding=rounding)
        fees.append(fill.fee_ud)
        rounding = fill.rounding
    assert fees == [200, 200, 200, 100, 200, 200, 200, 100]
    assert rounding.gathered_ud == 0


def test_a_rebate_never_makes_a_fee_negative() -> None:
    free = charge(is_taker=False, rounding=OrderRounding(5_000))
    assert (free.fee_ud, free.rebate_ud, free.rounding.gathered_ud) == (0, 0, 5_000)


terms = st.builds(
    lambda fee_type, bps: FeeTerms(FeeSchedule(fee_type, bps)),
    st.sampled_from(["quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees"]),
    st.sampled_from([0, 3_333, 5_000, 10_000, 20_000]),
)
fills = st.lists(
    st.tuples(st.booleans(), st.integers(1, DOLLAR_CC - 1), st.integers(1, 10**7)), min_size=1, max_size=12
)
precisions = st.sampled_from([DIRECT_PRECISION_UD, INDIRECT_PRECISION_UD])
generations = st.sampled_from([COARSE, FINE])


@given(terms, fills, precisions, generations)
def test_fees_and_rounding_add_up_to_the_micro_dollar(
    terms: FeeTerms, fills: list[tuple[bool, int, int]], precision_ud: int, generation: Generation
) -> None:
    rounding, paid_ud, trade_fees_ud = OrderRounding(), 0, 0
    for is_taker, price_cc, count_cx in fills:
        fill = {"is_taker": is_taker, "price_cc": price_cc, "count_cx": count_cx}
        found = charge(terms, rounding=rounding, precision_ud=precision_ud, generation=generation, **fill)
        assert found.fee_ud >= 0
        assert (price_cc * count_cx + found.fee_ud) % precision_ud == 0, "balances keep the account's precision"
        model_ud = model_fee_ud(terms, at_us=NOW_US, **fill)
        assert model_ud is not None
        assert 0 <= found.trade_fee_ud - model_ud < generation.trade_fee_unit_ud
        paid_ud += found.fee_ud
        trade_fees_ud += found.trade_fee_ud
        rounding = found.rounding
    assert paid_ud == trade_fees_ud + rounding.gathered_ud, "what was rounded away is paid, gathered or given back"


@given(st.booleans(), st.integers(1, DOLLAR_CC - 1), st.integers(1, 10**7), precisions)
def test_closing_at_a_price_rounds_as_opening_there(
    is_taker: bool, price_cc: int, count_cx: int, precision_ud: int
) -> None:
    found = charge(is_taker=is_taker, price_cc=price_cc, count_cx=count_cx, precision_ud=precision_ud)
    closing_revenue_ud = (DOLLAR_CC - price_cc) * count_cx
    change_ud = (closing_revenue_ud - found.trade_fee_ud) // precision_ud * precision_ud
    assert found.rounding_fee_ud == closing_revenue_ud - found.trade_fee_ud - change_ud


@given(terms, st.booleans(), st.integers(1, DOLLAR_CC - 1), st.integers(1, 10**7), precisions)
def test_the_prediction_is_the_charge_of_one_whole_fill(
    terms: FeeTerms, is_taker: bool, price_cc: int, count_cx: int, precision_ud: int
) -> None:
    fill = {"is_taker": is_taker, "price_cc": price_cc, "count_cx": count_cx, "precision_ud": precision_ud}
    assert predicted_fee_ud(terms, at_us=NOW_US, **fill) == charge(terms, **fill).fee_ud
