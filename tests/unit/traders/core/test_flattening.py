from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.fees import FeeSchedule, FeeTerms, predicted_fee_ud
from markets.core.grid import TAPERED_DECI_CENT_GRID
from markets.core.units import Side
from tests.fixtures.views import NOW_US, Levels, a_view
from traders.core.flattening import (
    FlattenCost,
    flatten_cost,
    hold,
    proceeds_at_touch_ud,
    reducing_side,
    rest,
    take,
    take_limit_cc,
    untouched,
)
from traders.core.types import Flattening, MarketView, Quote, Quotes, Take, TraderState
from traders.core.why import Why, said

# Bid 42 × 10 and 41 × 20, ask 45 × 10 and 46 × 20.
VIEW = a_view({4_200: 1_000, 4_100: 2_000}, {5_500: 1_000, 5_400: 2_000})
CROSSED = a_view({4_200: 1_000}, {5_800: 1_000})
WHY = Why("test", "because")
LONG, SHORT = TraderState(position_cx=500), TraderState(position_cx=-500)
BID, ASK = Quote(Side.YES, 4_200, 800), Quote(Side.NO, 5_400, 800)
FEES = FeeTerms(FeeSchedule("quadratic", 10_000))


def codes(quotes: Quotes) -> list[str]:
    return [why.code for why in quotes.whys]


# Step 1


def test_a_no_bid_closes_what_is_long_and_a_yes_bid_what_is_short() -> None:
    assert (reducing_side(LONG), reducing_side(SHORT)) == (Side.NO, Side.YES)


@pytest.mark.parametrize(("state", "grows", "exits"), [(LONG, BID, ASK), (SHORT, ASK, BID)])
def test_nothing_rests_that_would_grow_the_position_nor_more_than_would_close_it(
    state: TraderState, grows: Quote, exits: Quote
) -> None:
    held = hold(VIEW, state, Quotes((BID, ASK)), "mine", WHY)
    assert held.quotes == (Quote(exits.side, exits.price_cc, 500),)
    assert codes(held) == ["test", "no_growth", "capped"]
    assert held.whys[1].side is grows.side


def test_a_quote_that_is_small_enough_stays_as_it_is() -> None:
    small = Quote(Side.NO, 5_400, 500)
    assert hold(VIEW, LONG, Quotes((small,)), "mine", WHY) == Quotes(
        (small,), (WHY,), flattening=Flattening("mine", NOW_US)
    )


def test_flattening_began_when_it_began_whoever_led() -> None:
    state = TraderState(position_cx=500, flattening=Flattening("other", NOW_US - 7))
    assert hold(VIEW, state, Quotes(()), "mine", WHY).flattening == Flattening("mine", NOW_US - 7)


def test_the_rule_that_came_first_leads_unless_a_stop_loss_joins() -> None:
    first = hold(VIEW, LONG, Quotes(()), "first", WHY)
    assert hold(VIEW, LONG, first, "second", WHY).flattening == Flattening("first", NOW_US)
    assert hold(VIEW, LONG, first, "stop_loss", WHY).flattening == Flattening("stop_loss", NOW_US)


def test_a_take_that_grows_the_position_or_exceeds_it_does_not_pass() -> None:
    grows = Quotes((), take=Take(Side.YES, 4_500, 100))
    exceeds = Quotes((), take=Take(Side.NO, 5_800, 900))
    assert hold(VIEW, LONG, grows, "mine", WHY).take is None
    assert hold(VIEW, LONG, exceeds, "mine", WHY).take == Take(Side.NO, 5_800, 500)


def test_beside_a_take_nothing_rests_on_its_side() -> None:
    assert hold(VIEW, LONG, Quotes((ASK,), take=Take(Side.NO, 5_800, 100)), "mine", WHY).quotes == ()


def test_who_is_flat_wants_the_same_and_does_not_flatten() -> None:
    wanted = Quotes((BID, ASK), (WHY,))
    assert untouched(wanted) is wanted
    assert untouched(Quotes((BID,), flattening=Flattening("mine", 1))) == Quotes((BID,))


# Step 2


def test_an_exit_rests_at_the_others_best() -> None:
    rested = rest(VIEW, LONG, Quotes((BID, Quote(Side.NO, 5_300, 100))), "mine", WHY)
    assert rested.quotes == (Quote(Side.NO, 5_500, 500),)
    assert codes(rested) == ["test", "no_growth", "exit_rests"]
    assert said(rested.whys[-1:]) == "exit rests as ask 45¢ × 5"


