from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid
from markets.core.rewards import with_orders
from markets.core.scoring import RULE, RULES, OwnOrder, Qualifying, Rule, SideScore, grid_steps, score_side
from markets.core.units import Side, yes_price_cc
from tests.unit.markets.core.rewardbooks import EXAMPLE_1, GRIDS, counts, market_orders, sides, yes

HALF = Fraction(1, 2)
OURS = yes("a", 4_100, 20_000)


def scored(
    ladder: dict[int, int],
    *orders: OwnOrder,
    target_cx: int = 100_000,
    discount: Fraction = HALF,
    rule: Rule = RULE,
    grid: PriceGrid = CENT_GRID,
) -> SideScore:
    """Score a YES side of others' `ladder` with our orders put in."""
    full = with_orders((ladder, {}), orders)[Side.YES]
    return score_side(grid, Side.YES, full, orders, target_cx=target_cx, discount=discount, rule=rule)


def example_1(rule: Rule = RULE) -> SideScore:
    return scored(EXAMPLE_1[Side.YES], OURS, rule=rule)


def test_the_reference_is_where_a_fifth_of_the_target_is_reached() -> None:
    side = example_1()
    assert (side.reference_cc, side.floor_cc) == (4_100, 4_000)
    assert (side.total_cx, side.our_score_cx, side.share) == (107_000, 20_000, Fraction(20, 107))
    assert (side.depth_cx, side.qualifying_cx) == (352_000, 152_000)


def test_the_retired_reading_measures_from_the_best_bid() -> None:
    side = example_1(RULES["2026-02-28"])
    assert side.reference_cc == 4_200
    assert side.share == Fraction(20, 119)


def test_without_the_clamp_a_better_bid_scores_more_than_its_size() -> None:
    side = example_1(Rule(version="unclamped", clamps=False))
    assert side.total_cx == 24_000 + 50_000 + 45_000
    assert side.share == example_1(RULES["2026-02-28"]).share, "the reference cancels out of every share"


def test_a_reading_may_clip_the_last_level_at_the_target() -> None:
    side = scored({4_200: 60_000}, yes("a", 4_100, 80_000), rule=Rule(version="c", qualifying=Qualifying.CLIPPED))
    assert side.total_cx == 60_000 + 20_000
    assert side.our_score_cx == 20_000
    assert side.qualifying_cx == 140_000


def test_clipping_takes_from_everybody_at_the_level_alike() -> None:
    rule = Rule(version="c", qualifying=Qualifying.CLIPPED)
    side = scored({4_200: 60_000, 4_100: 60_000}, yes("a", 4_100, 20_000), rule=rule)
    assert side.our_score_cx == Fraction(40_000, 4) / 2, "a quarter of the 400 needed, a step below the reference"


def test_a_reading_may_score_what_lies_below_the_floor() -> None:
    side = example_1(Rule(version="all", qualifying=Qualifying.ALL_LEVELS))
    assert side.total_cx == 107_000 + 50_000
    assert side.floor_cc == 4_000


def test_the_unit_of_distance_can_be_exchanged() -> None:
    def floored_cents(grid: PriceGrid, side: Side, high_cc: int, low_cc: int) -> int:
        return (high_cc - low_cc) // 100

    ladder = {620: 4_500, 610: 4_000, 600: 20_000, 550: 40_000}
    steps = scored(ladder, target_cx=30_000, grid=TAPERED_DECI_CENT_GRID)
    cents = scored(
        ladder, target_cx=30_000, grid=TAPERED_DECI_CENT_GRID, rule=Rule(version="cents", steps=floored_cents)
    )
    assert steps.total_cx == 4_500 + 4_000 + 10_000 + 625
    assert cents.total_cx == 68_500


def test_a_rule_in_force_has_its_date_and_knows_itself_by_it() -> None:
    assert RULE is RULES["2026-07-30"]
    assert all(rule.version == version for version, rule in RULES.items())


def test_size_that_just_reaches_the_threshold_is_enough() -> None:
    at_reference = scored({4_200: 19_999, 4_100: 1, 4_000: 80_000})
    assert (at_reference.reference_cc, at_reference.floor_cc) == (4_100, 4_000)


