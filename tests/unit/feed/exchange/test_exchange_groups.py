"""Order groups: the rolling window, its boundary, triggers and what they do to orders."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeworld import CENT, NOW_US, a_world, an_order, fund, place, refused, told
from hypothesis import given
from hypothesis import strategies as st

from feed.exchange.trading import groups, orders
from feed.exchange.trading.groups import WINDOW_US, OrderGroup
from feed.exchange.trading.orders import STP_MAKER
from feed.exchange.world import World

SECOND_US = 1_000_000


def a_group(world: World, contracts: int, *, who: str = "us", **where: Any) -> OrderGroup:
    place_in = {"subaccount": 0, "exchange_index": 0} | where
    group = world.entry.groups.create(world.account(who), limit_cx=contracts * 100, **place_in)
    assert isinstance(group, OrderGroup)
    return group


def hit(world: World, count: str, price: str = "0.4000") -> None:
    """Sell into somebody's bids."""
    place(world, "other", an_order("ask", price, count, time_in_force="immediate_or_cancel"))


# --- the window ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 6 * SECOND_US), st.integers(0, 500)), max_size=40))
def test_the_rolling_sum_is_that_of_the_fills_of_the_last_15_seconds(steps: list[tuple[int, int]]) -> None:
    group = OrderGroup("g", account="us", subaccount=0, exchange_index=0, limit_cx=1)
    fills, now_us = [], NOW_US
    for later_us, count_cx in steps:
        now_us += later_us
        if count_cx:
            group.record(count_cx, now_us)
            fills.append((now_us, count_cx))
        assert group.rolling_cx(now_us) == sum(count for at, count in fills if now_us - at < WINDOW_US)


def test_a_group_triggers_when_its_fills_pass_the_limit_within_15_seconds() -> None:
    world = a_world()
    group = a_group(world, 10)
    mine = [place(world, "us", an_order("bid", "0.4000", "8.00", order_group_id=group.group_id)).order for _ in "12"]
    hit(world, "10.00")
    assert not group.is_triggered
    hit(world, "0.01")
    assert (group.is_triggered, [order.status for order in mine]) == (True, ["executed", "canceled"])


def test_fills_leave_the_window_after_15_seconds() -> None:
    world = a_world()
    group = a_group(world, 10)
    place(world, "us", an_order("bid", "0.4000", "30.00", order_group_id=group.group_id))
    hit(world, "10.00")
    world.advance(NOW_US + WINDOW_US)
    hit(world, "10.00")
    assert not group.is_triggered
    world.advance(NOW_US + 2 * WINDOW_US - 1)
    hit(world, "0.01")
    assert group.is_triggered


@pytest.mark.parametrize(("switch", "triggered"), [("exceeds", False), ("reaches", True)])
def test_whether_reaching_the_limit_triggers_is_a_switch(switch: str, triggered: bool) -> None:
    world = a_world(group_limit=switch)
    group = a_group(world, 10)
    place(world, "us", an_order("bid", "0.4000", "20.00", order_group_id=group.group_id))
    hit(world, "10.00")
    assert group.is_triggered == triggered


def test_an_incoming_order_of_a_group_counts_and_its_rest_is_cancelled_with_the_others() -> None:
    world = a_world()
    group = a_group(world, 5)
    place(world, "other", an_order("ask", "0.4000", "8.00"))
    resting = place(world, "us", an_order("bid", "0.3000", "1.00", order_group_id=group.group_id)).order
    taker = place(world, "us", an_order("bid", "0.4000", "10.00", order_group_id=group.group_id)).order
    assert [(order.status, order.fill_cx) for order in (resting, taker)] == [("canceled", 0), ("canceled", 800)]
    assert len(world.markets[CENT].book) == 0


def test_orders_outside_the_group_stay() -> None:
    world = a_world()
    group = a_group(world, 1)
    outside = place(world, "us", an_order("bid", "0.4000", "5.00")).order
    place(world, "us", an_order("bid", "0.4000", "5.00", order_group_id=group.group_id))
    hit(world, "8.00")
    assert (group.is_triggered, outside.fill_cx) == (True, 500)
    stays = place(world, "us", an_order("bid", "0.4000", "5.00")).order
    assert stays.status == "resting"


