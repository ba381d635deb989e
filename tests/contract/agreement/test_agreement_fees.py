"""Our fees against the exchange's reference: two codes from one text, neither knowing the other."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.catalog import FeeTerms
from feed.exchange.trading import fees as reference
from feed.exchange.trading.fees import CENT_UD, DIRECT_UD
from markets.core import fees
from markets.core.fees import COARSE, FINE, OrderRounding
from markets.core.units import DOLLAR_CC

AT_US = 1_795_337_400_000_000
GENERATIONS = {"1e-6": FINE, "1e-4": COARSE}
TYPES = ("quadratic", "quadratic_with_maker_fees", "quadratic_with_combo_maker_fees")


class Opening(NamedTuple):
    """A fill that opens, at its own side's price: its revenue is what it pays."""

    price_cc: int
    count_cx: int
    is_taker: bool


PRICES = st.one_of(
    st.integers(1, 99).map(lambda cents: cents * 100),
    st.integers(1, 999).map(lambda tenths: tenths * 10),
    st.integers(1, DOLLAR_CC - 1),
)
COUNTS = st.one_of(st.integers(1, 50).map(lambda contracts: contracts * 100), st.integers(1, 500_000))
ORDERS = st.lists(st.builds(Opening, PRICES, COUNTS, st.booleans()), min_size=1, max_size=25)
MULTIPLIERS = st.one_of(st.sampled_from([0, 5_000, 10_000, 20_000]), st.integers(0, 30_000))


def assert_orders_agree(
    order: list[Opening], fee_type: str, multiplier_bps: int, precision_ud: int, generation: reference.Generation
) -> None:
    """Charge the fills of one order by both, each carrying its own rounding on."""
    terms = fees.FeeTerms(fees.FeeSchedule(fee_type, multiplier_bps))
    theirs_terms, gathered_ud, rounding = FeeTerms(fee_type, multiplier_bps), 0, OrderRounding()
    for fill in order:
        mine = fees.charged_fee(
            terms, rounding, is_taker=fill.is_taker, price_cc=fill.price_cc, count_cx=fill.count_cx, at_us=AT_US,
            precision_ud=precision_ud, generation=GENERATIONS[generation],
        )  # fmt: skip
        trade_fee_ud = reference.trade_fee_ud(
            theirs_terms, is_taker=fill.is_taker, yes_price_cc=fill.price_cc, count_cx=fill.count_cx,
            generation=generation,
        )  # fmt: skip
        theirs = reference.charge(
            revenue_ud=-fill.price_cc * fill.count_cx, trade_fee_ud=trade_fee_ud, gathered_ud=gathered_ud,
            precision_ud=precision_ud, generation=generation,
        )  # fmt: skip
        assert mine is not None
        assert (mine.trade_fee_ud, mine.fee_ud) == (trade_fee_ud, theirs.fee_ud)
        assert mine.rounding.gathered_ud == theirs.gathered_ud
        gathered_ud, rounding = theirs.gathered_ud, mine.rounding


PRECISIONS = pytest.mark.parametrize("precision_ud", [DIRECT_UD, CENT_UD], ids=["direct", "broker"])


@PRECISIONS
@pytest.mark.parametrize("generation", ["1e-6", "1e-4"])
@given(order=ORDERS, fee_type=st.sampled_from(TYPES), multiplier_bps=MULTIPLIERS)
def test_an_order_pays_the_same_fill_by_fill(
    order: list[Opening], fee_type: str, multiplier_bps: int, generation: reference.Generation, precision_ud: int
) -> None:
    assert_orders_agree(order, fee_type, multiplier_bps, precision_ud, generation)


@pytest.mark.parametrize(
    ("order", "precision_ud"),
    [
        ([Opening(100, 100, False), Opening(10, 1, False), Opening(10, 1, True)], DIRECT_UD),
        ([Opening(32, 100, False), Opening(4_000, 100, True)], CENT_UD),
    ],
    ids=["direct", "broker"],
)
def test_the_older_generation_gives_whole_cents_back(order: list[Opening], precision_ud: int) -> None:
    assert_orders_agree(order, "quadratic", 10_000, precision_ud, "1e-4")


@given(PRICES, COUNTS, st.booleans(), st.sampled_from(TYPES), MULTIPLIERS)
def test_a_fee_is_the_same_at_p_and_at_one_less_p(
    price_cc: int, count_cx: int, is_taker: bool, fee_type: str, multiplier_bps: int
) -> None:
    terms = fees.FeeTerms(fees.FeeSchedule(fee_type, multiplier_bps))
    model = fees.model_fee_ud(
        terms, is_taker=is_taker, price_cc=DOLLAR_CC - price_cc, count_cx=count_cx, at_us=AT_US
    )  # fmt: skip
    assert model is not None
    up = -(-model.numerator // model.denominator)
    assert up == reference.trade_fee_ud(
        FeeTerms(fee_type, multiplier_bps), is_taker=is_taker, yes_price_cc=price_cc, count_cx=count_cx
    )


def test_both_refuse_to_guess_a_flat_fee() -> None:
    terms = fees.FeeTerms(fees.FeeSchedule("flat", 10_000))
    assert fees.model_fee_ud(terms, is_taker=True, price_cc=5_000, count_cx=100, at_us=AT_US) is None
    with pytest.raises(ValueError, match="flat"):
        reference.trade_fee_ud(FeeTerms("flat", 10_000), is_taker=True, yes_price_cc=5_000, count_cx=100)
