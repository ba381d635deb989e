from __future__ import annotations

import pytest

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.registry import ParamsError, parse_params
from traders.core.types import Flattening, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.flatten.passive_exit import Params, override

VIEW = a_view({4_200: 1_000, 4_100: 2_000}, {5_500: 1_000, 5_400: 2_000})
WISHES = Quotes((Quote(Side.YES, 4_200, 800), Quote(Side.NO, 5_500, 800)))


def test_a_position_below_the_limit_changes_nothing() -> None:
    assert override(VIEW, TraderState(position_cx=499), WISHES, Params(from_cx=500)) is WISHES
    assert override(VIEW, TraderState(position_cx=-499), WISHES, Params(from_cx=500)) is WISHES


def test_who_is_flat_quotes_as_before() -> None:
    assert override(VIEW, TraderState(), WISHES, Params()) is WISHES


def test_a_long_position_rests_an_ask_no_larger_than_itself() -> None:
    out = override(VIEW, TraderState(position_cx=500), WISHES, Params(from_cx=500))
    assert (out.quotes, out.take) == ((Quote(Side.NO, 5_500, 500),), None)
    assert out.flattening == Flattening("passive_exit", NOW_US)
    assert said(out.whys[:1]) == "passive exit: position 5, out from 5"


def test_a_short_position_rests_a_bid_no_larger_than_it_may_show() -> None:
    out = override(VIEW, TraderState(position_cx=-500), WISHES, Params(count_most_cx=200, improve_steps=1))
    assert out.quotes == (Quote(Side.YES, 4_300, 200),)


@pytest.mark.parametrize("raw", [{"from_cx": 0}, {"improve_steps": -1}, {"count_most_cx": 0}])
def test_parameters_out_of_bounds_are_named(raw: dict[str, object]) -> None:
    with pytest.raises(ParamsError, match=next(iter(raw))):
        parse_params("passive_exit", Params, raw)
