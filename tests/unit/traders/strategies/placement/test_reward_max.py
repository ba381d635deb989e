from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid
from markets.core.rewards import BPS, HOUR_US, ProgramTerms, score_market
from markets.core.scoring import OwnOrder
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side
from tests.fixtures.views import NOW_US, a_view
from tests.unit.markets.core.rewardbooks import EXAMPLE_1
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import said
from traders.strategies.placement.reward_max import Params, quotes

NEARLY = Fraction(999_999, 1_000_000)  # the search reckons with factors of 32 bits

DEEP_NO = {5_500: 25_000, 5_400: 50_000, 5_300: 150_000}  # qualifies without us


def a_program(**changes: Any) -> ProgramTerms:
    """Return that of example 1: $100 over 16 h, 1000 contracts, d = 0.5."""
    terms = {
        "program_id": "lip",
        "period_reward_cc": 1_000_000,
        "target_size_cx": 100_000,
        "discount_bps": 5_000,
        "start_us": NOW_US,
        "end_us": NOW_US + 16 * HOUR_US,
    }
    return ProgramTerms(**(terms | changes))


def a_market(
    yes: dict[int, int] = EXAMPLE_1[0],
    no: dict[int, int] = EXAMPLE_1[1],
    *programs: ProgramTerms,
    grid: PriceGrid = CENT_GRID,
) -> MarketView:
    return a_view(yes, no, grid=grid, programs=programs or (a_program(),))


def wanted(view: MarketView, position_cx: int = 0, **params: int) -> Quotes:
    defaults = {"bid_cx": 5_000, "ask_cx": 5_000, "max_position_cx": 1_000_000}
    return quotes(view, TraderState(position_cx=position_cx), Params(**(defaults | params)))


def codes(wanted: Quotes) -> list[str]:
    return [why.code for why in wanted.whys]


def exact_ud_h(view: MarketView, quotes: tuple[Quote, ...]) -> dict[Side, Fraction]:
    orders = [OwnOrder(quote.side.name, quote.side, quote.price_cc, quote.count_cx) for quote in quotes]
    score = score_market(
        view.grid, view.book.levels, orders, view.programs, own_in_book=False, at_us=view.time_us
    ).order_ud_per_hour
    return {order.side: score[order.order_id] or Fraction(0) for order in orders}


# What is chosen


def test_it_rests_at_the_reference_where_a_step_costs_half() -> None:
    """41¢ scores in full like 42¢, for less: 50 of 920; one step lower it would be 25 of 895."""
    found = wanted(a_market())
    assert found.quotes == (Quote(Side.YES, 4_100, 5_000), Quote(Side.NO, 5_500, 5_000))
    assert found.must_qualify


def test_it_says_what_that_earns() -> None:
    bid, ask = wanted(a_market()).whys
    assert {name: bid.figures[name] for name in ("rate_ud_h", "share_ppb", "collateral_ud", "rate_bps_h")} == {
        "rate_ud_h": 169_836,  # $3.125 × 50 / 920
        "share_ppb": 54_347_826,
        "collateral_ud": 20_500_000,
        "rate_bps_h": 82,
    }
    assert bid.figures["marginal_bps_h"] == 78  # $3.125 × 870 / (919 × 920) on 41¢
    assert ask.figures["rate_ud_h"] == 168_918  # $3.125 × 50 / 925
    assert said([bid]) == "bid 41¢ × 50 earns $0.169836/h on $20.50: 82 bps/h, the last portion 78"


def test_it_goes_to_the_floor_where_a_step_costs_nothing() -> None:
    found = wanted(a_market(EXAMPLE_1[0], EXAMPLE_1[1], a_program(discount_bps=10_000)))
    assert [quote.price_cc for quote in found.quotes] == [4_000, 5_300]


def test_it_draws_the_reference_up_where_its_size_can() -> None:
    """80 more at 42¢ make it the reference: rivals below score halves and quarters."""
    found = wanted(a_market(), bid_cx=8_000, improve_most_steps=0)
    assert found.on(Side.YES) == Quote(Side.YES, 4_200, 8_000)
    assert found.whys[0].figures["rate_ud_h"] == 434_782  # $3.125 × 80 / (80 + 120 + 150 + 225)


