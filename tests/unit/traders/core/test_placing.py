from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC, Side
from tests.fixtures.views import a_view
from traders.core.placing import Sizing, Wish, place
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said

OPEN = a_view({4_000: 300}, {5_000: 200})  # 40¢ to 50¢


def at(price_cc: int | None) -> Wish:
    return Wish(price_cc, "wished", "{side} {yes_price_cc} × {count_cx}" if price_cc is not None else "{side} unwished")


def placed(
    bid_cc: int | None = 4_000,
    ask_cc: int | None = 5_000,
    *,
    view: MarketView = OPEN,
    position_cx: int = 0,
    **sizing: Any,
) -> Quotes:
    return place(view, TraderState(position_cx=position_cx), Sizing(**sizing), at(bid_cc), at(ask_cc))


def prices(quotes: Quotes) -> list[int]:
    return [quote.price_cc for quote in quotes.quotes]


def codes(quotes: Quotes) -> list[tuple[str, Side | None]]:
    return [why.key for why in quotes.whys]


def test_wishes_become_quotes_with_their_reasons() -> None:
    found = placed(4_100, 5_200, bid_cx=700, ask_cx=300)
    assert found.quotes == (Quote(Side.YES, 4_100, 700), Quote(Side.NO, 5_200, 300))
    assert codes(found) == [("wished", Side.YES), ("wished", Side.NO)]
    assert said(found.whys) == "bid 41¢ × 7; ask 48¢ × 3"
    assert not found.must_qualify


def test_what_must_qualify_says_so() -> None:
    assert place(OPEN, TraderState(), Sizing(), at(4_000), at(5_000), must_qualify=True).must_qualify


def test_a_wish_without_a_price_leaves_its_reason() -> None:
    wish = Wish(None, "because", "{side} held at {limit_cc}", {"limit_cc": 300})
    found = place(OPEN, TraderState(), Sizing(), wish, at(5_000))
    assert [quote.side for quote in found.quotes] == [Side.NO]
    assert said(found.whys[:1]) == "bid held at 3¢"


def test_a_side_of_no_size_is_not_quoted_whatever_is_wished() -> None:
    found = placed(bid_cx=0)
    assert (prices(found), codes(found)[0]) == ([5_000], ("not_chosen", Side.YES))


# Onto the grid, never crossing


def test_a_price_between_steps_goes_down_its_own_ladder() -> None:
    assert prices(placed(4_190, 5_190)) == [4_100, 5_100]  # the ask: up, from 48.1¢ to 49¢


def test_a_price_that_would_trade_is_the_best_that_rests() -> None:
    assert prices(placed(9_900, None)) == [4_900]
    assert prices(placed(None, 9_900)) == [5_900]
    fine = a_view({895: 300}, {9_000: 200}, grid=TAPERED_DECI_CENT_GRID)
    assert prices(placed(5_000, None, view=fine)) == [990]


def test_against_an_empty_side_the_grid_alone_ends_the_prices() -> None:
    assert prices(placed(9_999, None, view=a_view({4_000: 300}))) == [9_900]


@pytest.mark.parametrize("price_cc", [99, 0, -500])
def test_below_the_first_step_nothing_rests(price_cc: int) -> None:
    found = placed(price_cc)
    assert (prices(found), codes(found)[0]) == ([5_000], ("off_grid", Side.YES))


def test_a_best_price_at_the_top_leaves_no_price_for_the_other_side() -> None:
    found = placed(4_000, 100, view=a_view({9_900: 300}))
    assert codes(found)[1] == ("off_grid", Side.NO)


# Our own two


@pytest.mark.parametrize(
    ("position_cx", "left"), [(0, Side.NO), (500, Side.NO), (-500, Side.YES)], ids=["flat", "long", "short"]
)
def test_of_two_quotes_that_meet_the_one_that_grows_the_position_is_dropped(position_cx: int, left: Side) -> None:
    found = placed(4_600, 5_400, position_cx=position_cx)
    assert [quote.side for quote in found.quotes] == [left]
    assert codes(found)[-1] == ("own_cross", left.other)
    assert said(found.whys[-1:]) == f"{left.other.book_side} 46¢ dropped: it meets our own"


def test_quotes_a_step_apart_do_not_meet() -> None:
    assert prices(placed(4_600, 5_300)) == [4_600, 5_300]


# Position limits


def test_a_size_ends_where_the_position_limit_does() -> None:
    found = placed(position_cx=9_400, bid_cx=1_000, ask_cx=1_000, max_position_cx=10_000)
    assert [quote.count_cx for quote in found.quotes] == [600, 1_000]
    assert said(found.whys[:1]) == "bid 40¢ × 6"


