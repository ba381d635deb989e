from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from markets.core.settlement import Position, settlement_value_ud
from markets.core.units import DOLLAR_CC, Side
from traders.core.exposure import MarketExposure, Unproven, exposure_ud, worst_event_loss_ud

YES, NO = Side.YES, Side.NO

any_order = st.builds(Unproven, st.sampled_from(Side), st.integers(1, DOLLAR_CC - 1), st.integers(1, 300))


@st.composite
def positions(draw: st.DrawFn) -> Position:
    count_cx = draw(st.integers(0, 300))
    return Position().after(draw(st.sampled_from(Side)), draw(st.integers(1, DOLLAR_CC - 1)), count_cx)


def loss_ud(start: Position, fills: list[Unproven], winner: Side) -> int:
    """Return what `start` and its fills lose in all, from cash and settlement."""
    position, cash_ud = start, -start.cost_ud
    for fill in fills:
        cash_ud += position.cash_effect_ud(fill.side, fill.price_cc, fill.remaining_cx)
        position = position.after(fill.side, fill.price_cc, fill.remaining_cx)
    return -cash_ud - position.payout_ud(settlement_value_ud("yes" if winner is YES else "no"))


def cost_ud(start: Position, fills: list[Unproven]) -> int:
    for fill in fills:
        start = start.after(fill.side, fill.price_cc, fill.remaining_cx)
    return start.cost_ud


# One market


def test_orders_of_one_side_are_the_worst_and_not_those_of_both() -> None:
    assert exposure_ud(0, 0, [Unproven(YES, 4_000, 100), Unproven(NO, 5_800, 100)]) == 580_000


def test_what_is_held_and_what_would_add_to_it_cost_together() -> None:
    assert exposure_ud(100, 400_000, [Unproven(YES, 4_500, 50), Unproven(NO, 5_800, 100)]) == 625_000


def test_what_closes_needs_nothing_and_the_dearest_may_be_what_opens() -> None:
    orders = [Unproven(NO, 9_000, 100), Unproven(NO, 1_000, 100)]
    assert exposure_ud(100, 100_000, orders) == 900_000


def test_a_loss_made_on_the_way_through_zero_counts() -> None:
    assert exposure_ud(100, 900_000, [Unproven(NO, 9_000, 150)]) == 800_000 + 450_000


@settings(max_examples=200)
@given(positions(), st.lists(any_order, max_size=4), st.data())
def test_no_fills_in_any_order_come_to_cost_or_lose_more(
    start: Position, orders: list[Unproven], data: st.DataObject
) -> None:
    bound_ud = exposure_ud(start.position_cx, start.cost_ud, orders)
    fills = [
        Unproven(order.side, order.price_cc, data.draw(st.integers(1, order.remaining_cx)))
        for order in data.draw(st.permutations(orders))
        if data.draw(st.booleans())
    ]
    assert cost_ud(start, fills) <= bound_ud
    assert max(loss_ud(start, fills, winner) for winner in Side) <= bound_ud


@settings(max_examples=200)
@given(positions(), st.lists(any_order, max_size=4))
def test_some_fills_come_to_just_that(start: Position, orders: list[Unproven]) -> None:
    cheapest_first = sorted(orders, key=lambda order: order.price_cc)
    ways: list[list[Unproven]] = [[], *([one for one in cheapest_first if one.side is side] for side in Side)]
    worst_ud = max(max(cost_ud(start, fills), *(loss_ud(start, fills, winner) for winner in Side)) for fills in ways)
    assert exposure_ud(start.position_cx, start.cost_ud, orders) == worst_ud


# An event


def test_one_no_of_a_set_can_lose_and_the_others_pay() -> None:
    both = [MarketExposure(-100, 600_000), MarketExposure(-100, 700_000)]
    assert worst_event_loss_ud(both) == 300_000  # the vendor's example: 1.30 for a sure dollar


def test_a_yes_of_every_market_is_sure_only_when_one_of_them_must_win() -> None:
    both = [MarketExposure(100, 400_000), MarketExposure(100, 500_000)]
    assert worst_event_loss_ud(both) == 900_000
    assert worst_event_loss_ud(both, is_exhaustive=True) == -100_000


def test_resting_orders_fill_where_they_lose() -> None:
    quoted = MarketExposure(0, 0, (Unproven(YES, 4_000, 100), Unproven(NO, 5_800, 100)))
    assert worst_event_loss_ud([quoted]) == 580_000
    assert worst_event_loss_ud([quoted, quoted]) == 580_000 + 400_000  # one wins, and the other's bid is lost


@pytest.mark.parametrize("is_exhaustive", [False, True])
def test_nothing_held_loses_nothing(is_exhaustive: bool) -> None:
    assert worst_event_loss_ud([], is_exhaustive=is_exhaustive) == 0


a_market = st.tuples(positions(), st.lists(any_order, max_size=2))


@settings(max_examples=150)
@given(st.lists(a_market, min_size=1, max_size=3), st.booleans())
def test_an_event_loses_at_most_what_trying_every_outcome_and_every_set_of_fills_finds(
    markets: list[tuple[Position, list[Unproven]]], is_exhaustive: bool
) -> None:
    outcomes: list[int | None] = [*range(len(markets)), *([] if is_exhaustive else [None])]
    worst_ud = max(
        sum(
            loss_ud(start, [one for one, fills in zip(orders, filled, strict=True) if fills], YES if at == won else NO)
            for at, ((start, orders), filled) in enumerate(zip(markets, chosen, strict=True))
        )
        for won in outcomes
        for chosen in product(*(product([False, True], repeat=len(orders)) for _, orders in markets))
    )
    exposures = [MarketExposure(start.position_cx, start.cost_ud, tuple(orders)) for start, orders in markets]
    assert worst_event_loss_ud(exposures, is_exhaustive=is_exhaustive) == worst_ud
