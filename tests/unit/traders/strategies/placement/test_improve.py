from __future__ import annotations

import pytest

from markets.core.grid import TAPERED_DECI_CENT_GRID
from markets.core.units import Side
from tests.fixtures.views import a_view
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.placement.improve import Params, quotes


def wanted(view: MarketView, **params: int) -> Quotes:
    return quotes(view, TraderState(), Params(**params))


def prices(wanted: Quotes) -> list[int]:
    return [quote.price_cc for quote in wanted.quotes]


def codes(wanted: Quotes) -> list[str]:
    return [why.code for why in wanted.whys]


def test_it_stands_a_step_before_the_others_where_the_spread_is_wide() -> None:
    found = wanted(a_view({4_000: 300}, {5_600: 200}))
    assert found.quotes == (Quote(Side.YES, 4_100, 1_000), Quote(Side.NO, 5_700, 1_000))
    assert said(found.whys) == "improves bid by 1 to 41¢ × 10; improves ask by 1 to 43¢ × 10"


def test_it_joins_where_both_improving_would_leave_too_little_between_them() -> None:
    found = wanted(a_view({4_000: 300}, {5_700: 200}))  # 40¢ to 43¢: a step each leaves one
    assert (prices(found), codes(found)) == ([4_000, 5_700], ["no_room", "no_room"])
    assert "would leave 1 of the spread's steps, 2 wanted" in said(found.whys)
    assert prices(wanted(a_view({4_000: 300}, {5_700: 200}), min_spread_steps=1)) == [4_100, 5_800]


def test_a_side_alone_needs_room_for_itself_alone() -> None:
    found = wanted(a_view({4_000: 300}, {5_700: 200}), ask_cx=0)
    assert (prices(found), codes(found)) == ([4_100], ["improves", "not_chosen"])


def test_it_improves_by_as_many_steps_as_told() -> None:
    assert prices(wanted(a_view({4_000: 300}, {5_000: 200}), steps=4)) == [4_400, 5_400]
    assert prices(wanted(a_view({4_000: 300}, {5_000: 200}), steps=5)) == [4_000, 5_000]


def test_steps_are_those_of_the_grid_on_each_side() -> None:
    view = a_view({900: 300}, {8_900: 200}, grid=TAPERED_DECI_CENT_GRID)  # 9¢ to 11¢: ten steps of a mill, one of 1¢
    assert prices(wanted(view, steps=3)) == [930, 9_020]  # the ask: 0.90, 0.901, 0.902 on its own ladder


def test_an_empty_side_has_nothing_to_improve_and_leaves_the_other_all_the_room() -> None:
    found = wanted(a_view({4_000: 300}))
    assert (prices(found), codes(found)) == ([4_100], ["improves", "empty_side"])


def test_at_the_end_of_the_grid_it_joins() -> None:
    found = wanted(a_view({9_900: 300}))
    assert (prices(found), codes(found)) == ([9_900], ["at_the_edge", "empty_side"])


@pytest.mark.parametrize("no_cc", [6_000, 6_500])
def test_a_book_that_is_locked_or_crossed_is_not_crossed_further(no_cc: int) -> None:
    found = wanted(a_view({4_000: 300}, {no_cc: 200}))
    assert codes(found) == ["no_room", "no_room"]
    assert prices(found) == [10_000 - no_cc - 100, 5_900]  # passive against the others
