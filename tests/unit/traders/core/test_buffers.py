from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID
from markets.core.rewards import ProgramTerms
from markets.core.scoring import OwnOrder, score_side
from markets.core.units import Side
from tests.fixtures.views import Levels, a_program, a_view
from traders.core.buffers import Keeping, Need, Spot, first_spot, keep, qualifying_floor_cc, resting_spot, spots
from traders.core.orders import RestingQuote
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import Why, said

# The worked example of market_making.md: 0.62 × 300, 0.61 × 200, 0.60 × 300 of which 100 are ours.
OTHERS = {6_200: 30_000, 6_100: 20_000, 6_000: 20_000}
WISH = Quote(Side.YES, 6_200, 10_000)


def resting(price_cc: int, ahead_cx: int | None, remaining_cx: int = 10_000, side: Side = Side.YES) -> RestingQuote:
    return RestingQuote(f"{side.name}-{price_cc}", side, price_cc, remaining_cx, ahead_cx)


def kept(
    view: MarketView,
    *orders: RestingQuote,
    needed_cx: int,
    wish: Quote = WISH,
    keeping: Keeping = Keeping(),  # noqa: B008
    must_qualify: bool = False,
) -> tuple[int | None, Why]:
    """Return the price at which the wish ends, None when dropped, and the reason."""
    quotes = Quotes((wish,), must_qualify=must_qualify)
    result = keep(view, TraderState(resting=orders), quotes, keeping, lambda _: Need(needed_cx))
    quote = result.on(wish.side)
    return (None if quote is None else quote.price_cc), result.whys[-1]


# What stands before


def test_the_buffer_of_an_order_at_rest_is_what_is_better_and_its_queue_ahead() -> None:
    assert resting_spot(a_view(OTHERS), resting(6_000, 15_000)) == Spot(6_000, 65_000, 15_000)


def test_of_an_unknown_queue_ahead_nothing_counts() -> None:
    assert resting_spot(a_view(OTHERS), resting(6_000, None)) == Spot(6_000, 50_000, None)


def test_no_more_is_ahead_than_the_others_show() -> None:
    assert resting_spot(a_view(OTHERS), resting(6_000, 25_000)) == Spot(6_000, 70_000, 20_000)


def test_a_new_order_stands_behind_its_whole_level() -> None:
    assert spots(a_view(OTHERS), WISH, 20) == [
        Spot(6_200, 30_000, 30_000),
        Spot(6_100, 50_000, 20_000),
        Spot(6_000, 70_000, 20_000),
    ]


def test_a_price_between_levels_has_all_better_ones_before_it() -> None:
    assert spots(a_view({6_200: 100, 6_000: 300}), WISH, 20)[1] == Spot(6_100, 100, 0)


def test_it_looks_no_further_down_than_it_may() -> None:
    assert [spot.price_cc for spot in spots(a_view({6_200: 1, 1_000: 1}), WISH, 2)] == [6_200, 6_100, 6_000]


def test_under_all_levels_it_looks_at_the_wish_alone() -> None:
    assert spots(a_view({7_000: 500}), WISH, 20) == [Spot(6_200, 500, 0)]
    assert spots(a_view(), WISH, 20) == [Spot(6_200, 0, 0)]


def test_a_wish_off_the_grid_is_looked_at_from_the_price_below() -> None:
    assert spots(a_view(OTHERS), Quote(Side.YES, 6_150, 1), 0) == [Spot(6_100, 50_000, 20_000)]


@given(
    st.dictionaries(st.integers(1, 999).map(lambda n: n * 10), st.integers(1, 500), max_size=12),
    st.sampled_from(TAPERED_DECI_CENT_GRID.prices_cc(Side.NO)),
    st.integers(0, 60),
)
def test_the_ladder_of_spots_says_what_the_book_says(levels: Levels, price_cc: int, steps_most: int) -> None:
    view = a_view(no=levels, grid=TAPERED_DECI_CENT_GRID)
    found = spots(view, Quote(Side.NO, price_cc, 1), steps_most)
    assert found[0].price_cc == price_cc
    assert len(found) <= steps_most + 1
    for spot in found:
        at_cx = view.book.size_cx(Side.NO, spot.price_cc)
        assert spot.ahead_cx == at_cx
        assert spot.buffer_cx == view.book.better_cx(Side.NO, spot.price_cc) + at_cx