def test_an_exit_betters_the_best_only_while_it_stays_passive() -> None:
    assert rest(VIEW, LONG, Quotes(()), "mine", WHY, improve_steps=1).on(Side.NO) == Quote(Side.NO, 5_600, 500)
    assert rest(VIEW, LONG, Quotes(()), "mine", WHY, improve_steps=9).on(Side.NO) == Quote(Side.NO, 5_700, 500)
    assert rest(VIEW, SHORT, Quotes(()), "mine", WHY, improve_steps=9).on(Side.YES) == Quote(Side.YES, 4_400, 500)


def test_an_exit_is_no_milder_than_what_would_rest_anyway() -> None:
    eager = Quotes((Quote(Side.NO, 5_700, 100),))
    assert rest(VIEW, LONG, eager, "mine", WHY).on(Side.NO) == Quote(Side.NO, 5_700, 500)


def test_an_exit_shows_what_it_may_but_no_less_than_an_earlier_rules() -> None:
    ordinary = Quotes((Quote(Side.NO, 5_500, 300),))
    assert rest(VIEW, LONG, ordinary, "mine", WHY, count_most_cx=200).on(Side.NO) == Quote(Side.NO, 5_500, 200)
    earlier = rest(VIEW, LONG, Quotes(()), "first", WHY, improve_steps=1)
    assert rest(VIEW, LONG, earlier, "mine", WHY, count_most_cx=200).quotes == earlier.quotes


@pytest.mark.parametrize("view", [CROSSED, a_view({4_200: 1_000}), a_view(no={5_500: 1_000}), a_view()])
def test_without_a_price_nothing_but_the_first_step_is_done(view: MarketView) -> None:
    for state, grows in ((LONG, BID), (SHORT, ASK)):
        for step in (
            rest(view, state, Quotes((BID, ASK)), "mine", WHY),
            take(view, state, Quotes((BID, ASK)), "mine", WHY, steps_most=2),
        ):
            assert step.take is None
            assert step.quotes == hold(view, state, Quotes((BID, ASK)), "mine", WHY).quotes
            assert step.on(grows.side) is None
            assert step.whys[-1].code in {"no_price", "not_flattenable"}


# Step 3


def test_a_take_goes_for_the_whole_position_at_a_bounded_price_and_nothing_rests_beside_it() -> None:
    taken = take(VIEW, LONG, Quotes((BID, ASK)), "mine", WHY, steps_most=2)
    assert (taken.quotes, taken.take) == ((), Take(Side.NO, 6_000, 500))
    assert said(taken.whys[-1:]) == "takes 5 as ask at 40¢ or better; all of it costs unknown"
    assert take(VIEW, SHORT, Quotes(()), "mine", WHY, steps_most=0).take == Take(Side.YES, 4_500, 500)


def test_nobody_opposite_means_that_it_cannot_be_flattened() -> None:
    taken = take(a_view(no={5_500: 1_000}), LONG, Quotes(()), "mine", WHY, steps_most=2)
    assert (taken.take, taken.whys[-1].code) == (None, "not_flattenable")


def test_of_two_takes_the_wider_limit_wins_whatever_the_order() -> None:
    narrow = take(VIEW, LONG, Quotes(()), "narrow", WHY, steps_most=1)
    wide = take(VIEW, LONG, Quotes(()), "wide", WHY, steps_most=3)
    wider = take(VIEW, LONG, narrow, "wide", WHY, steps_most=3)
    assert (wider.take, wider.flattening) == (wide.take, Flattening("wide", NOW_US))
    same = take(VIEW, LONG, wide, "narrow", WHY, steps_most=1)
    assert (same.take, same.flattening) == (wide.take, Flattening("wide", NOW_US))


def test_of_two_takes_with_one_limit_the_first_leads() -> None:
    first = take(VIEW, LONG, Quotes(()), "first", WHY, steps_most=1)
    assert take(VIEW, LONG, first, "second", WHY, steps_most=1).flattening == Flattening("first", NOW_US)


def test_a_wider_take_does_not_take_the_lead_from_a_stop_loss() -> None:
    stopped = take(VIEW, LONG, Quotes(()), "stop_loss", WHY, steps_most=1)
    wider = take(VIEW, LONG, stopped, "wide", WHY, steps_most=3)
    assert (wider.take, wider.flattening) == (Take(Side.NO, 6_100, 500), Flattening("stop_loss", NOW_US))


def test_while_something_is_taken_no_exit_rests() -> None:
    taken = take(VIEW, LONG, Quotes(()), "mine", WHY, steps_most=1)
    rested = rest(VIEW, LONG, taken, "patient", WHY)
    assert (rested.quotes, rested.take) == ((), taken.take)


def test_an_exit_at_rest_makes_way_for_a_take() -> None:
    rested = rest(VIEW, LONG, Quotes(()), "patient", WHY)
    assert take(VIEW, LONG, rested, "mine", WHY, steps_most=1).quotes == ()


def test_the_limit_ends_at_the_last_price_of_the_grid() -> None:
    assert take_limit_cc(a_view({200: 1}, {9_700: 1}), Side.NO, 5) == 9_900