def test_it_stands_no_further_before_the_others_than_allowed() -> None:
    assert [
        found.price_cc
        for steps in range(3)
        if (found := wanted(a_market(), bid_cx=20_000, improve_most_steps=steps).on(Side.YES))
    ] == [4_200, 4_300, 4_400]


def test_it_stops_growing_where_a_portion_earns_too_little() -> None:
    found = wanted(a_market(), min_rate_bps_h=82)
    assert found.on(Side.YES) == Quote(Side.YES, 4_100, 2_900)
    assert found.whys[0].figures["marginal_bps_h"] == 82


def test_it_ties_up_no_more_than_allowed() -> None:
    found = wanted(a_market(), max_collateral_ud=10 * DOLLAR_UD)
    assert found.quotes == (Quote(Side.YES, 4_100, 2_439), Quote(Side.NO, 5_500, 1_818))


def test_of_two_prices_that_earn_the_same_it_takes_the_deeper() -> None:
    """$2 buys 100 at 2¢ that score in full, or 200 at 1¢ that score half."""
    view = a_market({200: 20_000, 100: 90_000}, DEEP_NO)
    found = wanted(view, bid_cx=30_000, max_collateral_ud=2 * DOLLAR_UD, improve_most_steps=0)
    assert found.on(Side.YES) == Quote(Side.YES, 100, 20_000)
    assert exact_ud_h(view, (Quote(Side.YES, 200, 10_000),)) == exact_ud_h(view, (Quote(Side.YES, 100, 20_000),))


def test_a_price_beyond_the_limit_is_not_looked_at_unless_it_is_the_deepest() -> None:
    yes = {4_000 - 100 * at: 6_000 for at in range(20)}  # the target is reached at 24¢
    program = a_program(discount_bps=9_900)
    assert wanted(a_market(yes, DEEP_NO, program), levels_most=5).on(Side.YES) == Quote(Side.YES, 2_400, 5_000)
    # Where a step costs nearly all, the reference at 37¢ is best: the sixth of 41¢, 40¢, 39¢, 38¢, 37¢ and 24¢.
    steep = a_program(discount_bps=500)
    assert wanted(a_market(yes, DEEP_NO, steep), bid_cx=1_000, levels_most=5).on(Side.YES) == Quote(
        Side.YES, 3_800, 1_000
    )
    assert wanted(a_market(yes, DEEP_NO, steep), bid_cx=1_000, levels_most=6).on(Side.YES) == Quote(
        Side.YES, 3_700, 1_000
    )


def test_its_own_quotes_never_meet() -> None:
    """A spread of two steps and sizes that would both like the middle: the one that earns more for its money has it."""
    view = a_market({4_000: 90_000, 3_900: 90_000}, {5_800: 90_000, 5_700: 90_000})
    found = wanted(view, bid_cx=20_000, ask_cx=20_000, max_collateral_ud=1_000 * DOLLAR_UD)
    assert [quote.price_cc for quote in found.quotes] == [4_100, 5_800]
    assert wanted(view, bid_cx=20_000, ask_cx=0).on(Side.YES) == Quote(Side.YES, 4_100, 20_000)
    asks = wanted(view, bid_cx=0, ask_cx=20_000, max_collateral_ud=1_000 * DOLLAR_UD)
    assert asks.on(Side.NO) == Quote(Side.NO, 5_900, 20_000)


# Sides that are too thin


THIN = {500: 6_000, 400: 9_000}  # example 3: 150 of 500
THIN_TERMS = {"period_reward_cc": 300_000, "target_size_cx": 50_000, "end_us": NOW_US + 168 * HOUR_US}


