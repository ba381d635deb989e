"""Amend and decrease: totals, places in the queue, matching at once, refusals that change nothing."""

from __future__ import annotations

import msgspec
import pytest
from exchangeworld import (
    CENT,
    MINUTE_US,
    NOW_US,
    TAPERED,
    a_world,
    amend,
    amend_refused,
    an_amendment,
    an_order,
    place,
    told,
)

from feed.exchange.happenings import BookChanged
from feed.exchange.trading import orders
from feed.exchange.trading.accounts import Order
from feed.exchange.trading.orders import Decrease, Reduced, Refusal, Route
from feed.exchange.world import World
from markets.core.units import Side


def ahead(world: World, order: Order) -> int:
    return world.markets[order.ticker].ahead_cx(order.order_id)


def a_queue(world: World) -> Order:
    """One order of ours, and another behind it at the same price."""
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    place(world, "other", an_order("bid", "0.4000", "7.00"))
    return mine


# --- amend: place and counts --------------------------------------------------------------------------------------


def test_a_smaller_total_keeps_the_place_in_the_queue() -> None:
    world = a_world()
    mine = a_queue(world)
    result = amend(world, mine, "0.4000", "4.00")
    assert (ahead(world, mine), mine.remaining_cx, mine.initial_cx, result.is_resized) == (0, 400, 400, True)


def test_an_amend_of_the_expiry_alone_keeps_the_place_in_the_queue() -> None:
    world = a_world()
    mine = a_queue(world)
    result = amend(world, mine, "0.4000", "10.00", expires_us=NOW_US + MINUTE_US)
    assert (ahead(world, mine), result.is_resized, mine.expires_us) == (0, False, NOW_US + MINUTE_US)


@pytest.mark.parametrize(("price", "total", "expected"), [("0.4000", "10.01", 700), ("0.3900", "10.00", 300)])
def test_another_price_or_more_contracts_go_to_the_back(price: str, total: str, expected: int) -> None:
    world = a_world()
    mine = a_queue(world)
    place(world, "other", an_order("bid", "0.3900", "3.00"))
    amend(world, mine, price, total)
    assert ahead(world, mine) == expected


def test_the_total_counts_what_is_filled_already() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    place(world, "other", an_order("ask", "0.4000", "6.00"))
    amend(world, mine, "0.4000", "8.00")
    assert (mine.fill_cx, mine.remaining_cx, mine.initial_cx) == (600, 200, 800)


def test_a_total_of_what_is_filled_ends_the_order() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    place(world, "other", an_order("ask", "0.4000", "6.00"))
    amend(world, mine, "0.4000", "6.00")
    assert (mine.status, mine.remaining_cx, mine.reason, len(world.markets[CENT].book)) == ("canceled", 0, "Amend", 0)


def test_an_amend_may_trade_at_once_and_tells_price_and_fee_of_that() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4500", "6.00"))
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    world.take()
    result = amend(world, mine, "0.4600", "10.00")
    assert [(f.yes_price_cc, f.count_cx, f.is_taker) for f in result.fills] == [(4_500, 600, True)]
    assert (mine.remaining_cx, mine.status, mine.yes_price_cc) == (400, "resting", 4_600)
    deltas = [(h.side, h.price_cc, h.delta_cx) for h in world.take() if isinstance(h, BookChanged)]
    assert deltas == [(Side.YES, 4_000, -1_000), (Side.NO, 5_500, -600), (Side.YES, 4_600, 400)]


def test_an_amend_that_fills_the_order_whole_executes_it() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4500", "60.00"))
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    amend(world, mine, "0.4500", "10.00")
    assert (mine.status, mine.order_id in world.account("us").open) == ("executed", False)


def test_an_amend_is_told_before_what_it_trades() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4500", "6.00"))
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    world.take()
    amend(world, mine, "0.4500", "9.00")
    messages = told(world, "user_orders")
    assert [(m["last_update_reason"], m["remaining_count_fp"], m["fill_count_fp"]) for m in messages] == [
        ("Amend", "9.00", "0.00"),
        ("Trade", "3.00", "6.00"),
    ]


# --- amend: expiry and ids ----------------------------------------------------------------------------------------


def test_an_expiry_that_was_moved_does_not_strike_at_the_old_time() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", expires_us=NOW_US + MINUTE_US)).order
    amend(world, mine, "0.4000", "10.00", expires_us=NOW_US + 2 * MINUTE_US)
    world.advance(NOW_US + MINUTE_US)
    assert mine.status == "resting"
    world.advance(NOW_US + 2 * MINUTE_US)
    assert (mine.status, mine.reason) == ("canceled", "ExpiryCancel")


def test_an_expiry_can_be_removed_and_is_kept_when_not_named() -> None:
    world = a_world()
    kept, freed = (place(world, "us", an_order("bid", "0.4000", expires_us=NOW_US + MINUTE_US)).order for _ in "12")
    amend(world, kept, "0.4000", "9.00")
    amend(world, freed, "0.4000", "10.00", expires_us=None)
    world.advance(NOW_US + MINUTE_US)
    assert (kept.status, freed.status) == ("canceled", "resting")


