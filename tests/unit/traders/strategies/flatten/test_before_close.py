from __future__ import annotations

import pytest

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.registry import ParamsError, parse_params
from traders.core.types import Flattening, Quote, Quotes, Take, TraderState
from traders.core.why import said
from traders.strategies.flatten.before_close import Params, override

WISHES = Quotes((Quote(Side.YES, 4_200, 800), Quote(Side.NO, 5_400, 800)))
PARAMS = Params(lead_s=900, cross_s=300, deadline_s=10, steps_most=2)
HELD = TraderState(position_cx=500)
SECOND_US = 1_000_000


def out(left_s: int, state: TraderState = HELD) -> Quotes:
    view = a_view({4_200: 1_000}, {5_500: 1_000}, close_in_us=left_s * SECOND_US)
    return override(view, state, WISHES, PARAMS)


def test_long_before_the_close_it_does_nothing() -> None:
    assert out(901) is WISHES


def test_who_is_flat_quotes_until_the_close() -> None:
    assert out(1, TraderState()) is WISHES


def test_from_the_lead_on_an_exit_rests() -> None:
    for left_s in (900, 301):
        assert (out(left_s).quotes, out(left_s).take) == ((Quote(Side.NO, 5_500, 500),), None)
    assert said(out(900).whys[:1]) == "before close: 15 m 0 s left with position 5"
    assert out(900).flattening == Flattening("before_close", NOW_US)


def test_when_time_gets_short_it_trades_with_the_touch() -> None:
    for left_s in (300, 11):
        assert (out(left_s).quotes, out(left_s).take) == ((), Take(Side.NO, 6_000, 500))
    assert out(300, TraderState(position_cx=-500)).take == Take(Side.YES, 4_700, 500)


@pytest.mark.parametrize("left_s", [10, 0, -5])
def test_after_the_deadline_it_only_stops_growing(left_s: int) -> None:
    late = out(left_s)
    assert (late.quotes, late.take) == ((Quote(Side.NO, 5_400, 500),), None)
    assert late.whys[0].code == "close_deadline"


@pytest.mark.parametrize(
    ("raw", "named"),
    [({"lead_s": 200}, "cross_s"), ({"deadline_s": 301}, "deadline_s"), ({"lead_s": -1}, "lead_s")],
)
def test_times_out_of_order_are_refused(raw: dict[str, int], named: str) -> None:
    with pytest.raises(ParamsError, match=named):
        parse_params("before_close", Params, raw)