def test_a_fifth_that_is_no_whole_hundredth_must_be_reached_in_full() -> None:
    assert scored({4_200: 2, 4_100: 9}, target_cx=11).reference_cc == 4_100
    assert scored({4_200: 3, 4_100: 9}, target_cx=11).reference_cc == 4_200


def test_a_hundredth_short_of_the_target_nobody_scores() -> None:
    side = scored({4_200: 79_999}, OURS)
    assert not side.qualifies
    assert (side.reference_cc, side.qualifying_cx, side.total_cx, side.share) == (4_200, 0, 0, 0)
    assert side.order_scores_cx == {"a": 0}


def test_the_level_that_reaches_the_target_counts_whole_and_none_below_it() -> None:
    side = scored({4_200: 99_999, 4_100: 500_000, 4_000: 700_000}, yes("deep", 4_000, 1_000))
    assert side.floor_cc == 4_100
    assert side.total_cx == 99_999 + 250_000
    assert side.order_scores_cx == {"deep": 0}


def test_a_bid_better_than_the_reference_scores_its_size() -> None:
    side = scored({4_200: 100_000}, yes("better", 4_900, 100))
    assert side.reference_cc == 4_200
    assert side.our_score_cx == 100


def test_a_discount_of_nothing_leaves_the_reference_and_better() -> None:
    side = scored({4_200: 10_000, 4_100: 30_000, 4_000: 60_000}, discount=Fraction(0))
    assert side.total_cx == 40_000


def test_an_empty_side_has_nothing() -> None:
    side = scored({})
    assert (side.depth_cx, side.reference_cc, side.floor_cc, side.share) == (0, None, None, 0)


def test_an_order_that_is_filled_scores_nothing() -> None:
    assert scored({4_200: 100_000}, yes("done", 4_300, 0)).order_scores_cx == {"done": 0}


def test_steps_are_counted_band_by_band() -> None:
    assert grid_steps(TAPERED_DECI_CENT_GRID, Side.YES, 1_200, 980) == 4
    assert grid_steps(TAPERED_DECI_CENT_GRID, Side.NO, 9_310, 9_290) == 2
    assert grid_steps(CENT_GRID, Side.YES, 4_100, 4_200) == -1


def test_a_price_left_behind_by_a_change_of_grid_counts_as_the_tradable_one_below() -> None:
    assert grid_steps(CENT_GRID, Side.YES, 4_200, 4_150) == 1
    assert grid_steps(CENT_GRID, Side.YES, 4_150, 4_100) == 0