def test_an_amend_may_give_a_new_client_id_which_is_then_taken() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", client_order_id="one")).order
    amend(world, mine, "0.4000", "9.00", client_order_id="one", updated_client_order_id="two")
    assert mine.client_order_id == "two"
    other = place(world, "us", an_order("bid", "0.3000")).order
    assert amend_refused(world, other, "0.3000", "9.00", updated_client_order_id="two") == orders.ALREADY_EXISTS


# --- amend: refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "total", "changes", "refusal"),
    [
        ("0.4000", "9.00", {"ticker": TAPERED}, orders.TICKER_MISMATCH),
        ("0.4000", "9.00", {"side": Side.NO}, orders.SIDE_MISMATCH),
        ("0.4000", "9.00", {"client_order_id": "other"}, orders.CLIENT_ID_MISMATCH),
        ("0.4000", "9.00", {"updated_client_order_id": "a.b"}, orders.CLIENT_ID_FORM),
        ("0.4050", "9.00", {}, orders.INVALID_PRICE),
        ("0.4000", "5.99", {}, orders.AMEND_BELOW_FILLED),
        ("0.4000", "9.00", {"expires_us": NOW_US}, orders.EXPIRES_IN_THE_PAST),
        ("0.4000", "100000.00", {}, orders.INSUFFICIENT_BALANCE),
        ("0.4500", "9.00", {}, orders.SELF_CROSS),
    ],
)
def test_a_refused_amend_changes_nothing(price: str, total: str, changes: dict, refusal: Refusal) -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", "10.00", client_order_id="mine")).order
    place(world, "other", an_order("ask", "0.4000", "6.00"))
    place(world, "us", an_order("ask", "0.4500", "1.00"))
    before, levels = msgspec.structs.asdict(mine), [world.markets[CENT].levels(side) for side in Side]
    world.take()
    assert amend_refused(world, mine, price, total, **changes) == refusal
    assert msgspec.structs.asdict(mine) == before
    assert [world.markets[CENT].levels(side) for side in Side] == levels
    assert world.take() == []


def test_an_amend_needs_cash_only_for_the_difference() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.5000", "14000.00")).order  # all of the shard's $7,000
    amend(world, mine, "0.5000", "13000.00")
    amend(world, mine, "0.5000", "14000.00")
    assert amend_refused(world, mine, "0.5100", "14000.00") == orders.INSUFFICIENT_BALANCE


def test_what_is_over_cannot_be_amended() -> None:
    world = a_world()
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    place(world, "other", an_order("ask", "0.4000", "10.00"))
    assert amend_refused(world, mine, "0.4000", "20.00") == orders.NOT_FOUND


@pytest.mark.parametrize(
    ("route", "found"),
    [
        (Route(exchange_index=2), True),
        (Route(exchange_index=0), False),
        (Route(), False),  # an id alone goes to shard 0
        (Route(ticker=CENT), True),
        (Route(exchange_index=-1, ticker=TAPERED), True),  # any market of the shard shows the way
        (Route(exchange_index=-1, ticker="NOBODY"), False),
        (Route(exchange_index=2, subaccount=1), False),
    ],
)
def test_a_request_must_reach_the_shard_and_the_subaccount_of_the_order(route: Route, found: bool) -> None:
    world = a_world(exchange_index=2)
    mine = place(world, "us", an_order("bid", "0.4000", "10.00")).order
    us = world.account("us")
    answers = [
        world.entry.amend(us, mine.order_id, an_amendment(mine, "0.4000", "9.00"), route),
        world.entry.decrease(us, mine.order_id, Decrease(to_cx=500), route),
        world.entry.cancel_by_id(us, mine.order_id, route),
    ]
    assert [answer != orders.NOT_FOUND for answer in answers] == [found] * 3


# --- decrease -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decrease", [Decrease(by_cx=300), Decrease(to_cx=700)])
def test_a_decrease_keeps_the_place_in_the_queue(decrease: Decrease) -> None:
    world = a_world()
    mine = a_queue(world)
    world.take()
    result = world.entry.decrease(world.account("us"), mine.order_id, decrease)
    assert isinstance(result, Reduced)
    assert (result.by_cx, mine.remaining_cx, mine.initial_cx, ahead(world, mine)) == (300, 700, 1_000, 0)
    assert [m["last_update_reason"] for m in told(world, "user_orders")] == ["Decrease"]


@pytest.mark.parametrize("decrease", [Decrease(by_cx=1_000), Decrease(to_cx=0)])
def test_a_decrease_of_everything_ends_the_order(decrease: Decrease) -> None:
    world = a_world()
    mine = a_queue(world)
    world.entry.decrease(world.account("us"), mine.order_id, decrease)
    assert (mine.status, mine.reason, mine.order_id in world.markets[CENT].book) == ("canceled", "Decrease", False)


@pytest.mark.parametrize(
    "decrease", [*(Decrease(by_cx=count) for count in (0, -1, 1_001)), Decrease(to_cx=1_000), Decrease(to_cx=-1)]
)
def test_a_decrease_must_take_something_off(decrease: Decrease) -> None:
    world = a_world()
    mine = a_queue(world)
    assert world.entry.decrease(world.account("us"), mine.order_id, decrease) == orders.INVALID_SIZE
    assert mine.remaining_cx == 1_000
