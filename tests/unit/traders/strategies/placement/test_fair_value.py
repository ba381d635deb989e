from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.types import FairValue, MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.placement.fair_value import Params, quotes

SECOND_US = 1_000_000


def valued(view: MarketView, yes_price_cc: int, *, age_us: int = 0) -> MarketView:
    return msgspec.structs.replace(view, fair=FairValue(yes_price_cc, NOW_US - age_us, "model"))


def wanted(view: MarketView, **params: int) -> Quotes:
    return quotes(view, TraderState(), Params(**params))


def codes(wanted: Quotes) -> list[str]:
    return [why.code for why in wanted.whys]


def test_it_rests_its_edge_away_from_the_value() -> None:
    found = wanted(valued(a_view({4_000: 300}, {5_000: 200}), 4_300), bid_edge_cc=200, ask_edge_cc=600)
    assert found.quotes == (Quote(Side.YES, 4_100, 1_000), Quote(Side.NO, 5_100, 1_000))
    assert said(found.whys) == "bid 41¢ × 10: 2¢ or more from 43¢; ask 49¢ × 10: 6¢ or more from 43¢"


def test_a_value_between_the_steps_is_rounded_away_from_itself() -> None:
    found = wanted(valued(a_view({4_000: 300}, {5_300: 200}), 4_350), bid_edge_cc=300, ask_edge_cc=300)
    assert [quote.price_cc for quote in found.quotes] == [4_000, 5_300]  # 40.5¢ down to 40¢, 46.5¢ up to 47¢


def test_a_book_that_pays_more_does_not_draw_it_nearer() -> None:
    found = wanted(valued(a_view({6_000: 300}, {3_500: 200}), 5_000))
    assert [quote.price_cc for quote in found.quotes] == [4_800, 3_600]  # the ask may not cross the bid of 60¢
    found = wanted(valued(a_view({3_000: 300}, {6_900: 200}), 5_000))
    assert [quote.price_cc for quote in found.quotes] == [3_000, 4_800]  # nor the bid the ask of 31¢


def test_it_does_not_outbid_the_others_further_than_it_needs_to() -> None:
    view = valued(a_view({3_000: 300}, {3_000: 200}), 5_000)
    found = wanted(view)
    assert ([quote.price_cc for quote in found.quotes], codes(found)) == ([3_100, 3_100], ["better_than_best"] * 2)
    assert said(found.whys[:1]) == "bid 31¢ × 10: 50¢ would allow better, 30¢ is the others' best"
    assert [quote.price_cc for quote in wanted(view, improve_most_steps=0).quotes] == [3_000, 3_000]
    assert [quote.price_cc for quote in wanted(view, improve_most_steps=40).quotes] == [4_800, 4_800]


def test_on_an_empty_side_nobody_holds_it_back() -> None:
    found = wanted(valued(a_view(), 5_000))
    assert [quote.price_cc for quote in found.quotes] == [4_800, 4_800]


def test_without_a_value_it_quotes_nothing() -> None:
    found = wanted(a_view({4_000: 300}, {5_600: 200}))
    assert (found.quotes, codes(found)) == ((), ["no_fair_value"] * 2)


@pytest.mark.parametrize(
    ("age_us", "code"),
    [
        (60 * SECOND_US, "fair_value"),
        (60 * SECOND_US + 1, "fair_too_old"),
        (-SECOND_US, "fair_value"),
        (-SECOND_US - 1, "fair_from_future"),
    ],
)
def test_a_value_is_believed_for_its_time_and_not_before_it(age_us: int, code: str) -> None:
    found = wanted(valued(a_view({4_000: 300}, {5_600: 200}), 4_200, age_us=age_us), max_age_s=60)
    assert codes(found) == [code, code]
    assert bool(found.quotes) is (code == "fair_value")
    assert found.whys[0].figures["age_us"] == age_us


@pytest.mark.parametrize("yes_price_cc", [-1, DOLLAR_CC + 1])
def test_a_value_that_is_no_price_is_not_believed(yes_price_cc: int) -> None:
    found = wanted(valued(a_view({4_000: 300}, {5_600: 200}), yes_price_cc))
    assert (found.quotes, codes(found)) == ((), ["fair_no_price"] * 2)


def test_where_the_edge_leaves_the_grid_nothing_rests() -> None:
    found = wanted(valued(a_view({100: 300}, {9_500: 200}), 250))
    assert codes(found) == ["off_grid", "fair_value"]


touches = st.integers(1, 99).map(lambda cents: cents * 100)


@given(st.none() | touches, st.none() | touches, st.integers(0, DOLLAR_CC), st.integers(0, 500), st.integers(0, 500))
@settings(max_examples=100)
def test_no_book_brings_a_quote_nearer_to_the_value_than_its_edge(
    yes_cc: int | None, no_cc: int | None, fair_cc: int, bid_edge_cc: int, ask_edge_cc: int
) -> None:
    view = a_view({yes_cc: 100} if yes_cc else {}, {no_cc: 100} if no_cc else {})
    found = wanted(valued(view, fair_cc), bid_edge_cc=bid_edge_cc, ask_edge_cc=ask_edge_cc, improve_most_steps=1_000)
    bid, ask = found.on(Side.YES), found.on(Side.NO)
    assert bid is None or bid.price_cc <= fair_cc - bid_edge_cc
    assert ask is None or DOLLAR_CC - ask.price_cc >= fair_cc + ask_edge_cc