def test_a_touch_that_is_off_the_grid_is_met_by_the_step_beyond_it() -> None:
    view = a_view({4_250: 1}, {5_500: 1})
    assert take_limit_cc(view, Side.NO, 0) is None
    assert take_limit_cc(view, Side.NO, 1) == 5_800


@given(st.integers(1, 999).map(lambda n: n * 10), st.integers(0, 100), st.sampled_from(list(Side)))
def test_a_limit_meets_the_touch_and_is_no_more_steps_worse_than_allowed(
    best_cc: int, steps_most: int, side: Side
) -> None:
    levels = {best_cc: 100}
    grid = TAPERED_DECI_CENT_GRID
    view = a_view(no=levels, grid=grid) if side is Side.YES else a_view(levels, grid=grid)
    limit_cc = take_limit_cc(view, side, steps_most)
    touch_cc = 10_000 - best_cc
    if limit_cc is None:
        assert not grid.contains(side, touch_cc)
        return
    assert grid.contains(side, limit_cc)
    assert limit_cc >= touch_cc
    assert grid.rank(side, limit_cc) - grid.rank(side, touch_cc) <= steps_most


# What it costs


def test_to_get_out_costs_the_way_from_the_mid_through_the_book_and_the_fee() -> None:
    # Mid 43.5: ten contracts at 42 lose 1.5 each, five at 41 lose 2.5 each: 27.5 cents.
    view = a_view({4_200: 1_000, 4_100: 2_000}, {5_500: 1_000}, fees=FEES)
    cost = flatten_cost(view, TraderState(position_cx=1_500))
    # 7 % of 10 × 0.42 × 0.58 and of 5 × 0.41 × 0.59, each rounded up to $0.0001.
    assert cost == FlattenCost(275_000, 170_600 + 84_700)
    assert cost.total_ud == 530_300


def test_what_is_short_is_closed_on_the_other_side() -> None:
    # Mid 43.5: ten contracts at 45 and five at 46 cost 1.5 and 2.5 more each.
    assert flatten_cost(VIEW, TraderState(position_cx=-1_500)) == FlattenCost(275_000, None)


def test_a_book_that_is_too_thin_gives_no_cost() -> None:
    view = a_view({4_200: 1_000}, {5_500: 1_000}, fees=FEES)
    assert flatten_cost(view, TraderState(position_cx=1_001)) == FlattenCost(None, None)


def test_unknown_fees_leave_the_cost_unknown() -> None:
    assert flatten_cost(VIEW, LONG).total_ud is None
    strange = a_view({4_200: 1_000}, {5_500: 1_000}, fees=FeeTerms(FeeSchedule("flat", 10_000)))
    assert flatten_cost(strange, LONG) == FlattenCost(75_000, None)


def test_the_fee_is_that_of_the_price_we_would_pay_on_our_own_side() -> None:
    view = a_view({4_230: 100}, {5_500: 100}, fees=FEES)
    fees_ud = [predicted_fee_ud(FEES, is_taker=True, price_cc=p, count_cx=1, at_us=NOW_US) for p in (5_770, 4_230)]
    assert fees_ud[0] != fees_ud[1]  # by the rounding alone
    assert flatten_cost(view, TraderState(position_cx=1)).fee_ud == fees_ud[0]


def test_half_a_cent_of_spread_is_rounded_against_us() -> None:
    assert flatten_cost(a_view({4_200: 100}, {5_499: 100}), TraderState(position_cx=1)).spread_ud == 151


def test_a_position_brings_what_the_opposite_touch_pays() -> None:
    assert proceeds_at_touch_ud(VIEW, LONG) == 500 * 4_200
    assert proceeds_at_touch_ud(VIEW, SHORT) == 500 * 5_500
    assert proceeds_at_touch_ud(CROSSED, LONG) is None


@given(
    st.dictionaries(st.integers(1, 49).map(lambda n: n * 100), st.integers(1, 500), min_size=1, max_size=6),
    st.dictionaries(st.integers(1, 49).map(lambda n: n * 100), st.integers(1, 500), min_size=1, max_size=6),
    st.integers(-600, 600).filter(bool),
)
def test_getting_out_never_pays_and_a_mirrored_market_costs_the_same(yes: Levels, no: Levels, position_cx: int) -> None:
    cost = flatten_cost(a_view(yes, no, fees=FEES), TraderState(position_cx=position_cx))
    assert cost == flatten_cost(a_view(no, yes, fees=FEES), TraderState(position_cx=-position_cx))
    depth_cx = sum((yes if position_cx > 0 else no).values())
    assert (cost.total_ud is None) == (depth_cx < abs(position_cx))
    assert cost.total_ud is None or cost.total_ud > 0
