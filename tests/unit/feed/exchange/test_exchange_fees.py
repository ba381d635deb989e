"""Fees of the local exchange against the published examples and against figures Kalshi has charged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.catalog import FeeTerms
from feed.exchange.trading.fees import CENT_UD, DIRECT_UD, Charge, Generation, charge, trade_fee_ud
from markets.core.units import Side, format_dollars, parse_count, parse_price, yes_price_cc

QUADRATIC = FeeTerms("quadratic", 10_000)
WITH_MAKER = FeeTerms("quadratic_with_maker_fees", 10_000)
GENERATIONS: tuple[Generation, ...] = ("1e-6", "1e-4")


def taker_charge(price_cc: int, count_cx: int, *, terms: FeeTerms = QUADRATIC, **rules: Any) -> Charge:
    generation = rules.get("generation", "1e-6")
    fee = trade_fee_ud(terms, is_taker=True, yes_price_cc=price_cc, count_cx=count_cx, generation=generation)
    return charge(revenue_ud=-price_cc * count_cx, trade_fee_ud=fee, **{"gathered_ud": 0, **rules})


@pytest.mark.parametrize(
    ("fee_type", "fee_ud"),
    [("quadratic", 0), ("quadratic_with_maker_fees", 4_375), ("quadratic_with_combo_maker_fees", 8_750)],
)
def test_a_maker_pays_the_share_of_the_fee_type(fee_type: str, fee_ud: int) -> None:
    terms = FeeTerms(fee_type, 10_000)
    assert trade_fee_ud(terms, is_taker=False, yes_price_cc=5_000, count_cx=100) == fee_ud


def test_a_fee_type_without_a_known_formula_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="fee_type: no formula is known for 'flat'"):
        trade_fee_ud(FeeTerms("flat", 10_000), is_taker=True, yes_price_cc=5_000, count_cx=100)


@pytest.mark.parametrize(("generation", "fee_ud"), [("1e-6", 155), ("1e-4", 200)])
def test_the_trade_fee_is_rounded_up_to_the_unit_of_its_generation(generation: Generation, fee_ud: int) -> None:
    # 0.07 × 0.01 × 0.33 × 0.67 = 0.00015477 dollars
    assert trade_fee_ud(QUADRATIC, is_taker=True, yes_price_cc=3_300, count_cx=1, generation=generation) == fee_ud


@pytest.mark.parametrize(("multiplier_bps", "fee_ud"), [(10_000, 17_500), (5_000, 8_750), (0, 0)])
def test_the_multiplier_scales_the_fee(multiplier_bps: int, fee_ud: int) -> None:
    terms = FeeTerms("quadratic", multiplier_bps)
    assert trade_fee_ud(terms, is_taker=True, yes_price_cc=5_000, count_cx=100) == fee_ud


# --- published examples ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision_ud", "fee_ud"), [(DIRECT_UD, 437_500), (CENT_UD, 440_000)])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_maker_of_a_hundred_at_a_half_pays_as_published(
    precision_ud: int, fee_ud: int, generation: Generation
) -> None:
    fee = trade_fee_ud(WITH_MAKER, is_taker=False, yes_price_cc=5_000, count_cx=10_000, generation=generation)
    result = charge(
        revenue_ud=-50_000_000, trade_fee_ud=fee, gathered_ud=0, precision_ud=precision_ud, generation=generation
    )
    assert result.fee_ud == fee_ud


@pytest.mark.parametrize(("generation", "trade_fee"), [("1e-6", 28_555), ("1e-4", 28_600)])
def test_a_maker_of_seven_at_37_cents_pays_as_published(generation: Generation, trade_fee: int) -> None:
    fee = trade_fee_ud(WITH_MAKER, is_taker=False, yes_price_cc=3_700, count_cx=700, generation=generation)
    assert fee == trade_fee
    assert charge(revenue_ud=-2_590_000, trade_fee_ud=fee, gathered_ud=0, generation=generation).fee_ud == 28_600


def test_a_fill_cleared_by_a_broker_costs_what_the_page_of_october_says() -> None:
    result = taker_charge(550, 100, precision_ud=CENT_UD)
    assert result == Charge(fee_ud=5_000, gathered_ud=1_361)


def test_three_times_four_tenths_of_a_cent_come_back_as_one_cent() -> None:
    gathered, fees = 0, []
    for _ in range(3):
        result = charge(revenue_ud=-36_000, trade_fee_ud=10_000, gathered_ud=gathered, precision_ud=CENT_UD)
        gathered = result.gathered_ud
        fees.append(result.fee_ud)
    assert (fees, gathered) == ([14_000, 14_000, 4_000], 2_000)


@pytest.mark.parametrize(
    ("revenue_ud", "trade_fee", "fees_ud", "gathered_ud"),
    [
        (-55_000, 8_500, [15_000, 5_000, 15_000], [6_500, 3_000, 9_500]),
        (-150_000, 4_100, [10_000, 0, 10_000], [5_900, 1_800, 7_700]),
        (-9_903, 500, [10_097, 97, 97], [9_597, 9_194, 8_791]),
    ],
)
def test_the_older_generation_gives_whole_cents_back_as_its_page_showed(
    revenue_ud: int, trade_fee: int, fees_ud: list[int], gathered_ud: list[int]
) -> None:
    results = []
    put_by = 0
    for _ in range(3):
        result = charge(
            revenue_ud=revenue_ud, trade_fee_ud=trade_fee, gathered_ud=put_by, precision_ud=CENT_UD, generation="1e-4"
        )
        put_by = result.gathered_ud
        results.append(result)
    assert [r.fee_ud for r in results] == fees_ud
    assert [r.gathered_ud for r in results] == gathered_ud


def test_the_older_generation_keeps_a_cent_exactly_until_there_is_more() -> None:
    kept = charge(revenue_ud=-25_000, trade_fee_ud=0, gathered_ud=5_000, precision_ud=CENT_UD, generation="1e-4")
    assert kept == Charge(fee_ud=5_000, gathered_ud=10_000)
    paid = charge(revenue_ud=-25_000, trade_fee_ud=0, gathered_ud=5_000, precision_ud=CENT_UD)
    assert paid == Charge(fee_ud=5_000, gathered_ud=10_000), "not more than the fill costs"
    assert charge(revenue_ud=-29_000, trade_fee_ud=9_900, gathered_ud=10_000, precision_ud=CENT_UD).fee_ud == 1_000


# --- recorded fills -------------------------------------------------------------------------------------------------


def recorded_fills(recorded: Path) -> list[dict[str, Any]]:
    demo = json.loads((recorded / "rest/fortuna_demo_2026-06/fills__after_taker.json").read_bytes())
    prod = json.loads((recorded / "rest/cockpit_2026-08/portfolio_fills_redacted.json").read_bytes())
    fills: list[dict[str, Any]] = [*demo["fills"], *prod["payload"]["fills"]]
    return fills


def recorded_terms(recorded: Path, series_ticker: str) -> FeeTerms:
    """The recorded fee fields of a series. Not recorded: strikeouts, as all baseball at a half; the others at one."""
    payloads = json.loads((recorded / "rest/cockpit_2026-08/series_fee_fields.json").read_bytes())["payloads"]
    if series_ticker in payloads:
        series = payloads[series_ticker]["series"]
        return FeeTerms(series["fee_type"], round(series["fee_multiplier"] * 10_000))
    return FeeTerms("quadratic", 5_000 if series_ticker.startswith("KXMLB") else 10_000)


@pytest.mark.recorded
def test_the_36_recorded_fills_cost_what_kalshi_charged(recorded: Path) -> None:
    fills = recorded_fills(recorded)
    charged, computed = [], []
    for fill in fills:
        side = Side.YES if fill["outcome_side"] == "yes" else Side.NO
        price, count = parse_price(fill["yes_price_dollars"]), parse_count(fill["count_fp"])
        fee = trade_fee_ud(
            recorded_terms(recorded, fill["ticker"].split("-")[0]),
            is_taker=fill["is_taker"], yes_price_cc=price, count_cx=count, generation="1e-4",
        )  # fmt: skip
        paid_ud = yes_price_cc(side, price) * count  # each fill opened, and was its order's first
        result = charge(revenue_ud=-paid_ud, trade_fee_ud=fee, gathered_ud=0, generation="1e-4")
        charged.append(fill["fee_cost"])
        computed.append(format_dollars(result.fee_ud))
    assert computed == charged
    assert len(fills) == 36
    assert len({fill["order_id"] for fill in fills}) == 36


# --- properties -----------------------------------------------------------------------------------------------------

FILLS = st.lists(
    st.tuples(st.integers(1, 9_999), st.integers(1, 50_000), st.booleans(), st.booleans()), min_size=1, max_size=30
)


@given(FILLS, st.sampled_from(GENERATIONS), st.sampled_from([DIRECT_UD, CENT_UD]))
def test_rounding_is_put_by_per_order_and_no_fill_costs_less_than_nothing(
    fills: list[tuple[int, int, bool, bool]], generation: Generation, precision_ud: int
) -> None:
    gathered = trade_fees = fees = 0
    for price, count, is_taker, is_paid in fills:
        fee = trade_fee_ud(
            WITH_MAKER, is_taker=is_taker, yes_price_cc=price, count_cx=count, generation=generation
        )  # fmt: skip
        revenue = price * count if is_paid else -price * count
        result = charge(
            revenue_ud=revenue, trade_fee_ud=fee, gathered_ud=gathered, precision_ud=precision_ud, generation=generation
        )
        assert result.fee_ud >= 0
        assert (revenue - result.fee_ud) % precision_ud == 0, "the balance stays on its grid"
        gathered, trade_fees, fees = result.gathered_ud, trade_fees + fee, fees + result.fee_ud
        assert gathered >= 0
    assert fees == trade_fees + gathered
