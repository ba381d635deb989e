from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets.core.scoring import OwnOrder
from markets.core.settlement import Position, collateral_ud, guaranteed_payout_ud, settlement_value_ud
from markets.core.units import CONTRACT_CX, DOLLAR_CC, DOLLAR_UD, Side
from tests.unit.markets.core.rewardbooks import no, yes

Fill = tuple[Side, int, int]
fills = st.lists(st.tuples(st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1), st.integers(1, 3_000)), max_size=12)
values_ud = st.one_of(st.sampled_from([0, DOLLAR_UD]), st.integers(0, DOLLAR_UD))


def held(*fills: Fill) -> Position:
    position = Position()
    for fill in fills:
        position = position.after(*fill)
    return position


def test_the_recorded_position_is_exposed_by_what_it_cost() -> None:
    position = Position()
    for price_cc, fee_ud in ((9_900, 700), (9_900, 700), (5_200, 17_500)):
        position = position.after(Side.YES, price_cc, 100, fee_ud=fee_ud)
    assert (position.position_cx, position.exposure_ud, position.traded_ud) == (300, 2_500_000, 2_500_000)
    assert (position.fees_ud, position.volume_cx, position.realized_ud) == (18_900, 300, 0)


@pytest.mark.parametrize(
    ("start", "fill", "cash_ud"),
    [
        ([], (Side.YES, 4_000, 1_000), -4_000_000),
        ([], (Side.NO, 4_000, 1_000), -4_000_000),
        ([(Side.YES, 3_000, 1_000)], (Side.YES, 4_000, 500), -2_000_000),
        ([(Side.YES, 3_000, 1_000)], (Side.NO, 4_000, 500), 3_000_000),  # sold at 0.60
        ([(Side.NO, 3_000, 1_000)], (Side.YES, 4_000, 500), 3_000_000),
        ([(Side.YES, 3_000, 1_000)], (Side.NO, 4_000, 1_500), 6_000_000 - 2_000_000),  # closes 10, opens 5
    ],
)
def test_opening_pays_the_price_and_closing_returns_the_rest_of_a_dollar(
    start: list[Fill], fill: Fill, cash_ud: int
) -> None:
    assert held(*start).cash_effect_ud(*fill) == cash_ud


def test_crossing_zero_closes_what_is_held_and_opens_the_rest() -> None:
    position = held((Side.YES, 3_000, 1_000), (Side.NO, 4_000, 1_500))
    assert (position.position_cx, position.side) == (-500, Side.NO)
    assert (position.cost_ud, position.realized_ud) == (2_000_000, 3_000_000)


def test_a_cost_that_does_not_divide_is_released_rounded_down_and_never_lost() -> None:
    position = held((Side.YES, 1, 1), (Side.YES, 2, 2))  # 3 hundredths for 5 micro-dollars
    released = []
    for _ in range(3):
        after = position.after(Side.NO, 5_000, 1)
        released.append(position.cost_ud - after.cost_ud)
        position = after
    assert released == [1, 2, 2]
    assert position.cost_ud == 0


@pytest.mark.parametrize(
    ("result", "yes_ud", "no_ud"), [("yes", 10_000_000, 0), ("no", 0, 10_000_000), ("scalar", 3_700_000, 6_300_000)]
)
def test_settlement_pays_the_value_to_yes_and_the_rest_to_no(result: str, yes_ud: int, no_ud: int) -> None:
    value_ud = settlement_value_ud(result, 370_000 if result == "scalar" else None)  # type: ignore[arg-type]
    assert held((Side.YES, 4_000, 1_000)).payout_ud(value_ud) == yes_ud
    assert held((Side.NO, 4_000, 1_000)).payout_ud(value_ud) == no_ud


def test_settlement_leaves_nothing_held_and_realizes_the_rest() -> None:
    settled = held((Side.NO, 4_000, 1_000)).settled(settlement_value_ud("no"))
    assert (settled.position_cx, settled.side, settled.cost_ud) == (0, None, 0)
    assert settled.realized_ud == 6_000_000


@pytest.mark.parametrize(("result", "value_ud"), [("scalar", None), ("scalar", DOLLAR_UD + 1), ("yes", 0), ("no", 1)])
def test_a_result_without_its_value_or_against_it_is_refused(result: str, value_ud: int | None) -> None:
    with pytest.raises(ValueError, match="value"):
        settlement_value_ud(result, value_ud)  # type: ignore[arg-type]


def test_a_payout_finer_than_a_micro_dollar_is_rounded_down() -> None:
    assert held((Side.YES, 4_000, 1)).payout_ud(333_333) == 3_333
    assert held((Side.NO, 4_000, 1)).payout_ud(333_333) == 6_666