# --- what is done to it -------------------------------------------------------------------------------------------


def test_a_triggered_group_takes_no_orders_until_it_is_reset() -> None:
    world = a_world()
    group = a_group(world, 10)
    world.entry.groups.trigger(group)
    assert refused(world, "us", an_order("bid", "0.4000", order_group_id=group.group_id)) == orders.GROUP_TRIGGERED
    world.entry.groups.reset(group)
    assert place(world, "us", an_order("bid", "0.4000", order_group_id=group.group_id)).order.status == "resting"


def test_a_reset_forgets_what_was_counted() -> None:
    world = a_world()
    group = a_group(world, 10)
    place(world, "us", an_order("bid", "0.4000", "30.00", order_group_id=group.group_id))
    hit(world, "10.00")
    world.entry.groups.reset(group)
    hit(world, "10.00")
    assert not group.is_triggered


@pytest.mark.parametrize(
    ("limit", "switch", "triggered"), [(9, "exceeds", True), (10, "exceeds", False), (10, "reaches", True)]
)
def test_a_limit_below_what_has_just_traded_triggers(limit: int, switch: str, triggered: bool) -> None:
    world = a_world(group_limit=switch)
    group = a_group(world, 20)
    mine = place(world, "us", an_order("bid", "0.4000", "30.00", order_group_id=group.group_id)).order
    hit(world, "10.00")
    world.entry.groups.set_limit(group, limit * 100)
    assert (group.is_triggered, mine.status) == (triggered, "canceled" if triggered else "resting")


def test_deleting_a_group_cancels_its_orders_and_its_name_is_unknown_after() -> None:
    world = a_world()
    group = a_group(world, 10)
    mine = place(world, "us", an_order("bid", "0.4000", order_group_id=group.group_id)).order
    world.entry.groups.delete(group)
    assert mine.status == "canceled"
    assert refused(world, "us", an_order("bid", "0.4000", order_group_id=group.group_id)) == orders.GROUP_NOT_FOUND
    assert world.entry.groups.of(world.account("us")) == []


def test_a_group_belongs_to_its_owner_shard_and_subaccount() -> None:
    world = a_world()
    fund(world, "us", 1)
    elsewhere, numbered = a_group(world, 10, exchange_index=2), a_group(world, 10, subaccount=1)
    theirs = a_group(world, 10, who="other")
    for group in (elsewhere, numbered, theirs):
        refusal = refused(world, "us", an_order("bid", "0.4000", order_group_id=group.group_id))
        assert refusal == orders.GROUP_NOT_FOUND
    place(world, "us", an_order("bid", "0.4000", order_group_id=numbered.group_id, subaccount=1))


def test_each_change_of_a_group_is_told_to_its_owner() -> None:
    world = a_world()
    group = a_group(world, 10)
    desk = world.entry.groups
    desk.set_limit(group, 1_250)
    desk.trigger(group)
    desk.trigger(group)  # done already: nothing to tell
    desk.reset(group)
    desk.delete(group)
    messages = told(world, "order_group_updates")
    assert [(m["event_type"], m.get("contracts_limit_fp")) for m in messages] == [
        ("created", "10.00"), ("limit_updated", "12.50"), ("triggered", None), ("reset", None), ("deleted", None),
    ]  # fmt: skip
    assert {(m["order_group_id"], m["ts_ms"]) for m in messages} == {(group.group_id, NOW_US // 1_000)}


def test_an_order_of_a_group_cancelled_by_its_own_side_counts_only_what_traded() -> None:
    world = a_world()
    group = a_group(world, 1)
    place(world, "us", an_order("ask", "0.4000", "5.00", order_group_id=group.group_id))
    place(world, "us", an_order("bid", "0.4000", "5.00", self_trade_prevention=STP_MAKER))
    assert not group.is_triggered


def test_there_is_a_limit_to_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    monkeypatch.setattr(groups, "GROUPS_MAX", 1)
    a_group(world, 1)
    refusal = world.entry.groups.create(world.account("us"), limit_cx=100, subaccount=0, exchange_index=0)
    assert refusal == orders.TOO_MANY_GROUPS
