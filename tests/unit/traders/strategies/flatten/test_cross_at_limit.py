from __future__ import annotations

from markets.core.units import Side
from tests.fixtures.views import NOW_US, a_view
from traders.core.types import Flattening, Quote, Quotes, Take, TraderState
from traders.core.why import said
from traders.strategies.flatten import passive_exit
from traders.strategies.flatten.cross_at_limit import Params, override

VIEW = a_view({4_200: 1_000, 4_100: 2_000}, {5_500: 1_000, 5_400: 2_000})
WISHES = Quotes((Quote(Side.YES, 4_200, 800), Quote(Side.NO, 5_500, 800)))
MINUTE = Params(after_s=60, steps_most=2)


def held(seconds: int, *, position_cx: int = 500, flattening: Flattening | None = None) -> TraderState:
    return TraderState(position_cx, NOW_US - seconds * 1_000_000, flattening=flattening)


def flattened(seconds: int, by: str = "passive_exit") -> Flattening:
    return Flattening(by, NOW_US - seconds * 1_000_000)


def test_a_position_held_long_enough_is_traded_away_at_a_bounded_price() -> None:
    assert override(VIEW, held(59), WISHES, MINUTE) is WISHES
    out = override(VIEW, held(60), WISHES, MINUTE)
    assert (out.quotes, out.take) == ((), Take(Side.NO, 6_000, 500))
    assert said(out.whys[:1]) == "cross at limit: position 5 held for 1 m 0 s"


def test_a_short_position_buys_back() -> None:
    assert override(VIEW, held(60, position_cx=-500), WISHES, MINUTE).take == Take(Side.YES, 4_700, 500)


def test_a_small_position_is_left_alone() -> None:
    assert override(VIEW, held(600, position_cx=-99), WISHES, Params(from_cx=100)) is WISHES


def test_once_it_is_being_flattened_that_time_counts() -> None:
    assert override(VIEW, held(600, flattening=flattened(59)), WISHES, MINUTE) is WISHES
    out = override(VIEW, held(600, flattening=flattened(60)), WISHES, MINUTE)
    assert out.take == Take(Side.NO, 6_000, 500)
    assert out.flattening == flattened(60, "cross_at_limit")


def test_what_it_began_goes_on_in_the_next_decision() -> None:
    first = override(VIEW, held(60), WISHES, MINUTE)
    second = override(VIEW, held(60, flattening=first.flattening), WISHES, MINUTE)
    assert (second.take, second.flattening) == (first.take, first.flattening)


def test_without_knowing_how_long_it_waits() -> None:
    assert override(VIEW, TraderState(position_cx=500), WISHES, MINUTE) is WISHES


def test_with_nobody_opposite_it_only_stops_growing() -> None:
    out = override(a_view(no={5_500: 1_000}), held(60), WISHES, MINUTE)
    assert (out.quotes, out.take) == ((Quote(Side.NO, 5_500, 500),), None)
    assert out.whys[-1].code == "not_flattenable"


def test_it_ends_what_a_passive_exit_began() -> None:
    state = held(600, flattening=flattened(60))
    patient = passive_exit.override(VIEW, state, WISHES, passive_exit.Params())
    out = override(VIEW, state, patient, MINUTE)
    assert (out.quotes, out.take) == ((), Take(Side.NO, 6_000, 500))
    assert out.flattening == flattened(60, "cross_at_limit")
