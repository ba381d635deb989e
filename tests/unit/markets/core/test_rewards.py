from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid
from markets.core.rewards import (
    HOUR_US,
    MarketScore,
    ProgramTerms,
    UncertainLevel,
    score_market,
    score_snapshot,
    with_orders,
    without_orders,
)
from markets.core.scoring import RULES, OwnOrder, Rule
from markets.core.units import DOLLAR_UD, Side
from tests.unit.markets.core.rewardbooks import EXAMPLE_1, a_program, market_orders, no, yes

OURS = yes("a", 4_100, 20_000)


def example_1(*programs: ProgramTerms, **options: object) -> MarketScore:
    given_ = {"own_in_book": False} | options
    return score_market(CENT_GRID, EXAMPLE_1, [OURS], programs or [a_program()], **given_)  # type: ignore[arg-type]


def test_an_hour_of_the_first_example_pays_its_share_of_the_pool() -> None:
    market = example_1()
    assert market.ud_per_hour == Fraction(125, 214) * DOLLAR_UD
    assert market.order_ud_per_hour == {"a": market.ud_per_hour}


@pytest.mark.parametrize("rule", [RULES["2026-02-28"], Rule(version="unclamped", clamps=False)])
def test_an_hour_under_a_retired_reading_pays_less(rule: Rule) -> None:
    rate = example_1(rule=rule).ud_per_hour
    assert rate is not None
    assert round(rate) == 525_210


def test_orders_that_stand_in_the_book_are_not_counted_twice() -> None:
    shown = with_orders(EXAMPLE_1, [OURS])
    assert score_market(CENT_GRID, shown, [OURS], [a_program()], own_in_book=True) == example_1()


def test_a_book_that_we_fill_alone_is_all_ours() -> None:
    orders = [yes("a", 4_000, 100_000), no("b", 5_000, 100_000)]
    book = with_orders(({}, {}), orders)
    [score] = score_market(CENT_GRID, book, orders, [a_program()], own_in_book=True).programs
    assert score.snapshot is not None
    assert score.snapshot.pool_share == 1


def test_an_order_larger_than_its_level_is_not_of_this_book() -> None:
    with pytest.raises(UncertainLevel, match="'a' of 20000 is larger than the 19999 shown"):
        without_orders(({4_100: 19_999}, {}), [OURS])


def test_taking_orders_out_leaves_the_book_of_the_others() -> None:
    two = [yes("a", 4_100, 100), yes("b", 4_100, 50)]
    assert without_orders(({4_100: 150, 4_000: 1}, {}), two) == ({4_000: 1}, {})
    assert without_orders(({4_100: 151}, {}), two) == ({4_100: 1}, {})