def test_a_side_that_cannot_qualify_even_with_us_leaves_both_unquoted() -> None:
    found = wanted(a_market(EXAMPLE_1[0], THIN, a_program(**THIN_TERMS)), ask_cx=34_999)
    assert (found.quotes, codes(found)) == ((), ["cannot_qualify", "cannot_qualify"])
    assert said(found.whys[:1]) == (
        "bid held: the ask cannot qualify, others show 150 and we may add 349.99 to reach 500"
    )


def test_a_side_that_needs_us_is_filled_up_where_that_is_cheapest() -> None:
    view = a_market(EXAMPLE_1[0], THIN, a_program(**THIN_TERMS))
    found = wanted(view, ask_cx=35_000, min_rate_bps_h=0)
    assert found.on(Side.NO) == Quote(Side.NO, 100, 35_000)  # 350 × ⅛ of 193.75, at a quarter of the price of 4¢
    assert found.on(Side.YES) is not None
    rates = exact_ud_h(view, found.quotes)
    assert found.whys[1].figures["rate_ud_h"] == int(rates[Side.NO]) == 20_161


def test_a_needed_side_may_earn_too_little_if_both_together_earn_enough() -> None:
    """The 200 that the ask lacks make $1.25 an hour on $194, which is 64 bps; 500 at 1¢ make $1.56 on $5."""
    view = a_market({100: 50_000}, {9_700: 30_000}, a_program(target_size_cx=50_000, discount_bps=100))
    limits = {"max_collateral_ud": 200 * DOLLAR_UD, "min_rate_bps_h": 70, "improve_most_steps": 0}
    alone = wanted(view, bid_cx=0, ask_cx=20_000, **limits)
    assert (alone.quotes, codes(alone)) == ((), ["not_chosen", "not_worth_it"])
    both = wanted(view, bid_cx=50_000, ask_cx=20_000, **limits)
    assert both.quotes == (Quote(Side.YES, 100, 50_000), Quote(Side.NO, 9_700, 20_000))


def test_both_sides_of_an_empty_book_are_filled_at_the_lowest_price() -> None:
    found = wanted(a_market({}, {}, a_program(target_size_cx=50_000)), bid_cx=50_000, ask_cx=60_000)
    assert found.quotes == (Quote(Side.YES, 100, 50_000), Quote(Side.NO, 100, 50_000))  # alone: no more is needed
    assert found.whys[0].figures["share_ppb"] == 1_000_000_000


def test_a_position_that_leaves_no_room_cannot_make_a_side_qualify() -> None:
    view = a_market(EXAMPLE_1[0], THIN, a_program(**THIN_TERMS))
    found = wanted(view, position_cx=-1_000_000, ask_cx=50_000)
    assert (found.quotes, codes(found)) == ((), ["cannot_qualify", "cannot_qualify"])


def test_money_that_does_not_reach_cannot_make_a_side_qualify() -> None:
    view = a_market(EXAMPLE_1[0], THIN, a_program(**THIN_TERMS))
    assert codes(wanted(view, ask_cx=50_000, max_collateral_ud=3_490_000)) == ["cannot_qualify"] * 2
    assert codes(wanted(view, ask_cx=50_000, max_collateral_ud=3_500_000))[1] == "earns"


def test_a_side_with_no_price_below_the_others_best_cannot_qualify() -> None:
    found = wanted(a_market({9_900: 200_000}, {}), ask_cx=500_000)
    assert (found.quotes, codes(found)) == ((), ["cannot_qualify", "cannot_qualify"])
    assert "we may add 0" in said(found.whys)


def test_a_small_target_is_served_where_a_large_one_is_out_of_reach() -> None:
    """The large program would pay most at its floor of 39¢, but the ask is too thin for it whatever we do."""
    large = a_program(target_size_cx=300_000, discount_bps=10_000, period_reward_cc=1_000_000_000)
    found = wanted(a_market(EXAMPLE_1[0], THIN, a_program(target_size_cx=10_000), large))
    assert found.on(Side.YES) == Quote(Side.YES, 4_300, 5_000)  # 50 are over a fifth of 100: the reference