def test_resting_orders_need_their_price_but_for_what_closes() -> None:
    orders = [yes("a", 4_000, 100), no("b", 5_000, 100), no("c", 5_500, 100)]
    assert collateral_ud(orders, 0) == 400_000 + 500_000 + 550_000
    assert collateral_ud(orders, 150) == 400_000 + 50 * 5_500  # 100 of b and 50 of c close
    assert collateral_ud(orders, -30) == 70 * 4_000 + 500_000 + 550_000


@pytest.mark.parametrize(
    ("positions_cx", "contracts"),
    [
        ([-100, -100], 1),
        ([-1_000, -600], 6),  # the smaller size
        ([-1_000, -600, -400], 10),
        ([-100, -100, -100], 2),
        ([-100], 0),
        ([-100, 500], 0),
        ([], 0),
    ],
)
def test_no_positions_of_an_exclusive_event_guarantee_all_but_the_largest(
    positions_cx: list[int], contracts: int
) -> None:
    assert guaranteed_payout_ud(positions_cx) == contracts * DOLLAR_UD


def test_the_published_netting_example_costs_thirty_cents() -> None:
    one, other = held((Side.NO, 6_000, 100)), held((Side.NO, 7_000, 100))
    guaranteed_ud = guaranteed_payout_ud([one.position_cx, other.position_cx])
    assert one.cost_ud + other.cost_ud - guaranteed_ud == 300_000


@given(st.lists(st.integers(-1_000, 0), min_size=1, max_size=6), st.data())
def test_what_is_guaranteed_is_paid_whichever_market_wins(positions_cx: list[int], data: st.DataObject) -> None:
    winners = [*range(len(positions_cx)), None]
    paid = [
        sum(
            Position(position_cx=held_cx).payout_ud(DOLLAR_UD if at == winner else 0)
            for at, held_cx in enumerate(positions_cx)
        )
        for winner in winners
    ]
    assert guaranteed_payout_ud(positions_cx) == min(paid)


@given(fills, values_ud)
def test_a_position_equals_its_contracts_counted_one_by_one(fills: list[Fill], value_ud: int) -> None:
    position, cash_ud = Position(), 0
    yes_cx = no_cx = paid_ud = 0
    for side, price_cc, count_cx in fills:
        cash_ud += position.cash_effect_ud(side, price_cc, count_cx)
        position = position.after(side, price_cc, count_cx)
        # As if both sides were kept and every pair redeemed for a dollar.
        paid_ud += price_cc * count_cx
        yes_cx, no_cx = (yes_cx + count_cx, no_cx) if side is Side.YES else (yes_cx, no_cx + count_cx)
    assert position.position_cx == yes_cx - no_cx
    assert cash_ud == min(yes_cx, no_cx) * DOLLAR_CC - paid_ud
    assert position.realized_ud - position.cost_ud == cash_ud
    assert 0 <= position.cost_ud <= abs(position.position_cx) * DOLLAR_CC
    settled = position.settled(value_ud)
    assert settled.realized_ud == cash_ud + position.payout_ud(value_ud)


@given(fills, values_ud)
def test_settlement_keeps_the_money_between_two_counterparties(fills: list[Fill], value_ud: int) -> None:
    one, other, cash_ud = Position(), Position(), 0
    for side, price_cc, count_cx in fills:
        opposite = (side.other, DOLLAR_CC - price_cc, count_cx)
        cash_ud += one.cash_effect_ud(side, price_cc, count_cx) + other.cash_effect_ud(*opposite)
        one, other = one.after(side, price_cc, count_cx), other.after(*opposite)
    assert one.position_cx == -other.position_cx
    assert -cash_ud == abs(one.position_cx) * DOLLAR_CC, "what both paid in lies at the venue, a dollar a pair"
    kept_ud = -cash_ud - one.payout_ud(value_ud) - other.payout_ud(value_ud)
    assert 0 <= kept_ud <= 1
    if abs(one.position_cx) * value_ud % CONTRACT_CX == 0:
        assert kept_ud == 0


orders = st.lists(
    st.builds(OwnOrder, st.just("o"), st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1), st.integers(1, 500)),
    max_size=6,
)


@given(orders, st.integers(-800, 800))
def test_collateral_covers_orders_that_fill_one_side_at_a_time(resting: list[OwnOrder], position_cx: int) -> None:
    need_ud = collateral_ud(resting, position_cx)
    for side in Side:
        position, cash_ud = Position(position_cx=position_cx), 0
        for order in resting:
            if order.side is side:
                closing_cx = position.closing_cx(side, order.remaining_cx)
                cash_ud -= (order.remaining_cx - closing_cx) * order.price_cc
                position = position.after(side, order.price_cc, order.remaining_cx)
        assert need_ud >= -cash_ud
    assert need_ud <= sum(order.remaining_cx * order.price_cc for order in resting)