@pytest.mark.parametrize("held_cx", [10_000, 12_000])
@pytest.mark.parametrize("side", list(Side))
def test_at_its_limit_a_position_is_not_grown(side: Side, held_cx: int) -> None:
    found = placed(position_cx=held_cx if side is Side.YES else -held_cx, max_position_cx=10_000)
    assert [quote.side for quote in found.quotes] == [side.other]
    assert ("position_full", side) in codes(found)


def test_a_limit_of_nothing_still_lets_a_position_go() -> None:
    assert placed(max_position_cx=0).quotes == ()
    assert placed(position_cx=300, max_position_cx=0).quotes == (Quote(Side.NO, 5_000, 300),)


# Skew

WIDE = a_view({3_000: 300}, {3_000: 200})


@pytest.mark.parametrize(
    ("position_cx", "expected"),
    [
        (0, [4_000, 5_000]),
        (10_000, [3_600, 5_400]),  # long: bids lower, offers lower
        (20_000, [3_600, 5_400]),  # never by more than all of it
        (-10_000, [4_400, 4_600]),
        (5_000, [3_800, 5_200]),
        (-7_400, [4_200, 4_800]),  # whole steps only: 2.96 of 4
        (2_400, [4_000, 5_000]),
    ],
)
def test_both_quotes_move_against_the_position(position_cx: int, expected: list[int]) -> None:
    found = placed(view=WIDE, position_cx=position_cx, max_position_cx=10_000, skew_steps=4)
    shown = dict(zip((Side.YES, Side.NO), expected, strict=True))
    assert found.quotes
    assert all(quote.price_cc == shown[quote.side] for quote in found.quotes)


def test_a_skewed_price_still_does_not_cross() -> None:
    assert prices(placed(4_900, None, position_cx=-10_000, skew_steps=4)) == [4_900]


def test_a_skew_off_the_grid_quotes_nothing_there() -> None:
    found = placed(200, 5_000, position_cx=9_000, max_position_cx=10_000, skew_steps=4)
    assert codes(found)[0] == ("off_grid", Side.YES)


def test_a_skew_past_the_top_of_the_grid_stays_on_it() -> None:
    assert prices(placed(9_800, None, view=a_view(), position_cx=-10_000, skew_steps=4)) == [9_900]


def test_a_skew_counts_the_steps_of_the_grid() -> None:
    fine = a_view({900: 300}, {3_000: 200}, grid=TAPERED_DECI_CENT_GRID)
    assert prices(placed(1_200, None, view=fine, position_cx=9_900, skew_steps=4)) == [
        990
    ]  # three of 4: 0.11 0.10 0.099


# Whatever is wished

grids = st.sampled_from([TAPERED_DECI_CENT_GRID, PriceGrid([PriceRange(0, DOLLAR_CC, 100)])])
touches = st.none() | st.integers(1, 9_999)
wishes = st.none() | st.integers(-200, 10_200)
counts = st.integers(0, 30_000)


@given(
    grids, touches, touches, wishes, wishes, st.integers(-30_000, 30_000), counts, counts, counts, st.integers(0, 60)
)
@settings(max_examples=200)
def test_what_is_placed_may_rest_whatever_is_wished(
    grid: PriceGrid,
    yes_cc: int | None,
    no_cc: int | None,
    bid_cc: int | None,
    ask_cc: int | None,
    position_cx: int,
    bid_cx: int,
    ask_cx: int,
    max_position_cx: int,
    skew_steps: int,
) -> None:
    view = a_view({yes_cc: 1} if yes_cc else {}, {no_cc: 1} if no_cc else {}, grid=grid)
    sizing = {"bid_cx": bid_cx, "ask_cx": ask_cx, "max_position_cx": max_position_cx, "skew_steps": skew_steps}
    found = placed(bid_cc, ask_cc, view=view, position_cx=position_cx, **sizing)
    held = {Side.YES: position_cx, Side.NO: -position_cx}
    for quote in found.quotes:
        assert grid.contains(quote.side, quote.price_cc)
        assert quote.price_cc + view.best_cc(quote.side.other) < DOLLAR_CC
        assert 0 < quote.count_cx <= Sizing(**sizing).count_cx(quote.side)
        assert held[quote.side] + quote.count_cx <= max_position_cx
    assert len(found.quotes) < 2 or sum(prices(found)) < DOLLAR_CC
    assert {why.side for why in found.whys} == set(Side)
    assert said(found.whys)