def test_a_needed_side_that_can_only_be_filled_where_it_scores_nothing_is_not_worth_it() -> None:
    program = a_program(**(THIN_TERMS | {"discount_bps": 0}))
    found = wanted(a_market(EXAMPLE_1[0], THIN, program), ask_cx=35_000, max_collateral_ud=3_500_000)
    assert (found.quotes, codes(found)) == ((), ["not_worth_it", "not_worth_it"])


def test_of_two_targets_it_goes_for_the_one_that_is_worth_more() -> None:
    rich = a_program(target_size_cx=40_000)
    poor = a_program(target_size_cx=10_000, period_reward_cc=100)
    found = wanted(a_market(EXAMPLE_1[0], THIN, rich, poor), ask_cx=50_000)
    ask = found.on(Side.NO)
    assert ask is not None
    assert ask.count_cx >= 25_000  # what the rich program's target lacks
    found = wanted(
        a_market(
            EXAMPLE_1[0], THIN, a_program(target_size_cx=40_000, period_reward_cc=100), a_program(target_size_cx=10_000)
        ),
        ask_cx=50_000,
        min_rate_bps_h=1_000,
    )
    ask = found.on(Side.NO)
    assert ask is None or ask.count_cx < 25_000


# When nothing is paid


@pytest.mark.parametrize(
    "program",
    [
        a_program(start_us=NOW_US + 1),
        a_program(start_us=NOW_US - HOUR_US, end_us=NOW_US),
        a_program(incentive_type="volume"),
    ],
)
def test_without_a_running_liquidity_program_it_quotes_nothing(program: ProgramTerms) -> None:
    found = wanted(a_market(EXAMPLE_1[0], EXAMPLE_1[1], program))
    assert (found.quotes, codes(found)) == ((), ["no_program", "no_program"])


@pytest.mark.parametrize("missing", ["period_reward_cc", "target_size_cx", "discount_bps"])
def test_a_program_of_unknown_terms_makes_everything_unknown(missing: str) -> None:
    found = wanted(a_market(*EXAMPLE_1, a_program(), a_program(program_id="odd", **{missing: None})))
    assert (found.quotes, codes(found)) == ((), ["unknown_terms", "unknown_terms"])
    assert "program odd" in said(found.whys)


def test_an_empty_pool_is_worth_no_collateral() -> None:
    found = wanted(a_market(*EXAMPLE_1, a_program(period_reward_cc=0)), min_rate_bps_h=0)
    assert (found.quotes, codes(found)) == ((), ["not_worth_it", "not_worth_it"])


def test_a_rate_that_nothing_reaches_quotes_nothing() -> None:
    found = wanted(a_market(), min_rate_bps_h=90)
    assert (found.quotes, codes(found)) == ((), ["not_worth_it", "not_worth_it"])


def test_one_side_may_be_worth_it_alone() -> None:
    found = wanted(a_market(), min_rate_bps_h=75)  # of 55¢, $3.125 / 875 is 65 bps
    assert ([quote.side for quote in found.quotes], codes(found)) == ([Side.YES], ["earns", "earns_too_little"])


def test_a_full_position_leaves_the_side_that_reduces_it() -> None:
    found = wanted(a_market(), position_cx=1_000_000)
    assert ([quote.side for quote in found.quotes], codes(found)) == ([Side.NO], ["position_full", "earns"])


def test_what_would_make_less_than_a_dollar_is_pointed_out() -> None:
    short = a_program(end_us=NOW_US + 16 * HOUR_US, start_us=NOW_US)
    assert codes(wanted(a_market(*EXAMPLE_1, short))) == ["earns", "earns"]  # $0.338/h for 16 h
    late = msgspec.structs.replace(a_market(), time_us=NOW_US + 14 * HOUR_US)
    found = wanted(late)
    assert codes(found) == ["earns", "earns", "under_minimum"]
    assert "makes $0.68" in said(found.whys)