@given(
    st.dictionaries(st.integers(1, 999).map(lambda n: n * 10), st.integers(1, 500), max_size=12), st.integers(1, 9_999)
)
def test_the_first_spot_is_the_one_that_the_ladder_begins_with(levels: Levels, price_cc: int) -> None:
    view, quote = a_view(no=levels, grid=TAPERED_DECI_CENT_GRID), Quote(Side.NO, price_cc, 1)
    assert first_spot(view, quote) == next(iter(spots(view, quote, 0)), None)


# How deep


def test_a_wish_with_enough_before_it_rests_where_it_is() -> None:
    price_cc, why = kept(a_view(OTHERS), needed_cx=30_000)
    assert (price_cc, why.code, why.side) == (6_200, "buffered", Side.YES)
    assert why.figures == {
        "yes_price_cc": 6_200,
        "wished_yes_price_cc": 6_200,
        "steps_deeper": 0,
        "buffer_cx": 30_000,
        "buffer_bps": 7_500,
        "ahead_cx": 30_000,
        "needed_cx": 30_000,
        "short_cx": 0,
    }


def test_it_goes_no_deeper_than_it_must() -> None:
    assert kept(a_view(OTHERS), needed_cx=30_001)[0] == 6_100
    assert kept(a_view(OTHERS), needed_cx=50_001)[0] == 6_000


def test_an_ask_goes_deeper_on_its_own_ladder() -> None:
    price_cc, why = kept(a_view(no=OTHERS), needed_cx=40_000, wish=Quote(Side.NO, 6_200, 10_000))
    assert price_cc == 6_100
    assert said((why,)) == "ask 39¢ has 500 before it (83.3 %); 400 needed"


def test_without_a_price_that_is_enough_there_is_no_quote() -> None:
    price_cc, why = kept(a_view(OTHERS), needed_cx=70_001)
    assert (price_cc, why.code, why.figures["short_cx"]) == (None, "buffer_missing", 1)


def test_enough_beyond_reach_is_not_enough() -> None:
    assert kept(a_view(OTHERS), needed_cx=60_000, keeping=Keeping(steps_most=1))[0] is None


def test_below_the_grid_there_is_no_quote() -> None:
    assert kept(a_view(OTHERS), needed_cx=0, wish=Quote(Side.YES, 50, 100)) == (
        None,
        Why("off_grid", "{side} dropped: no price of the grid is low enough", {}, Side.YES),
    )


# Hysteresis: 50 000 needed, 40 000 keep a place, 60 000 draw closer


def test_an_order_stays_while_about_enough_is_before_it() -> None:
    price_cc, why = kept(a_view(OTHERS), resting(6_100, 10_000), needed_cx=50_000)
    assert (price_cc, why.code, why.figures["buffer_cx"]) == (6_100, "buffer_kept", 40_000)


def test_an_order_with_enough_before_it_is_simply_buffered() -> None:
    assert kept(a_view(OTHERS), resting(6_000, 0), needed_cx=50_000)[1].code == "buffered"


def test_an_order_with_too_little_before_it_goes_deeper() -> None:
    view = a_view({6_200: 30_000, 6_100: 5_000, 6_000: 20_000})
    assert kept(view, resting(6_100, 5_000), needed_cx=50_000)[0] == 6_000


def test_a_closer_price_with_just_enough_does_not_draw_an_order_from_its_place() -> None:
    assert kept(a_view(OTHERS), resting(6_000, 0), needed_cx=50_000)[0] == 6_000
    assert kept(a_view({**OTHERS, 6_100: 29_999}), resting(6_000, 0), needed_cx=50_000)[0] == 6_000


def test_a_closer_price_with_more_than_enough_does() -> None:
    assert kept(a_view({**OTHERS, 6_100: 30_000}), resting(6_000, 0), needed_cx=50_000)[0] == 6_100


def test_a_price_between_the_touch_and_an_order_draws_it_where_the_touch_does_not() -> None:
    view = a_view({6_200: 10_500, 6_100: 10_000, 6_000: 10_000})
    assert kept(view, resting(6_000, 0), needed_cx=10_000)[0] == 6_100


def test_without_hysteresis_it_follows_the_book() -> None:
    firm = Keeping(hysteresis_bps=0)
    assert kept(a_view(OTHERS), resting(6_000, 0), needed_cx=50_000, keeping=firm)[0] == 6_100
    assert kept(a_view(OTHERS), resting(6_000, 0), needed_cx=50_001, keeping=firm)[1].code == "buffer_requeues"


def test_an_order_at_the_front_of_a_large_level_leaves_for_its_back() -> None:
    view = a_view(OTHERS)
    price_cc, why = kept(view, resting(6_200, 0), needed_cx=30_000)
    assert (price_cc, why.code, why.figures["buffer_cx"]) == (None, "buffer_requeues", 0)
    assert kept(view, needed_cx=30_000)[0] == 6_200


