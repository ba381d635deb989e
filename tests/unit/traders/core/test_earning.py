from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid
from markets.core.rewards import BPS, HOUR_US, ProgramTerms, with_orders
from markets.core.scoring import OwnOrder, score_side
from markets.core.units import Side
from tests.unit.markets.core.rewardbooks import EXAMPLE_1, GRIDS, a_program
from traders.core.earning import SCALE, Offer, Others, Pool, Portions, offer_at

TRUE_TO = Fraction(1, 1_000_000)  # what factors of 32 bits may be off, of the whole


def pools(*programs: ProgramTerms) -> list[Pool]:
    found = [Pool.of(program) for program in programs]
    assert None not in found
    return [pool for pool in found if pool is not None]


def offer(
    price_cc: int,
    *programs: ProgramTerms,
    ladder: dict[int, int] = EXAMPLE_1[Side.YES],
    side: Side = Side.YES,
    grid: PriceGrid = CENT_GRID,
    most_cx: int = 1_000_000,
) -> Offer:
    return offer_at(Others(grid, side, ladder), pools(*programs or (a_program(),)), price_cc, most_cx)


def ud_per_hour(offer: Offer, count_cx: int) -> int:
    return round(Fraction(offer.reward(count_cx), SCALE))


def test_the_first_examples_order_earns_what_it_must() -> None:
    assert ud_per_hour(offer(4_100), 20_000) == 584_112


