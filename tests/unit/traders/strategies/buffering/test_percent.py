from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.queue import buffer_pct
from markets.core.units import Side
from tests.fixtures.views import a_view
from traders.core.registry import ParamsError, parse_params
from traders.core.types import Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.buffering.percent import Params, adjust

LEVELS = {6_200: 10_000, 6_100: 5_000, 6_000: 40_000}


def price_of(count_cx: int, min_bps: int) -> int | None:
    quotes = Quotes((Quote(Side.YES, 6_200, count_cx),))
    quote = adjust(a_view(LEVELS), TraderState(), quotes, Params(min_bps=min_bps)).on(Side.YES)
    return None if quote is None else quote.price_cc


def test_half_is_as_much_before_the_quote_as_it_shows() -> None:
    assert price_of(10_000, 5_000) == 6_200
    assert price_of(10_001, 5_000) == 6_100
    assert price_of(55_001, 5_000) is None


def test_a_larger_part_goes_deeper() -> None:
    assert price_of(5_000, 7_500) == 6_100
    assert price_of(5_000, 7_501) == 6_000


def test_a_fraction_of_a_contract_that_is_missing_is_missing() -> None:
    view = a_view({6_200: 20_003})
    for count_cx, stays in ((9_999, True), (10_000, False)):  # 66.67 % of it need 20 001.0 and 20 003.0003
        adjusted = adjust(view, TraderState(), Quotes((Quote(Side.YES, 6_200, count_cx),)), Params(min_bps=6_667))
        assert bool(adjusted.quotes) == stays


def test_it_says_both_percent_and_contracts() -> None:
    adjusted = adjust(a_view(LEVELS), TraderState(), Quotes((Quote(Side.YES, 6_200, 10_000),)), Params())
    assert said(adjusted.whys) == "bid 62¢ has 100 before it (50.0 %); 50.0 % needed, which is 100"
    assert adjusted.whys[0].figures["needed_bps"] == 5_000


@given(st.integers(1, 100_000), st.integers(0, 9_999), st.integers(1, 200_000))
def test_a_quote_stays_at_its_price_exactly_when_its_buffer_percent_is_enough(
    count_cx: int, min_bps: int, level_cx: int
) -> None:
    view = a_view({6_200: level_cx})
    adjusted = adjust(view, TraderState(), Quotes((Quote(Side.YES, 6_200, count_cx),)), Params(min_bps=min_bps))
    percent_bps = buffer_pct(level_cx, count_cx)
    assert percent_bps is not None
    assert (adjusted.on(Side.YES) is not None) == (percent_bps >= min_bps)


def test_the_whole_cannot_be_demanded() -> None:
    with pytest.raises(ParamsError, match="min_bps"):
        parse_params("percent", Params, {"min_bps": 10_000})