def test_an_order_with_an_unknown_place_has_only_better_prices_before_it() -> None:
    price_cc, why = kept(a_view(OTHERS), resting(6_100, None), needed_cx=30_000)
    assert (price_cc, why.figures["buffer_cx"], why.figures["ahead_cx"]) == (6_100, 30_000, None)
    assert "its place in the queue unknown and not counted" in said((why,))


def test_an_order_at_a_better_price_than_the_wish_has_no_say() -> None:
    lower = Quote(Side.YES, 6_000, 10_000)
    assert kept(a_view(OTHERS), resting(6_100, 20_000), needed_cx=50_000, wish=lower)[0] == 6_000


def test_what_is_left_of_an_order_that_filled_in_part_stands_at_the_front() -> None:
    view = a_view({6_200: 30_000, 6_100: 12_000, 6_000: 20_000})
    for remaining_cx in (5_000, 10_000):
        assert kept(view, resting(6_100, 0, remaining_cx=remaining_cx), needed_cx=50_000)[0] == 6_000


# Where a quote must go on qualifying


def test_the_floor_is_the_level_with_which_the_others_reach_the_target() -> None:
    view = a_view(OTHERS, programs=(a_program(40_000),))
    assert qualifying_floor_cc(view, Side.YES, WISH) == 6_100


def test_with_several_programs_the_highest_floor_counts() -> None:
    view = a_view(OTHERS, programs=(a_program(60_000), a_program(20_000)))
    assert qualifying_floor_cc(view, Side.YES, WISH) == 6_200


def test_programs_that_do_not_run_or_pay_otherwise_or_have_no_target_set_no_floor() -> None:
    idle = (a_program(20_000, runs=False), a_program(20_000, kind="volume"), a_program(None))
    assert qualifying_floor_cc(a_view(OTHERS, programs=idle), Side.YES, WISH) is None


def test_a_side_that_reaches_the_target_only_with_us_lets_us_rest_anywhere() -> None:
    view = a_view(OTHERS, programs=(a_program(75_000),))
    assert qualifying_floor_cc(view, Side.YES, WISH) == 100


def test_a_side_that_reaches_no_target_sets_no_floor() -> None:
    assert qualifying_floor_cc(a_view(OTHERS, programs=(a_program(80_001),)), Side.YES, WISH) is None


def is_scored(view: MarketView, program: ProgramTerms, quote: Quote) -> bool:
    ladder = dict(view.book.levels[quote.side])
    ladder[quote.price_cc] = ladder.get(quote.price_cc, 0) + quote.count_cx
    order = OwnOrder("ours", quote.side, quote.price_cc, quote.count_cx)
    assert program.target_size_cx is not None
    score = score_side(
        view.grid, quote.side, ladder, [order], target_cx=program.target_size_cx, discount=Fraction(1, 2)
    )
    return score.our_score_cx > 0


cent_levels = st.dictionaries(st.integers(1, 30).map(lambda n: n * 100), st.integers(1, 300), max_size=8)


@given(cent_levels, st.integers(1, 800), st.integers(1, 300))
def test_exactly_at_the_floor_and_above_a_quote_is_scored(levels: Levels, target_cx: int, count_cx: int) -> None:
    program = a_program(target_cx)
    view = a_view(levels, programs=(program,))
    floor_cc = qualifying_floor_cc(view, Side.YES, Quote(Side.YES, 2_000, count_cx))
    for price_cc in CENT_GRID.prices_cc(Side.YES)[:35]:
        scored = is_scored(view, program, Quote(Side.YES, price_cc, count_cx))
        assert scored == (floor_cc is not None and price_cc >= floor_cc)


def test_a_quote_that_must_qualify_rests_at_the_floor_and_says_what_it_lacks() -> None:
    view = a_view(OTHERS, programs=(a_program(40_000),))
    price_cc, why = kept(view, needed_cx=70_000, must_qualify=True)
    assert (price_cc, why.code, why.figures["short_cx"]) == (6_100, "buffer_short", 20_000)
    assert kept(view, needed_cx=70_000)[0] == 6_000


def test_a_quote_that_must_qualify_goes_as_deep_as_it_may_where_nothing_is_enough() -> None:
    view = a_view(OTHERS, programs=(a_program(75_000),))
    assert kept(view, needed_cx=90_000, must_qualify=True)[0] == 6_000


