from __future__ import annotations

import math

import pytest

from markets.core.grid import TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import HOUR_US, NOW_US, a_view
from traders.core.history import History
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import said
from traders.strategies.placement.avellaneda_stoikov import Params, quotes

SECOND_US = 1_000_000
FINE_GRID = PriceGrid([PriceRange(0, DOLLAR_CC, 1)])
HALF = {4_900: 100}, {4_900: 100}  # bid 49¢, ask 51¢
WIDE = {4_000: 100}, {4_000: 100}  # the same mid, and room

# γ 0.5, k 20, s 0.2 over √h, an hour ahead: risk γ s² τ = 0.02, half-width 0.01 + ln(1.025) / 0.5 = 0.0593852…
CONSTANTS = {"gamma_bps": 5_000, "k_hundredths": 2_000, "volatility_bps": 2_000, "horizon_s": 3_600}


def wanted(view: MarketView, position_cx: int = 0, **params: int) -> Quotes:
    return quotes(view, TraderState(position_cx=position_cx), Params(**(CONSTANTS | params)))


def ladder(wanted: Quotes) -> list[int | None]:
    """YES prices of bid and ask."""
    bid, ask = wanted.on(Side.YES), wanted.on(Side.NO)
    return [bid and bid.price_cc, ask and DOLLAR_CC - ask.price_cc]


def test_a_flat_trader_stands_the_half_width_around_the_mid() -> None:
    found = wanted(a_view(*HALF, grid=FINE_GRID))
    assert ladder(found) == [4_851, 5_149]  # p(∓0.0593852) = 0.485158 and 0.514842
    figures = {"centre_cc": 5_000, "half_width_bps": 594, "volatility_bps": 2_000, "tau_s": 3_600}
    assert [why.figures.items() >= figures.items() for why in found.whys] == [True, True]
    assert said(found.whys[:1]) == (
        "bid 48.51¢ × 10: centre 50¢, half-width 5.9 % and volatility 20.0 % a √h in log-odds, 1 h 0 m ahead"
    )


def test_a_position_moves_the_centre_against_itself() -> None:
    assert ladder(wanted(a_view(*WIDE, grid=FINE_GRID), 500)) == [4_602, 4_899]  # five Yes: centre −0.1
    assert ladder(wanted(a_view(*WIDE, grid=FINE_GRID), -500)) == [5_101, 5_398]


def test_the_model_is_rounded_away_from_its_centre_onto_the_grid() -> None:
    assert ladder(wanted(a_view({4_000: 100}, {5_000: 100}))) == [4_300, 4_700]  # 43.5¢ and 46.5¢
    assert ladder(wanted(a_view(*WIDE), 500)) == [4_600, 4_900]


def test_it_never_trades_on_arrival_whatever_the_model_wants() -> None:
    found = wanted(a_view(*HALF), -20_000, volatility_bps=20_000, max_position_cx=100_000)
    assert ladder(found)[0] == 5_000  # the centre lies far above the ask of 51¢