def test_the_second_examples_orders_earn_on_both_sides() -> None:
    book = ({620: 4_500, 610: 4_000, 600: 20_000, 550: 40_000}, {9_310: 10_000, 9_290: 8_000, 9_250: 30_000})
    orders = [yes("a", 600, 5_000), no("b", 9_290, 3_000)]
    program = a_program(period_reward_cc=200_000, target_size_cx=30_000, end_us=HOUR_US // 4)
    market = score_market(TAPERED_DECI_CENT_GRID, book, orders, [program], own_in_book=True)
    assert market.ud_per_hour == Fraction(155_360, 20_349) * DOLLAR_UD
    parts = market.order_ud_per_hour
    assert [None if part is None else round(part) for part in (parts["a"], parts["b"])] == [5_228_758, 2_406_015]


def test_a_market_without_two_qualifying_sides_pays_nobody() -> None:
    market = score_market(CENT_GRID, (EXAMPLE_1[Side.YES], {5_500: 1}), [OURS], [a_program()], own_in_book=False)
    [score] = market.programs
    assert score.snapshot is not None
    assert not score.snapshot.included
    assert score.snapshot.sides[Side.YES].share == Fraction(20, 107)
    assert market.ud_per_hour == market.order_ud_per_hour["a"] == 0


def test_quoting_one_side_alone_earns_half_at_most() -> None:
    book = ({}, {5_000: 500_000})
    [score] = score_market(CENT_GRID, book, [yes("a", 4_000, 100_000)], [a_program()], own_in_book=False).programs
    assert score.snapshot is not None
    assert score.snapshot.pool_share == Fraction(1, 2)


def test_a_side_at_the_top_price_leaves_the_other_without_a_price() -> None:
    orders = [yes("a", 9_900, 100_000)]
    [score] = score_market(CENT_GRID, ({}, {}), orders, [a_program()], own_in_book=False).programs
    assert score.snapshot is not None
    assert not score.snapshot.included


@pytest.mark.parametrize(("at_us", "runs"), [(-1, False), (0, True), (16 * HOUR_US - 1, True), (16 * HOUR_US, False)])
def test_outside_its_period_a_program_pays_nothing(at_us: int, runs: bool) -> None:
    assert bool(example_1(at_us=at_us).ud_per_hour) == runs


@pytest.mark.parametrize("missing", ["target_size_cx", "discount_bps", "period_reward_cc"])
def test_what_the_venue_leaves_out_makes_the_rate_unknown_not_nothing(missing: str) -> None:
    market = example_1(a_program(), a_program(program_id="q", **{missing: None}))
    assert market.programs[0].ud_per_hour is not None
    assert market.programs[1].ud_per_hour is market.ud_per_hour is market.order_ud_per_hour["a"] is None


def test_an_unknown_program_that_is_over_hides_nothing() -> None:
    over = a_program(program_id="q", target_size_cx=None, end_us=1)
    assert example_1(a_program(), over, at_us=1).ud_per_hour == example_1().ud_per_hour


def test_without_clamp_and_discount_a_better_bids_score_is_unknown() -> None:
    program = a_program(discount_bps=0)
    unclamped = Rule(version="unclamped", clamps=False)
    assert score_snapshot(CENT_GRID, EXAMPLE_1, [], program, rule=unclamped) is None
    assert score_snapshot(CENT_GRID, EXAMPLE_1, [], program) is not None


@pytest.mark.parametrize("bad", [{"end_us": 0}, {"target_size_cx": 0}, {"discount_bps": -1}, {"discount_bps": 10_001}])
def test_terms_that_make_no_sense_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"program|target|discount"):
        a_program(**bad)


@given(market_orders())
def test_names_and_order_of_orders_change_no_money(market: tuple[PriceGrid, list[OwnOrder]]) -> None:
    grid, orders = market
    program = a_program(target_size_cx=30_000)
    renamed = [msgspec.structs.replace(order, order_id=f"n{order.order_id}") for order in reversed(orders)]
    one, other = (score_market(grid, ({}, {}), these, [program], own_in_book=False) for these in (orders, renamed))
    assert one.ud_per_hour == other.ud_per_hour
    assert {f"n{name}": rate for name, rate in one.order_ud_per_hour.items()} == other.order_ud_per_hour


@given(market_orders())
def test_the_orders_parts_add_up_to_the_whole(market: tuple[PriceGrid, list[OwnOrder]]) -> None:
    grid, orders = market
    full, ours = with_orders(({}, {}), orders), orders[::2]
    programs = [a_program(target_size_cx=30_000), a_program(program_id="q", target_size_cx=90_000, discount_bps=500)]
    found = score_market(grid, full, ours, programs, own_in_book=True)
    parts = [rate for rate in found.order_ud_per_hour.values() if rate is not None]
    assert len(parts) == len(ours)
    assert sum(parts) == found.ud_per_hour


@given(market_orders())
def test_everybodys_pool_shares_add_up_to_the_pool(market: tuple[PriceGrid, list[OwnOrder]]) -> None:
    grid, orders = market
    full = with_orders(({}, {}), orders)
    snapshots = [score_snapshot(grid, full, orders[start::2], a_program(target_size_cx=30_000)) for start in range(2)]
    assert all(snapshot is not None for snapshot in snapshots)
    assert sum(s.pool_share for s in snapshots if s) == (1 if snapshots[0] and snapshots[0].included else 0)
