from __future__ import annotations

from markets.core.grid import TAPERED_DECI_CENT_GRID
from markets.core.units import Side
from tests.fixtures.views import a_view
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.placement.depth import Params, quotes


def wanted(view: MarketView, **params: int) -> Quotes:
    return quotes(view, TraderState(), Params(**params))


def test_it_rests_some_steps_behind_the_touch() -> None:
    found = wanted(a_view({4_000: 300}, {5_600: 200}), steps=3)
    assert found.quotes == (Quote(Side.YES, 3_700, 1_000), Quote(Side.NO, 5_300, 1_000))
    assert said(found.whys) == "bid 37¢ × 10, 3 steps behind 40¢; ask 47¢ × 10, 3 steps behind 44¢"


def test_no_steps_join_the_touch() -> None:
    found = wanted(a_view({4_000: 300}, {5_600: 200}), steps=0)
    assert [quote.price_cc for quote in found.quotes] == [4_000, 5_600]


def test_steps_grow_finer_towards_the_edge() -> None:
    found = wanted(a_view({1_100: 300}, {8_000: 200}, grid=TAPERED_DECI_CENT_GRID), steps=3)
    assert [quote.price_cc for quote in found.quotes] == [980, 7_700]  # 0.11, 0.10, 0.099, 0.098


def test_behind_the_last_price_of_the_grid_nothing_rests() -> None:
    found = wanted(a_view({300: 300}, {5_600: 200}), steps=3)
    assert [quote.side for quote in found.quotes] == [Side.NO]
    assert found.whys[0].code == "off_grid"
    assert said(found.whys[:1]) == "bid held: the grid ends within 3 steps behind 3¢"
    assert wanted(a_view({300: 300}), steps=2).quotes == (Quote(Side.YES, 100, 1_000),)


def test_nobody_can_be_stood_behind_on_an_empty_side() -> None:
    found = wanted(a_view({}, {5_600: 200}))
    assert [quote.side for quote in found.quotes] == [Side.NO]
    assert found.whys[0].code == "empty_side"


def test_a_touch_left_behind_by_a_change_of_grid_counts_as_the_price_below_it() -> None:
    assert wanted(a_view({4_050: 300}), steps=1).quotes == (Quote(Side.YES, 3_900, 1_000),)