def test_the_second_examples_orders_earn_what_they_must() -> None:
    program = a_program(period_reward_cc=200_000, target_size_cx=30_000, end_us=HOUR_US // 4)
    bids = {620: 4_500, 610: 4_000, 600: 15_000, 550: 40_000}
    asks = {9_310: 10_000, 9_290: 5_000, 9_250: 30_000}
    bid = offer(600, program, ladder=bids, grid=TAPERED_DECI_CENT_GRID)
    ask = offer(9_290, program, ladder=asks, side=Side.NO, grid=TAPERED_DECI_CENT_GRID)
    assert (ud_per_hour(bid, 5_000), ud_per_hour(ask, 3_000)) == (5_228_758, 2_406_015)


def test_a_thin_side_pays_once_our_size_makes_it_count() -> None:
    program = a_program(period_reward_cc=300_000, target_size_cx=50_000, end_us=168 * HOUR_US)
    thin = offer(400, program, ladder={500: 6_000, 400: 9_000}, side=Side.NO)
    assert ud_per_hour(thin, 40_000) == 64_935  # example 3
    assert thin.reward(34_999) == 0
    assert thin.reward(35_000) > 0


def test_below_the_floor_no_size_earns() -> None:
    assert offer(3_900).reward(500_000) == 0
    assert offer(4_000).reward(1) > 0


def test_a_size_that_reaches_the_reference_lowers_what_rivals_below_score() -> None:
    top = offer(4_200)  # 120 shown there: 80 more reach 200, a fifth of the target
    assert ud_per_hour(top, 7_999) == round(Fraction(3_125_000 * 7_999, 7_999 + 87_000))
    assert ud_per_hour(top, 8_000) == round(Fraction(3_125_000 * 8_000, 8_000 + 12_000 + 15_000 + 22_500))


def test_a_size_that_reaches_the_target_throws_out_the_levels_below() -> None:
    joined = offer(4_100)  # 420 shown down to there
    assert ud_per_hour(joined, 57_999) == round(Fraction(3_125_000 * 57_999, 57_999 + 12_000 + 30_000 + 45_000))
    assert ud_per_hour(joined, 58_000) == round(Fraction(3_125_000 * 58_000, 58_000 + 12_000 + 30_000))


def test_what_others_reach_exactly_they_have_reached() -> None:
    program = a_program(target_size_cx=100_000)
    assert offer(4_100, program, ladder={4_200: 100_000}).reward(500) == 0
    assert offer(4_100, program, ladder={4_200: 99_999}).reward(500) > 0
    behind, at = ({4_200: shown_cx, 4_000: 200_000} for shown_cx in (20_000, 19_000))
    assert ud_per_hour(offer(4_100, program, ladder=behind), 1_000) == round(
        Fraction(3_125_000 * 500, 500 + 20_000 + 50_000)
    )
    assert ud_per_hour(offer(4_100, program, ladder=at), 1_000) == round(
        Fraction(3_125_000 * 1_000, 1_000 + 19_000 + 100_000)
    )


def test_two_programs_pay_side_by_side() -> None:
    both = offer(4_100, a_program(), a_program(target_size_cx=30_000))
    alone = offer(4_100, a_program()).reward(500) + offer(4_100, a_program(target_size_cx=30_000)).reward(500)
    assert both.reward(500) == alone


@pytest.mark.parametrize("missing", ["period_reward_cc", "target_size_cx", "discount_bps"])
def test_a_program_without_all_its_terms_has_no_pool(missing: str) -> None:
    assert Pool.of(a_program(**{missing: None})) is None


def test_a_size_grows_while_a_portion_earns_its_rate() -> None:
    """Rivals score 870 at 41¢: the 29th contract still earns 0.82 % an hour of its 41¢, the 30th does not."""
    assert offer(4_100).best_cx(Portions(100, 0, 5_000), 82) == 2_900
    assert offer(4_100).best_cx(Portions(100, 0, 2_000), 82) == 2_000
    assert offer(4_100).best_cx(Portions(700, 0, 5_000), 82) == 2_800


def test_of_sizes_that_net_the_same_the_smallest_is_taken() -> None:
    alone = offer(100, ladder={}, most_cx=200_000)
    assert alone.best_cx(Portions(100, 0, 200_000), 0) == 100_000  # all is ours as soon as the side counts
    assert offer(4_100, a_program(period_reward_cc=0)).best_cx(Portions(100, 0, 100_000), 0) == 100


def test_a_last_portion_may_be_a_smaller_one() -> None:
    assert offer(4_100).best_cx(Portions(300, 0, 1_000), 1) == 1_000


def test_a_size_starts_with_what_the_side_lacks() -> None:
    assert offer(4_100).best_cx(Portions(100, 4_050, 5_000), 82) == 4_100
    assert offer(4_100).best_cx(Portions(100, 5_050, 5_000), 82) is None


ladders = st.dictionaries(st.integers(0, 11), st.integers(1, 60_000), max_size=7)
programs = st.builds(
    lambda target_cx, discount_bps, reward_cc: a_program(
        target_size_cx=target_cx, discount_bps=discount_bps, period_reward_cc=reward_cc
    ),
    st.integers(1, 100_000),
    st.sampled_from([0, 500, 5_000, 9_000, 9_900, 10_000]),
    st.integers(0, 10_000_000),
)


@st.composite
def spots(draw: st.DrawFn) -> tuple[PriceGrid, Side, dict[int, int], int]:
    """Others on a dozen neighbouring prices of a side, and a price of ours among them."""
    grid, side = draw(st.sampled_from(sorted(GRIDS))), draw(st.sampled_from(list(Side)))
    prices = GRIDS[grid].prices_cc(side)
    start = draw(st.sampled_from([0, len(prices) // 3, len(prices) - 12]))
    ladder = {prices[start + at]: count_cx for at, count_cx in draw(ladders).items()}
    return GRIDS[grid], side, ladder, prices[start + draw(st.integers(0, 11))]


@given(spots(), programs, st.integers(1, 120_000))
@settings(max_examples=200)
def test_the_quick_reward_is_the_exact_one(
    spot: tuple[PriceGrid, Side, dict[int, int], int], program: ProgramTerms, count_cx: int
) -> None:
    grid, side, ladder, price_cc = spot
    ours = OwnOrder("ours", side, price_cc, count_cx)
    sides = ({}, ladder) if side is Side.NO else (ladder, {})
    assert program.target_size_cx is not None
    assert program.discount_bps is not None
    assert program.pool_ud_per_hour is not None
    exact = score_side(
        grid,
        side,
        with_orders(sides, [ours])[side],
        [ours],
        target_cx=program.target_size_cx,
        discount=Fraction(program.discount_bps, BPS),
    )
    quick = offer(price_cc, program, ladder=ladder, side=side, grid=grid, most_cx=120_000).reward(count_cx)
    half_pool = program.pool_ud_per_hour / 2
    assert abs(Fraction(quick, SCALE) - half_pool * exact.share) <= half_pool * TRUE_TO


@given(
    spots(),
    st.lists(programs, min_size=1, max_size=2),
    st.integers(1, 40_000),
    st.integers(0, 60_000),
    st.integers(1, 120_000),
    st.integers(0, 1_000),
)
@settings(max_examples=200)
def test_no_portion_more_or_less_nets_more(
    spot: tuple[PriceGrid, Side, dict[int, int], int],
    running: list[ProgramTerms],
    step_cx: int,
    least_cx: int,
    most_cx: int,
    rate_bps_h: int,
) -> None:
    grid, side, ladder, price_cc = spot
    step_cx = max(step_cx, most_cx // 60)
    sizes = [size for size in (*range(step_cx, most_cx, step_cx), most_cx) if size >= least_cx]
    found = offer(price_cc, *running, ladder=ladder, side=side, grid=grid, most_cx=most_cx)
    best_cx = found.best_cx(Portions(step_cx, least_cx, most_cx), rate_bps_h)
    if not sizes:
        assert best_cx is None
    else:
        assert best_cx in sizes
        assert found.net(best_cx, rate_bps_h) == max(found.net(size, rate_bps_h) for size in sizes)
