"""Our scorer against the exchange's reference: two codes from one text, neither knowing the other.

`markets.core` scores what one account holds in a book of levels; `feed.exchange.incentives` scores everybody's orders.
On every book, price grid and program they must say the same of us, to the last fraction.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from hypothesis import event, given
from hypothesis import strategies as st

from feed.exchange.catalog import Program
from feed.exchange.incentives import scoring as reference
from feed.exchange.incentives.accrual import payable_ud
from feed.exchange.incentives.scoring import Bid, SideScores, Yardstick
from markets.core import payouts, rewards
from markets.core.grid import PriceGrid, PriceRange
from markets.core.rewards import ProgramTerms
from markets.core.scoring import OwnOrder, SideScore, grid_steps
from markets.core.units import DOLLAR_CC, Side

US, RIVALS = "us", ("them", "others")
EPOCH_US = 1_795_337_400_000_000


def _grid(edge_cc: int, centre_cc: int, band_cc: int = 0) -> PriceGrid:
    if not band_cc:
        return PriceGrid([PriceRange(0, DOLLAR_CC, centre_cc)])
    low, high = PriceRange(0, band_cc, edge_cc), PriceRange(DOLLAR_CC - band_cc, DOLLAR_CC, edge_cc)
    return PriceGrid([low, PriceRange(band_cc, DOLLAR_CC - band_cc, centre_cc), high])


# Every structure of facts.md 5.5: step at the edges, in the centre, and where the one becomes the other.
STRUCTURES = {
    "linear_cent": _grid(100, 100),
    "deci_cent": _grid(10, 10),
    "tapered_deci_cent": _grid(10, 100, 1_000),
    "center_whole_edge_half_cent": _grid(50, 100, 1_000),
    "center_whole_edge_quint_cent": _grid(20, 100, 1_000),
    "center_half_edge_half_cent": _grid(50, 50),
    "center_half_edge_quint_cent": _grid(20, 50, 1_000),
    "center_half_edge_deci_cent": _grid(10, 50, 1_000),
    "center_quint_edge_quint_cent": _grid(20, 20),
    "center_quint_edge_deci_cent": _grid(10, 20, 1_000),
    "center_centi_edge_centi_cent": _grid(1, 1),
    "center_deci_edge_centi_cent": _grid(1, 10, 100),
}


class Case(NamedTuple):
    grid: PriceGrid
    orders: list[tuple[str, Bid]]  # with an id each
    programs: list[ProgramTerms]

    def bids(self) -> list[Bid]:
        return [bid for _, bid in self.orders]

    def ours(self) -> list[OwnOrder]:
        return [OwnOrder(i, bid.side, bid.price_cc, bid.remaining_cx) for i, bid in self.orders if bid.owner == US]

    def ladders(self, *, with_ours: bool = True) -> tuple[dict[int, int], dict[int, int]]:
        ladders: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for bid in self.bids():
            if with_ours or bid.owner != US:
                ladder = ladders[bid.side]
                ladder[bid.price_cc] = ladder.get(bid.price_cc, 0) + bid.remaining_cx
        return ladders


@st.composite
def program_terms(draw: st.DrawFn, number: int) -> ProgramTerms:
    start_us = EPOCH_US + draw(st.integers(-10_000, 10_000)) * 1_000_000
    return ProgramTerms(
        program_id=str(number),
        period_reward_cc=draw(st.integers(0, 10_000_000)),
        target_size_cx=draw(st.one_of(st.integers(1, 5_000), st.sampled_from([10_000, 30_000, 100_000, 2_000_000]))),
        discount_bps=draw(st.one_of(st.sampled_from([0, 500, 5_000, 10_000]), st.integers(0, 10_000))),
        start_us=start_us,
        end_us=start_us + draw(st.integers(1, 700_000)) * 1_000_000,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    grid = STRUCTURES[draw(st.sampled_from(sorted(STRUCTURES)))]
    orders = []
    # Around a place on the grid, so that levels meet and bands are crossed; the edges of the bands often.
    prices = {}
    for side in Side:
        ladder = grid.prices_cc(side)
        near = draw(
            st.one_of(st.integers(0, len(ladder) - 1), st.sampled_from([0, len(ladder) // 10, len(ladder) - 1]))
        )
        prices[side] = ladder[max(0, near - 12) : near + 12]
    for number in range(draw(st.integers(0, 20))):
        side = draw(st.sampled_from(Side))
        owner = draw(st.sampled_from([US, *RIVALS]))
        size = draw(st.one_of(st.integers(1, 300), st.integers(1, 60_000)))
        orders.append((f"order-{number}", Bid(owner, side, draw(st.sampled_from(prices[side])), size)))
    count = draw(st.integers(1, 3))
    return Case(grid, orders, [draw(program_terms(number)) for number in range(count)])


def yardstick(program: ProgramTerms) -> Yardstick:
    assert program.target_size_cx is not None
    assert program.discount_bps is not None
    return Yardstick(program.target_size_cx, program.discount_bps)


def assert_sides_agree(ours: SideScore, theirs: SideScores) -> None:
    assert ours.qualifies == theirs.qualifies
    assert ours.depth_cx == theirs.depth_cx
    assert ours.reference_cc == theirs.reference_cc
    assert ours.floor_cc == theirs.floor_cc
    assert ours.qualifying_cx == theirs.qualifying_cx
    assert ours.total_cx == theirs.total
    assert ours.our_score_cx == theirs.scores.get(US, 0)
    assert ours.share == theirs.share(US)


@given(cases(), st.booleans(), st.booleans())
def test_we_read_every_side_share_and_rate_as_the_exchange_does(case: Case, is_open: bool, in_book: bool) -> None:
    score = rewards.score_market(
        case.grid, case.ladders(with_ours=in_book), case.ours(), case.programs, own_in_book=in_book, market_open=is_open
    )
    total = Fraction(0)
    for mine in score.programs:
        theirs = reference.score_snapshot(case.grid, case.bids(), yardstick(mine.program), is_open=is_open)
        event("included" if theirs.is_included else "excluded")
        assert mine.snapshot is not None
        assert mine.snapshot.included == theirs.is_included
        assert_sides_agree(mine.snapshot.sides[Side.YES], theirs.yes)
        assert_sides_agree(mine.snapshot.sides[Side.NO], theirs.no)
        assert mine.snapshot.pool_share == theirs.pool_share(US) == theirs.pool_shares().get(US, 0)
        assert mine.program.period_reward_cc is not None
        hours = Fraction(mine.program.end_us - mine.program.start_us, 3_600_000_000)
        rate = Fraction(mine.program.period_reward_cc, 10_000) / hours * theirs.pool_share(US)
        assert mine.ud_per_hour == rate * 1_000_000
        total += rate
    assert score.ud_per_hour == total * 1_000_000


@given(cases())
def test_each_of_our_orders_takes_what_it_would_as_an_owner_of_its_own(case: Case) -> None:
    score = rewards.score_market(case.grid, case.ladders(), case.ours(), case.programs, own_in_book=True)
    apart = [
        Bid(order_id if bid.owner == US else bid.owner, bid.side, bid.price_cc, bid.remaining_cx)
        for order_id, bid in case.orders
    ]
    for mine in score.programs:
        theirs = reference.score_snapshot(case.grid, apart, yardstick(mine.program), is_open=True)
        assert mine.snapshot is not None
        shares = mine.snapshot.order_shares()
        for order in case.ours():
            assert shares.get(order.order_id, 0) == theirs.pool_share(order.order_id)


@given(st.sampled_from(sorted(STRUCTURES)), st.sampled_from(Side), st.data())
def test_grid_steps_are_counted_alike_on_every_structure(name: str, side: Side, data: st.DataObject) -> None:
    grid = STRUCTURES[name]
    prices = grid.prices_cc(side)
    high, low = data.draw(st.sampled_from(prices)), data.draw(st.sampled_from(prices))
    assert max(0, grid_steps(grid, side, high, low)) == reference.grid_steps(grid, side, high, low)


@given(st.sampled_from(sorted(STRUCTURES)), st.sampled_from(Side), st.data())
def test_a_price_left_behind_by_a_change_of_grid_is_counted_alike(name: str, side: Side, data: st.DataObject) -> None:
    # A structure may change under resting orders; the reference itself may then lie off the grid too.
    grid = STRUCTURES[name]
    high, low = data.draw(st.integers(1, DOLLAR_CC - 1)), data.draw(st.integers(1, DOLLAR_CC - 1))
    assert max(0, grid_steps(grid, side, high, low)) == reference.grid_steps(grid, side, high, low)


@given(st.fractions(min_value=0, max_value=2_000), st.one_of(st.none(), st.integers(0, 20_000_000)))
def test_a_period_is_paid_alike(raw: Fraction, cap_cc: int | None) -> None:
    assert payouts.payout_ud(raw * 1_000_000, cap_cc=cap_cc) == payable_ud(raw, cap_cc)


@given(st.lists(st.tuples(cases(), st.booleans(), st.integers(1, 500)), min_size=1, max_size=6), st.integers(0, 50_000))
def test_a_period_adds_up_alike(seconds: list[tuple[Case, bool, int]], cap_cc: int) -> None:
    total_s = sum(count for _, _, count in seconds)
    first = seconds[0][0].programs[0]
    terms = ProgramTerms(
        program_id="p", period_reward_cc=first.period_reward_cc, target_size_cx=first.target_size_cx,
        discount_bps=first.discount_bps, start_us=EPOCH_US, end_us=EPOCH_US + total_s * 1_000_000, cap_cc=cap_cc,
    )  # fmt: skip
    assert terms.period_reward_cc is not None
    program = Program(
        program_id="p", market_id="m", market_ticker="M", description="", start_us=terms.start_us, end_us=terms.end_us,
        paid_us=terms.end_us, period_reward_cc=terms.period_reward_cc, target_size_cx=terms.target_size_cx,
        discount_bps=terms.discount_bps, max_reward_cc=cap_cc,
    )  # fmt: skip
    accrual = payouts.Accrual(terms)
    shares, included = Fraction(0), 0
    for case, is_open, count in seconds:
        mine = rewards.score_snapshot(case.grid, case.ladders(), case.ours(), terms, market_open=is_open)
        accrual = accrual.after(mine, seconds=count)
        theirs = reference.score_snapshot(case.grid, case.bids(), yardstick(terms), is_open=is_open)
        shares += theirs.pool_share(US) * count
        included += count if theirs.is_included else 0
    raw = shares * Fraction(program.period_reward_cc, 10_000) / program.seconds
    assert accrual.included_s == included
    assert accrual.raw_ud == raw * 1_000_000
    assert accrual.paid_ud() == payable_ud(raw, program.max_reward_cc)