def test_near_the_close_less_can_happen() -> None:
    found = wanted(a_view(*HALF, grid=FINE_GRID, close_in_us=HOUR_US // 4), 500)
    assert ladder(found) == [4_807, 5_068]  # risk 0.005: centre −0.025, half-width 0.0025 + 0.0493852
    assert found.whys[0].figures["tau_s"] == 900
    after = wanted(a_view(*HALF, grid=FINE_GRID, close_in_us=-HOUR_US), 500)
    assert ladder(after) == [4_876, 5_124]  # no time, no risk: half-width ln(1.025) / 0.5 alone


def test_quotes_keep_the_least_distance_from_the_centre() -> None:
    narrow = {"k_hundredths": 1_000_000, "volatility_bps": 1}
    assert ladder(wanted(a_view(*HALF), min_half_width_steps=0, **narrow)) == [4_900, 5_100]
    assert ladder(wanted(a_view(*HALF), min_half_width_steps=3, **narrow)) == [4_700, 5_300]
    between = a_view({4_900: 100}, {5_000: 100})  # centre 49.5¢: a step from it is 48.5¢ and 50.5¢
    assert ladder(wanted(between, min_half_width_steps=1, **narrow)) == [4_800, 5_100]


def test_off_the_grid_a_side_is_not_quoted_and_says_so() -> None:
    found = wanted(a_view({100: 100}, {9_700: 100}), min_half_width_steps=2)  # centre 2¢
    assert (ladder(found), found.whys[0].code) == ([None, 400], "off_grid")
    assert said(found.whys[:1]) == "bid held: the grid ends before its distance from 2¢ does"


def test_a_model_price_off_the_grid_still_shows_its_figures() -> None:
    found = wanted(a_view(*HALF), volatility_bps=50_000, gamma_bps=10_000)  # 25 and more on either side of nothing
    assert ([why.code for why in found.whys], found.quotes) == (["off_grid", "off_grid"], ())
    assert found.whys[0].figures["volatility_bps"] == 50_000


def test_a_huge_position_is_no_error() -> None:
    found = wanted(a_view(*HALF), 10**9, gamma_bps=100_000, volatility_bps=1_000_000, max_position_cx=0)
    assert ladder(found) == [None, 5_000]  # out at any price above the others' bid


@pytest.mark.parametrize(
    ("yes", "no", "code"),
    [
        ({4_000: 100}, {}, "one_sided"),
        ({}, {4_000: 100}, "one_sided"),
        ({}, {}, "one_sided"),
        ({5_000: 100}, {5_000: 100}, "crossed"),
        ({6_000: 100}, {5_000: 100}, "crossed"),
    ],
)
def test_without_a_mid_it_quotes_nothing(yes: dict[int, int], no: dict[int, int], code: str) -> None:
    found = wanted(a_view(yes, no))
    assert (found.quotes, [why.code for why in found.whys]) == ((), [code, code])


def touched(*touches: tuple[float, int, int]) -> History:
    """(seconds ago, YES, NO), oldest first."""
    history = History()
    for ago_s, yes_cc, no_cc in touches:
        history.note_touch(NOW_US - round(ago_s * SECOND_US), yes_cc, no_cc)
    return history


def measured_bps(history: History, **params: int) -> int:
    found = wanted(a_view(*HALF, history=history), **({"volatility_bps": 0, "volatility_floor_bps": 0} | params))
    figure: int = found.whys[0].figures["volatility_bps"]
    return figure


def volatility_bps(squares: float, seconds: float) -> int:
    return round(10_000 * math.sqrt(squares * 3_600 / seconds))


CENT = math.log(51 / 49)  # log-odds from 50¢ to 51¢


def test_volatility_is_measured_by_the_changes_of_the_window() -> None:
    history = touched((100, 4_900, 4_900), (60, 5_000, 4_800), (20, 4_900, 4_900))
    assert measured_bps(history) == volatility_bps(2 * CENT**2, 100)


def test_what_stood_when_the_window_began_counts_from_there() -> None:
    history = touched((100, 4_900, 4_900), (60, 5_000, 4_800), (20, 4_900, 4_900))
    assert measured_bps(history, window_s=50) == volatility_bps(CENT**2, 50)


def test_a_moment_without_a_side_is_left_out() -> None:
    history = touched((100, 4_900, 4_900), (60, 0, 4_800), (20, 3_000, 6_000))
    assert measured_bps(history) == 0
    history = touched((100, 4_900, 4_900), (70, 5_000, 4_800), (60, 0, 4_800), (20, 3_000, 6_000))
    assert measured_bps(history) == volatility_bps(CENT**2, 60)


def test_one_change_a_moment_ago_is_no_wild_market() -> None:
    assert measured_bps(touched((1, 4_900, 4_900), (0, 5_000, 4_800))) == volatility_bps(CENT**2, 10)


def test_of_a_busy_market_the_newest_changes_are_enough() -> None:
    wild = [(300 - at / 10, 3_000 + 1_000 * (at % 2), 4_900) for at in range(1_000)]  # 200 s of it
    calm = [(100 - at / 10, 4_900 + 100 * (at % 2), 4_900 - 100 * (at % 2)) for at in range(500)]
    assert measured_bps(touched(*wild, *calm)) == volatility_bps(499 * CENT**2, 100)


def test_a_market_that_stood_still_has_the_least_volatility() -> None:
    assert measured_bps(touched((100, 4_900, 4_900)), volatility_floor_bps=700) == 700
    assert measured_bps(History(), volatility_floor_bps=700) == 700


def test_a_chosen_volatility_is_not_measured() -> None:
    history = touched((100, 4_900, 4_900), (60, 6_000, 3_800))
    assert measured_bps(history, volatility_bps=300, volatility_floor_bps=700) == 300


def test_steps_of_a_finer_edge_are_counted_as_they_are() -> None:
    view = a_view({940: 100}, {9_040: 100}, grid=TAPERED_DECI_CENT_GRID)  # centre 9.5¢
    found = wanted(view, k_hundredths=1_000_000, volatility_bps=1, min_half_width_steps=6)
    assert ladder(found) == [890, 1_100]  # down six mills; up five mills to 10¢, and a cent