def test_a_skew_that_leaves_the_money_takes_the_quote_away() -> None:
    """Half a full position moves both two steps: the bid below its floor of 40¢, the ask to 57¢ on its ladder."""
    found = wanted(a_market(), position_cx=500_000, skew_steps=4)
    assert ([quote.price_cc for quote in found.quotes], codes(found)[:2]) == ([5_700], ["earns_too_little", "earns"])
    assert int(exact_ud_h(a_market(), found.quotes)[Side.NO]) == found.whys[1].figures["rate_ud_h"]


# Whatever the market


levels = st.dictionaries(st.integers(0, 14), st.integers(1, 60_000), max_size=8)
terms = st.builds(
    lambda target_cx, discount_bps: a_program(target_size_cx=target_cx, discount_bps=discount_bps),
    st.integers(100, 150_000),
    st.sampled_from([500, 5_000, 9_000, 9_900, 10_000]),
)


@st.composite
def markets(draw: st.DrawFn) -> MarketView:
    grid = draw(st.sampled_from([CENT_GRID, TAPERED_DECI_CENT_GRID]))
    prices = grid.prices_cc(Side.YES)
    start = draw(st.sampled_from([0, len(prices) // 3]))
    yes = {prices[start + at]: count_cx for at, count_cx in draw(levels).items()}
    top_cc = max(yes, default=prices[start])
    room = [price_cc for price_cc in reversed(grid.prices_cc(Side.NO)) if price_cc + top_cc < DOLLAR_CC]
    no = {room[at]: count_cx for at, count_cx in draw(levels).items() if at < len(room)}
    programs = draw(st.lists(terms, min_size=1, max_size=2))
    return a_market(yes, no, *programs, grid=grid)


sizes = st.integers(1, 120_000)


@given(markets(), sizes, sizes, st.integers(-6_000, 6_000), st.integers(0, 5))
@settings(max_examples=150)
def test_every_quote_earns_exactly_what_is_said(
    view: MarketView, bid_cx: int, ask_cx: int, position_cx: int, skew_steps: int
) -> None:
    found = wanted(view, position_cx, bid_cx=bid_cx, ask_cx=ask_cx, max_position_cx=5_000, skew_steps=skew_steps)
    rates = exact_ud_h(view, found.quotes)
    assert all(rate > 0 for rate in rates.values())
    earning = {why.side: why.figures["rate_ud_h"] for why in found.whys if "rate_ud_h" in why.figures}
    assert earning == {side: int(rate) for side, rate in rates.items()}


@given(markets(), sizes, st.sampled_from(list(Side)), st.sampled_from([0, 1, 50, 500]))
@settings(max_examples=40)
def test_no_price_in_reach_earns_more_for_its_collateral(
    view: MarketView, most_cx: int, side: Side, rate_bps_h: int
) -> None:
    """Each with the portions that net most there, all scored exactly."""
    step_cx = max(100, most_cx // 4)
    limits = {"step_cx": step_cx, "min_rate_bps_h": rate_bps_h, "levels_most": 100, "max_collateral_ud": 10**12}
    one_sided = {"bid_cx": 0, "ask_cx": 0} | {f"{side.book_side}_cx": most_cx}
    quote = wanted(view, **one_sided, **limits).on(side)
    found = 0 if quote is None else exact_ud_h(view, (quote,))[side] / (quote.price_cc * quote.count_cx)
    best_rank = view.grid.rank(side, view.best_cc(side))
    for price_cc in view.grid.prices_cc(side)[max(0, best_rank - 20) : best_rank + 1]:
        if view.passive_cc(side, price_cc) != price_cc:
            continue
        counts = [*range(step_cx, most_cx, step_cx), most_cx]
        rates = {count_cx: exact_ud_h(view, (Quote(side, price_cc, count_cx),))[side] for count_cx in counts}
        nets = {count_cx: rate - Fraction(price_cc * count_cx * rate_bps_h, BPS) for count_cx, rate in rates.items()}
        best_cx = max(counts, key=nets.__getitem__)
        if nets[best_cx] > 0:
            assert found >= rates[best_cx] / (price_cc * best_cx) * NEARLY
