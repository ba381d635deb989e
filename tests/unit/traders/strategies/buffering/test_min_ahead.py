from __future__ import annotations

import pytest

from markets.core.units import Side
from tests.fixtures.views import a_view
from traders.core.registry import ParamsError, parse_params
from traders.core.types import Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.buffering.min_ahead import Params, adjust

VIEW = a_view({6_200: 30_000, 6_100: 20_000}, {3_700: 5_000, 3_600: 40_000})
WISHES = Quotes((Quote(Side.YES, 6_200, 10_000), Quote(Side.NO, 3_700, 99_900)))


def test_each_side_goes_as_deep_as_the_contracts_demand() -> None:
    adjusted = adjust(VIEW, TraderState(), WISHES, Params(ahead_cx=30_000))
    assert adjusted.quotes == (Quote(Side.YES, 6_200, 10_000), Quote(Side.NO, 3_600, 99_900))
    assert said(adjusted.whys) == (
        "bid 62¢ has 300 before it (75.0 %); 300 needed; ask 64¢ has 450 before it (31.0 %); 300 needed"
    )


def test_a_side_that_is_too_thin_is_not_quoted() -> None:
    adjusted = adjust(VIEW, TraderState(), WISHES, Params(ahead_cx=50_000))
    assert adjusted.quotes == (Quote(Side.YES, 6_100, 10_000),)
    assert [why.code for why in adjusted.whys] == ["buffered", "buffer_missing"]


def test_nothing_demanded_changes_no_price() -> None:
    assert adjust(a_view(), TraderState(), WISHES, Params(ahead_cx=0)).quotes == WISHES.quotes


@pytest.mark.parametrize("raw", [{"ahead_cx": -1}, {"hysteresis_bps": 10_001}, {"steps_most": -1}, {"ahead_cx": 1.5}])
def test_parameters_out_of_bounds_are_named(raw: dict[str, object]) -> None:
    with pytest.raises(ParamsError, match=next(iter(raw))):
        parse_params("min_ahead", Params, raw)
