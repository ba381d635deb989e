"""What a running trader may do under the limits that it shares, and why the sum of reservations is the worst case."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.grid import CENT_GRID
from markets.core.settlement import Position
from markets.core.units import DOLLAR_CC, Side
from traders.core.commands import PlaceOrder
from traders.core.exposure import MarketExposure, Unproven, exposure_ud, worst_event_loss_ud
from traders.core.limits import Allotment, Checked, Limits, RiskState
from traders.core.orders import RestingQuote
from traders.core.risk import checked, denied_command, reserve_ud
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said

YES, NO = Side.YES, Side.NO
NOW = 1_790_000_000_000_000
DOLLAR = 1_000_000
LOOSE = Limits(
    order_cx_most=100_000,
    position_cx_most=100_000,
    exposure_ud_most=10**12,
    price_cc_least=1,
    price_cc_most=9_999,
    from_touch_steps_most=1_000,
)
KNOWN = RiskState(
    position_cx=0,
    cost_ud=0,
    outside_cx=0,
    created_in_minute=0,
    result_ud=0,
    high_water_ud=0,
    allotments=(),
    cash_ud=10**12,
)


def risk(*allotments: Allotment, **changes: Any) -> RiskState:
    return msgspec.structs.replace(KNOWN, allotments=allotments, **changes)


def a_view() -> MarketView:
    book = OrderBook()
    book.replace([(4_000, 1_000)], [(5_800, 1_000)])
    return MarketView("T", NOW, book, CENT_GRID, NOW + 10**12)


def check(of: RiskState, *quotes: Quote) -> Checked:
    return checked(a_view(), TraderState(), Quotes(quotes), LOOSE, of)


# What a running trader may do


def test_I4_what_others_use_and_our_own_worst_stay_within_the_allotment() -> None:
    event = Allotment("event KXA-1", 100 * DOLLAR, 99 * DOLLAR)
    assert check(risk(event), Quote(YES, 4_000, 250)).denied == ()
    found = check(risk(event), Quote(YES, 4_000, 300))
    assert found.quotes.quotes == (Quote(YES, 4_000, 250),)
    assert said(found.quotes.whys) == (
        "bid cut from 3 to 2.5: exposure could come to $1.20, and others use $99.00 of the $100.00 of event KXA-1"
    )
    assert found.denied[0].figures == {
        "name": "event KXA-1",
        "exposure_ud": 1_200_000,
        "used_ud": 99 * DOLLAR,
        "most_ud": 100 * DOLLAR,
        "over_ud": 200_000,
    }


def test_I4_what_is_held_rests_or_is_unproven_counts_at_its_worst() -> None:
    event = Allotment("event KXA-1", 10 * DOLLAR, 8 * DOLLAR)
    of = risk(
        event,
        position_cx=100,
        cost_ud=500_000,
        resting=(RestingQuote("a", YES, 4_000, 100),),
        unknown=(Unproven(YES, 4_000, 100),),
    )
    command = PlaceOrder(YES, 4_000, 175)
    assert denied_command(command, a_view(), LOOSE, of) is None
    denied = denied_command(msgspec.structs.replace(command, count_cx=176), a_view(), LOOSE, of)
    assert denied is not None
    assert (denied.code, denied.figures["exposure_ud"]) == ("ALLOTMENT_EXCEEDED", 2_004_000)


@pytest.mark.parametrize("tightest_first", [True, False])
def test_I4_the_tightest_of_several_allotments_decides_the_size_and_is_told(tightest_first: bool) -> None:
    both = [Allotment("event KXA-1", 10 * DOLLAR, 9_800_000), Allotment("the fleet", 50 * DOLLAR, 49_700_000)]
    found = check(risk(*(both if tightest_first else reversed(both))), Quote(YES, 4_000, 100))
    assert found.quotes.quotes == (Quote(YES, 4_000, 50),)
    assert [denied.figures["name"] for denied in found.denied] == ["event KXA-1"]


def test_I4_an_allotment_that_others_use_up_lets_nothing_grow_and_everything_close() -> None:
    of = risk(Allotment("the fleet", DOLLAR, DOLLAR), position_cx=100, cost_ud=400_000)
    found = check(of, Quote(YES, 4_000, 10), Quote(NO, 5_800, 100))
    assert found.quotes.quotes == (Quote(NO, 5_800, 100),)
    assert check(of, Quote(NO, 5_800, 101)).quotes.quotes == (Quote(NO, 5_800, 100),)


any_allotment = st.builds(Allotment, st.just("event"), st.integers(0, 400_000), st.integers(0, 200_000))
any_quotes = st.tuples(st.integers(1, 99), st.integers(1, 99), st.integers(1, 200), st.integers(1, 200))


@settings(max_examples=150)
@given(st.lists(any_allotment, min_size=1, max_size=3), any_quotes)
def test_I4_whatever_is_allowed_of_a_wish_fits_every_allotment(
    allotments: list[Allotment], wish: tuple[int, int, int, int]
) -> None:
    yes_cent, no_cent, yes_cx, no_cx = wish
    found = check(risk(*allotments), Quote(YES, yes_cent * 100, yes_cx), Quote(NO, no_cent * 100, no_cx))
    orders = [Unproven(quote.side, quote.price_cc, quote.count_cx) for quote in found.quotes.quotes]
    worst_ud = exposure_ud(0, 0, orders)
    for allotment in allotments:
        assert allotment.most_ud is not None
        assert allotment.used_ud is not None
        assert worst_ud == 0 or worst_ud + allotment.used_ud <= allotment.most_ud


# What a start reserves


def test_what_is_held_already_is_reserved_though_the_limits_were_lowered_since() -> None:
    lowered = Limits(exposure_ud_most=20 * DOLLAR)
    assert reserve_ud(lowered) == 20 * DOLLAR
    assert reserve_ud(lowered, 30 * DOLLAR) == 30 * DOLLAR
    assert reserve_ud(lowered, 10 * DOLLAR) == 20 * DOLLAR


any_order = st.builds(Unproven, st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1), st.integers(1, 300))


@st.composite
def exposures(draw: st.DrawFn) -> MarketExposure:
    price_cc, count_cx = draw(st.integers(1, DOLLAR_CC - 1)), draw(st.integers(0, 300))
    position = Position().after(draw(st.sampled_from(Side)), price_cc, count_cx)
    return MarketExposure(position.position_cx, position.cost_ud, tuple(draw(st.lists(any_order, max_size=2))))


@settings(max_examples=150)
@given(st.lists(exposures(), max_size=4))
def test_I4_an_event_never_loses_more_than_its_traders_have_reserved(markets: list[MarketExposure]) -> None:
    reserved_ud = sum(exposure_ud(one.position_cx, one.cost_ud, one.orders) for one in markets)
    assert worst_event_loss_ud(markets) <= reserved_ud


@given(st.lists(st.tuples(st.integers(1, DOLLAR_CC - 1), st.integers(1, 300)), min_size=1, max_size=4))
def test_I4_and_it_loses_all_of_it_when_they_hold_yes_and_none_of_the_markets_resolves_so(
    held: list[tuple[int, int]],
) -> None:
    markets = [MarketExposure(count_cx, price_cc * count_cx) for price_cc, count_cx in held]
    reserved_ud = sum(exposure_ud(one.position_cx, one.cost_ud, one.orders) for one in markets)
    assert worst_event_loss_ud(markets) == reserved_ud