def test_an_order_below_the_floor_does_not_stay() -> None:
    view = a_view(OTHERS, programs=(a_program(40_000),))
    assert kept(view, resting(6_000, 20_000), needed_cx=50_000, must_qualify=True)[0] == 6_100
    assert kept(view, resting(6_000, 20_000), needed_cx=50_000)[0] == 6_000


def test_an_order_at_the_floor_stays_there_with_too_little_before_it() -> None:
    view = a_view(OTHERS, programs=(a_program(40_000),))
    price_cc, why = kept(view, resting(6_100, 0), needed_cx=70_000, must_qualify=True)
    assert (price_cc, why.code, why.figures["short_cx"]) == (6_100, "buffer_short", 40_000)


def test_a_wish_below_the_floor_is_not_moved_up() -> None:
    view = a_view(OTHERS, programs=(a_program(20_000),))
    wish = Quote(Side.YES, 6_100, 10_000)
    assert kept(view, needed_cx=70_000, wish=wish, must_qualify=True)[0] == 6_100


def test_without_a_floor_a_quote_that_must_qualify_is_dropped_like_any_other() -> None:
    assert kept(a_view(OTHERS), needed_cx=90_000, must_qualify=True)[1].code == "buffer_missing"


def test_of_several_orders_the_one_that_is_reached_first_counts() -> None:
    behind, first = resting(6_000, 20_000), resting(6_200, 25_000)
    for orders in ((behind, first), (first, behind)):
        price_cc, why = kept(a_view(OTHERS), *orders, needed_cx=30_000)
        assert (price_cc, why.code, why.figures["buffer_cx"]) == (6_200, "buffer_kept", 25_000)


# Looking at few spots


def kept_by_looking(
    view: MarketView, orders: list[RestingQuote], needed_cx: int, keeping: Keeping, *, must_qualify: bool
) -> tuple[int | None, str]:
    """Return where WISH ends and why, with a look at every spot within reach: the oracle."""
    floor_cc = qualifying_floor_cc(view, WISH.side, WISH) if must_qualify else None
    found = spots(view, WISH, keeping.steps_most)
    open_to = [spot for spot in found if spot.price_cc >= (floor_cc or 0)] or found[:1]
    wish_cc, least_cc = open_to[0].price_cc, min(floor_cc or 0, open_to[0].price_cc)
    places = [o for o in orders if least_cc <= o.price_cc <= wish_cc and view.grid.contains(o.side, o.price_cc)]
    places.sort(key=lambda order: (-order.price_cc, order.ahead_cx or 0))
    ours = resting_spot(view, places[0]) if places else None
    enough = [spot for spot in open_to if spot.buffer_cx >= needed_cx]
    if ours is not None:
        closer = [spot for spot in open_to if spot.price_cc > ours.price_cc]
        ample = [spot for spot in closer if spot.buffer_cx * 10_000 >= needed_cx * (10_000 + keeping.hysteresis_bps)]
        if ample:
            return ample[0].price_cc, "buffered"
        if ours.buffer_cx * 10_000 >= needed_cx * (10_000 - keeping.hysteresis_bps):
            return ours.price_cc, "buffered" if ours.buffer_cx >= needed_cx else "buffer_kept"
        if enough and enough[0].price_cc == ours.price_cc:
            return None, "buffer_requeues"
    if enough:
        return enough[0].price_cc, "buffered"
    return (None, "buffer_missing") if floor_cc is None else (open_to[-1].price_cc, "buffer_short")


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.integers(55, 63).map(lambda n: n * 100), st.integers(1, 40).map(lambda n: n * 1_000), max_size=8
    ),
    st.lists(
        st.builds(
            resting, st.integers(56, 63).map(lambda n: n * 100) | st.just(6_150), st.none() | st.integers(0, 40_000)
        ),
        max_size=3,
    ),
    st.integers(0, 60_000),
    st.builds(Keeping, hysteresis_bps=st.sampled_from([0, 1_000, 2_500]), steps_most=st.integers(0, 6)),
    st.booleans(),
)
def test_a_quote_ends_where_a_look_at_every_spot_within_reach_puts_it(
    levels: Levels, orders: list[RestingQuote], needed_cx: int, keeping: Keeping, must_qualify: bool
) -> None:
    view = a_view(levels, programs=(a_program(50_000),))
    price_cc, why = kept(view, *orders, needed_cx=needed_cx, keeping=keeping, must_qualify=must_qualify)
    assert (price_cc, why.code) == kept_by_looking(view, orders, needed_cx, keeping, must_qualify=must_qualify)