def steps_by_bands(grid: PriceGrid, side: Side, high_cc: int, low_cc: int) -> int:
    """Walk the bands of the YES grid between two prices of a side."""
    low, high = sorted((yes_price_cc(side, low_cc), yes_price_cc(side, high_cc)))
    return sum(max(0, min(high, band.end_cc) - max(low, band.start_cc)) // band.step_cc for band in grid.ranges)


@pytest.mark.parametrize("structure", GRIDS)
@given(side=sides, data=st.data())
def test_every_price_structure_steps_alike_on_both_sides(structure: str, side: Side, data: st.DataObject) -> None:
    grid = GRIDS[structure]
    prices = grid.prices_cc(side)
    low, high = sorted(data.draw(st.tuples(st.sampled_from(prices), st.sampled_from(prices))))
    assert grid_steps(grid, side, high, low) == steps_by_bands(grid, side, high, low)


def plainly_scored(
    grid: PriceGrid, side: Side, orders: list[OwnOrder], target_cx: int, discount: Fraction
) -> dict[str, Fraction]:
    """Score every order of a side by the words of the rule, level after level."""
    on_side = [order for order in orders if order.side is side]
    cumulative_cx, reference_cc = 0, None
    scores: dict[str, Fraction] = {}
    for price_cc in sorted({order.price_cc for order in on_side}, reverse=True):
        here = [order for order in on_side if order.price_cc == price_cc]
        cumulative_cx += sum(order.remaining_cx for order in here)
        if reference_cc is None and 5 * cumulative_cx >= target_cx:
            reference_cc = price_cc
        n = 0 if reference_cc is None else steps_by_bands(grid, side, reference_cc, price_cc)
        scores |= {order.order_id: order.remaining_cx * discount**n for order in here}
        if cumulative_cx >= target_cx:
            return scores
    return {}


@given(market_orders(), st.integers(1, 150_000), st.sampled_from([0, 500, 5_000, 9_999, 10_000]), sides)
def test_scores_are_those_of_the_rules_own_words(
    market: tuple[PriceGrid, list[OwnOrder]], target_cx: int, discount_bps: int, side: Side
) -> None:
    grid, orders = market
    discount = Fraction(discount_bps, 10_000)
    mine = [order for order in orders if order.side is side]
    ladder = with_orders(({}, {}), orders)[side]
    found = score_side(grid, side, ladder, mine, target_cx=target_cx, discount=discount)
    plain = plainly_scored(grid, side, orders, target_cx, discount)
    assert found.qualifies == bool(plain)
    assert {name: score for name, score in found.order_scores_cx.items() if score} == {
        name: score for name, score in plain.items() if score
    }
    assert found.total_cx == sum(plain.values())


@given(market_orders(), st.integers(1, 150_000), sides, st.data())
def test_the_shares_of_everybody_add_up_to_one(
    market: tuple[PriceGrid, list[OwnOrder]], target_cx: int, side: Side, data: st.DataObject
) -> None:
    grid, orders = market
    orders = [order for order in orders if order.side is side]
    owners = data.draw(st.lists(st.integers(0, 2), min_size=len(orders), max_size=len(orders)))
    ladder = with_orders(({}, {}), orders)[side]
    shares = []
    for owner in range(3):
        own = [order for order, whose in zip(orders, owners, strict=True) if whose == owner]
        found = score_side(grid, side, ladder, own, target_cx=target_cx, discount=HALF)
        shares.append(found.share)
    assert sum(shares) == (1 if found.qualifies else 0)


@given(market_orders(), counts, sides, st.data())
def test_a_rival_that_leaves_never_costs_us_while_reference_and_floor_stay(
    market: tuple[PriceGrid, list[OwnOrder]], target_cx: int, side: Side, data: st.DataObject
) -> None:
    grid, orders = market
    orders = [order for order in orders if order.side is side]
    assume(len(orders) > 1)
    gone = data.draw(st.sampled_from(orders))
    mine = [order for order in orders if order is not gone][::2]
    before, after = (
        score_side(grid, side, with_orders(({}, {}), resting)[side], mine, target_cx=target_cx, discount=HALF)
        for resting in (orders, [order for order in orders if order is not gone])
    )
    if (before.reference_cc, before.floor_cc) == (after.reference_cc, after.floor_cc):
        assert after.share >= before.share


def test_a_rival_that_leaves_may_cost_us_by_letting_a_deeper_level_in() -> None:
    ours, rivals = yes("a", 4_200, 60_000), {4_200: 60_000, 4_100: 900_000}
    with_rival = scored(rivals, ours)
    without = scored({4_100: 900_000}, ours)
    assert (with_rival.floor_cc, without.floor_cc) == (4_200, 4_100)
    assert without.share < with_rival.share


def test_a_rival_that_leaves_may_cost_us_by_moving_the_reference_to_others() -> None:
    ours, rivals = yes("a", 4_300, 10_000), {4_300: 10_000, 4_000: 90_000}
    with_rival = scored(rivals, ours)
    without = scored({4_000: 90_000}, ours)
    assert (with_rival.reference_cc, without.reference_cc) == (4_300, 4_000)
    assert without.share < with_rival.share


@given(market_orders())
def test_an_unclamped_score_is_a_common_multiple_of_one_reference(
    market: tuple[PriceGrid, list[OwnOrder]],
) -> None:
    grid, orders = market
    orders = [order for order in orders if order.side is Side.YES]
    ladder = with_orders(({}, {}), orders)[Side.YES]
    readings = [
        Rule(version="best", reference_part=Fraction(0), clamps=False),
        Rule(version="fifth", clamps=False),
    ]
    best, fifth = (
        score_side(grid, Side.YES, ladder, orders[:1], target_cx=1_000, discount=HALF, rule=rule) for rule in readings
    )
    assert best.share == fifth.share
