"""How long live orders stand, and what a group may fill (faults.md, "Last lines of defence")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traders.core.lifetimes import GROUP_MOST_CX, group_limit_cx, order_lifetime_s, resting_most
from traders.core.limits import Limits


def test_few_orders_have_the_shortest_lifetime() -> None:
    assert order_lifetime_s(4, 100) == 120


def test_many_orders_live_longer_so_that_renewals_leave_the_budget_to_others() -> None:
    assert order_lifetime_s(400, 100) == 400  # 400 renewals of 10 tokens in 200 s are 20 of the 100 a second
    assert order_lifetime_s(400, 100, renew_cost=5) == 200
    assert order_lifetime_s(401, 100) == 401


@given(orders=st.integers(0, 100_000), refill=st.integers(1, 10_000), cost=st.integers(1, 100))
def test_renewals_never_take_more_than_a_fifth_of_the_refill(orders: int, refill: int, cost: int) -> None:
    lifetime_s = order_lifetime_s(orders, refill, renew_cost=cost)
    assert orders * cost * 2 * 5 <= refill * lifetime_s
    assert lifetime_s == 120 or orders * cost * 2 * 5 > refill * (lifetime_s - 1), "and no second longer than needed"


def test_without_a_refill_nothing_can_be_renewed() -> None:
    with pytest.raises(ValueError, match="renews nothing"):
        order_lifetime_s(1, 0)


def test_a_trader_rests_its_orders_on_both_sides() -> None:
    assert resting_most(3, 2) == 12


def test_a_group_may_fill_what_its_trader_may_have_resting() -> None:
    assert group_limit_cx(Limits(order_cx_most=1_000)) == 4_000
    assert group_limit_cx(Limits(order_cx_most=1_000), orders_a_side=1) == 2_000


def test_a_group_limit_stays_within_what_the_venue_takes() -> None:
    assert group_limit_cx(Limits(order_cx_most=1)) == 100, "one contract is the least"
    assert group_limit_cx(Limits(order_cx_most=90_000_000)) == GROUP_MOST_CX == 100_000_000
