"""What an event's positions guarantee, and what is credited for it."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from exchangeworld import an_order, place, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from moneyworld import EXCLUSIVE, NESTED, a_money_world, member

from feed.exchange.trading.netting import DIRECNET, MECNET, Leg, guaranteed_ud
from feed.exchange.trading.orders import IOC
from feed.exchange.world import World
from markets.core.units import DOLLAR_CC, DOLLAR_UD

A, B, C = EXCLUSIVE
COUNTS = st.integers(-500, 500)
CENTS_UD = 10_000


def exclusive(*positions: int) -> list[Leg]:
    return [Leg(position) for position in positions]


def nested(*positions: int) -> list[Leg]:
    return [Leg(position, strike_type="greater", strike=70.0 + at) for at, position in enumerate(positions)]


def payout_ud(positions: tuple[int, ...], values: tuple[int, ...]) -> int:
    pairs = zip(positions, values, strict=True)
    return sum(p * v if p > 0 else -p * (DOLLAR_CC - v) for p, v in pairs)


def buy_no(world: World, who: str, ticker: str, no_price: str, count: str, **changes: object) -> None:
    """Let somebody else sell us NO at a price."""
    yes_price = f"{1 - float(no_price):.2f}"
    place(world, "other", an_order("bid", yes_price, count, ticker=ticker))
    place(world, who, an_order("ask", yes_price, count, ticker=ticker, time_in_force=IOC, **changes))


def test_two_no_positions_guarantee_the_smaller_size() -> None:
    assert guaranteed_ud(MECNET, exclusive(-100, -100)) == DOLLAR_UD
    assert guaranteed_ud(MECNET, exclusive(-500, -200, 0)) == 2 * DOLLAR_UD
    assert guaranteed_ud(MECNET, exclusive(-500, -300, -200)) == 5 * DOLLAR_UD


def test_yes_positions_and_a_single_no_guarantee_nothing_in_an_exclusive_event() -> None:
    assert guaranteed_ud(MECNET, exclusive(-100)) == 0
    assert guaranteed_ud(MECNET, exclusive(300, -100, 200)) == 0


def test_an_event_without_collateral_return_guarantees_nothing() -> None:
    assert guaranteed_ud("", exclusive(-100, -100)) == 0


def test_the_wider_yes_and_the_narrower_no_guarantee_a_dollar_between_them() -> None:
    assert guaranteed_ud(DIRECNET, nested(100, -100)) == DOLLAR_UD
    assert guaranteed_ud(DIRECNET, nested(-100, 100)) == 0
    assert guaranteed_ud(DIRECNET, nested(-100, -100)) == 0


def test_strikes_that_are_not_nested_take_no_part() -> None:
    between = [Leg(100, strike_type="between", strike=70.0), Leg(-100, strike_type="between", strike=80.0)]
    assert guaranteed_ud(DIRECNET, between) == 0


def test_a_cap_nests_the_other_way() -> None:
    wide, narrow = (
        Leg(100, strike_type="less", strike=90.0),
        Leg(-100, strike_type="less", strike=70.0),
    )
    assert guaranteed_ud(DIRECNET, [narrow, wide]) == DOLLAR_UD


@given(st.tuples(COUNTS, COUNTS, COUNTS))
def test_an_exclusive_guarantee_is_the_worst_of_all_outcomes(positions: tuple[int, int, int]) -> None:
    outcomes = [(0, 0, 0), (DOLLAR_CC, 0, 0), (0, DOLLAR_CC, 0), (0, 0, DOLLAR_CC)]
    worst = min(payout_ud(positions, values) for values in outcomes)
    assert guaranteed_ud(MECNET, exclusive(*positions)) <= worst
    if max(positions) <= 0:
        assert guaranteed_ud(MECNET, exclusive(*positions)) == worst


@given(st.tuples(COUNTS, COUNTS, COUNTS), st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_a_nested_guarantee_is_the_worst_of_all_falling_values(
    positions: tuple[int, int, int], settled: list[int]
) -> None:
    """Try every combination of quarters of a dollar that never rises along the strikes."""
    values = sorted((quarter * 2_500 for quarter in settled), reverse=True)
    legs = [
        Leg(p, v if at == 1 else None, leg.strike_type, leg.strike)
        for at, (p, v, leg) in enumerate(zip(positions, values, nested(*positions), strict=True))
    ]
    falling = [
        combination
        for combination in product(range(0, DOLLAR_CC + 1, 2_500), repeat=3)
        if all(a >= b for a, b in pairwise(combination)) and combination[1] == values[1]
    ]
    open_positions = (positions[0], 0, positions[2])
    assert guaranteed_ud(DIRECNET, legs) == min(payout_ud(open_positions, values) for values in falling)


SETTLE = st.permutations([0, 1, 2])


@settings(max_examples=200)
@given(st.tuples(COUNTS, COUNTS, COUNTS), st.integers(0, 3), SETTLE, st.sampled_from([MECNET, DIRECNET]))
def test_no_settlement_takes_more_back_than_it_pays(
    positions: tuple[int, int, int], outcome: int, order: list[int], kind: str
) -> None:
    """Settle one market after the other, in any order, with any result the event allows."""
    legs = exclusive(*positions) if kind == MECNET else nested(*positions)
    results = [at == outcome for at in range(3)] if kind == MECNET else [at < outcome for at in range(3)]
    before = guaranteed_ud(kind, legs)
    for at in order:
        value = DOLLAR_CC if results[at] else 0
        paid = payout_ud((positions[at],), (value,))
        legs[at] = Leg(0, value, legs[at].strike_type, legs[at].strike)
        after = guaranteed_ud(kind, legs)
        assert paid + after - before >= 0
        before = after
    assert before == 0


def test_the_example_of_the_help_centre_costs_thirty_cents_net() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True)
    opening = us.balance_ud(0)
    buy_no(world, "us", A, "0.60", "1.00")
    buy_no(world, "us", B, "0.70", "1.00")
    fees = sum(fill.fee_ud for fill in us.fills)
    assert opening - us.balance_ud(0) - fees == 30 * CENTS_UD
    assert us.returned_ud == {(0, "KXEX-1"): DOLLAR_UD}


@pytest.mark.parametrize(("netting", "nets"), [(False, True), (True, False)])
def test_nothing_is_returned_unless_exchange_and_subaccount_net(netting: bool, nets: bool) -> None:
    world = a_money_world(netting=netting)
    us = member(world, "us", nets=nets)
    buy_no(world, "us", A, "0.60", "1.00")
    buy_no(world, "us", B, "0.70", "1.00")
    assert not any(us.returned_ud.values())


def test_a_new_subaccount_inherits_the_primary_ones_netting() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True, subaccounts=1)
    us.subaccounts[0].nets = False
    us.open_subaccount(0)
    assert [sub.nets for sub in us.subaccounts.values()] == [False, True, False]


def test_collateral_is_returned_for_a_wide_yes_against_a_narrow_no() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True)
    place(world, "other", an_order("ask", "0.60", "2.00", ticker=NESTED[0]))
    place(world, "us", an_order("bid", "0.60", "2.00", ticker=NESTED[0]))
    buy_no(world, "us", NESTED[2], "0.70", "1.00")
    assert us.returned_ud == {(0, "KXNEST-1"): DOLLAR_UD}


def test_a_position_whose_collateral_came_back_may_need_cash_to_be_sold() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True)
    buy_no(world, "us", A, "0.60", "1.00")
    buy_no(world, "us", B, "0.70", "1.00")
    world.clearing.withdraw(us, us.balance_ud(0), (0, 0))
    # Selling the NO at $0.40 brings 40 cents and costs the dollar it guaranteed.
    refusal = refused(world, "us", an_order("bid", "0.60", "1.00", ticker=A))
    assert refusal.code == "insufficient_balance"
    us.credit(60 * CENTS_UD, exchange_index=0, at_us=world.now_us, reference="gift")
    place(world, "us", an_order("bid", "0.60", "1.00", ticker=A))
    place(world, "other", an_order("ask", "0.60", "1.00", ticker=A))
    assert (us.held_cx(A), us.returned_ud) == (0, {})


def test_an_order_that_adds_to_the_guarantee_needs_less_cash() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True)
    buy_no(world, "us", A, "0.60", "10.00")
    world.clearing.withdraw(us, us.balance_ud(0), (0, 0))
    place(world, "us", an_order("ask", "0.30", "10.00", ticker=B))
    assert refused(world, "us", an_order("ask", "0.30", "40.00", ticker=C)).code == "insufficient_balance"


def test_turning_netting_off_gives_the_collateral_back_or_is_refused() -> None:
    world = a_money_world()
    us = member(world, "us", nets=True)
    buy_no(world, "us", A, "0.60", "1.00")
    buy_no(world, "us", B, "0.70", "1.00")
    before = us.balance_ud(0)
    assert world.clearing.set_netting(us, 0, enabled=False)
    assert us.balance_ud(0) == before - DOLLAR_UD
    assert world.clearing.set_netting(us, 0, enabled=True)
    world.clearing.withdraw(us, us.balance_ud(0), (0, 0))
    assert not world.clearing.set_netting(us, 0, enabled=False)


def test_netting_is_turned_off_after_an_event_that_netted_has_left_the_list() -> None:
    world = a_money_world()
    us, them = member(world, "us", nets=True), member(world, "them")
    for ticker in EXCLUSIVE[:2]:
        world.entry.place(us, an_order("ask", "0.40", ticker=ticker))
        world.entry.place(them, an_order("bid", "0.40", ticker=ticker))
    assert us.returned_ud[0, "KXEX-1"] > 0
    for ticker in EXCLUSIVE:
        world.life.determine(world.markets[ticker], "no")
        world.life.settle(world.markets[ticker])
    world.delist("KXEX-1")
    assert world.clearing.set_netting(us, 0, enabled=False)
    assert (us.subaccounts[0].nets, us.returned_ud) == (False, {})
