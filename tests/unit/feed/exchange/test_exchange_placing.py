"""What a new order meets: the open questions both ways, self-trades, pauses, subaccounts, cancel-all, what is told."""

from __future__ import annotations

import pytest
from exchangeworld import CENT, MINUTE_US, NOW_US, TAPERED, a_world, an_order, fund, place, refused, told

from feed.exchange.happenings import BookChanged, Private
from feed.exchange.trading import orders, register
from feed.exchange.trading.orders import FOK, IOC, STP_MAKER, STP_TAKER
from feed.exchange.world import World
from markets.core.units import Side

SECOND_US = 1_000_000

# --- what no document settles -------------------------------------------------------------------------------------


def test_a_post_only_order_that_would_trade_is_refused_and_takes_no_client_id() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4000"))
    crossing = an_order("bid", "0.4000", post_only=True, client_order_id="mine")
    assert refused(world, "us", crossing) == orders.POST_ONLY_CROSS
    assert (
        place(world, "us", an_order("bid", "0.3900", post_only=True, client_order_id="mine")).order.status == "resting"
    )


def test_or_it_is_accepted_and_cancelled() -> None:
    world = a_world(post_only_cross="cancel")
    place(world, "other", an_order("ask", "0.4000"))
    world.take()
    placed = place(world, "us", an_order("bid", "0.4000", post_only=True, client_order_id="mine"))
    assert (placed.order.status, placed.order.fill_cx, placed.fills) == ("canceled", 0, ())
    assert [m["last_update_reason"] for m in told(world, "user_orders")] == ["PostOnlyCrossCancel"]
    assert refused(world, "us", an_order("bid", "0.3000", client_order_id="mine")) == orders.ALREADY_EXISTS


def test_an_immediate_order_with_nothing_to_hit_ends_cancelled_or_is_refused() -> None:
    unfilled = an_order("bid", "0.4000", time_in_force=IOC)
    assert place(a_world(), "us", unfilled).order.status == "canceled"
    assert refused(a_world(unfilled_ioc="refuse"), "us", unfilled) == orders.IOC_UNFILLED


def test_an_immediate_order_that_fills_in_part_is_never_refused() -> None:
    world = a_world(unfilled_ioc="refuse")
    place(world, "other", an_order("ask", "0.4000", "1.00"))
    taken = place(world, "us", an_order("bid", "0.4000", "5.00", time_in_force=IOC)).order
    assert (taken.status, taken.fill_cx, taken.remaining_cx) == ("canceled", 100, 0)


@pytest.mark.parametrize("end", ["cancel", "fill", "expire"])
def test_a_client_id_is_taken_for_ever_or_while_its_order_is_open(end: str) -> None:
    for switch, is_free in (("forever", False), ("while_open", True)):
        world = a_world(client_order_ids=switch)
        again = an_order("bid", "0.4000", client_order_id="one", expires_us=NOW_US + SECOND_US)
        order = place(world, "us", again).order
        assert refused(world, "us", again) == orders.ALREADY_EXISTS
        if end == "cancel":
            world.entry.cancel(world.account("us"), order)
        elif end == "fill":
            place(world, "other", an_order("ask", "0.4000"))
        world.advance(NOW_US + 2 * SECOND_US)
        later = an_order("bid", "0.4000", client_order_id="one")
        if is_free:
            place(world, "us", later)
        else:
            assert refused(world, "us", later) == orders.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("switch", "counts"),
    [("sum", ["10000.00", "4000.00"]), ("max", ["14000.00", "14000.00"]), ("none", ["14000.00", "14000.00"])],
)
def test_resting_orders_count_as_the_switch_says(switch: str, counts: list[str]) -> None:
    world = a_world(resting_collateral=switch)  # $7,000 on the shard
    for count in counts:
        place(world, "us", an_order("bid", "0.5000", count))
    too_much = "0.01" if switch == "sum" else "14000.01"
    assert refused(world, "us", an_order("bid", "0.5000", too_much)) == orders.INSUFFICIENT_BALANCE


# --- oneself ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("are_self", "filled"), [(True, 0), (False, 500)])
def test_whether_subaccounts_are_the_same_person_is_a_switch(are_self: bool, filled: int) -> None:
    world = a_world(subaccounts_are_self=are_self)
    fund(world, "us", 1)
    resting = place(world, "us", an_order("ask", "0.4000", "5.00", subaccount=1)).order
    taker = place(world, "us", an_order("bid", "0.4000", "5.00")).order
    assert (taker.fill_cx, resting.fill_cx) == (filled, filled)
    assert [world.account("us").held_cx(CENT, number) for number in (0, 1)] == [filled, -filled]
    assert world.markets[CENT].tape.open_interest_cx == filled


def test_earlier_fills_stand_when_a_taker_stops_at_its_own_order() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.3900", "2.00"))
    mine = place(world, "us", an_order("ask", "0.4000", "5.00")).order
    taker = place(world, "us", an_order("bid", "0.4000", "5.00", self_trade_prevention=STP_TAKER)).order
    assert (taker.status, taker.reason, taker.fill_cx) == ("canceled", "SelfTradeCancel", 200)
    assert (mine.status, mine.remaining_cx) == ("resting", 500)


def test_an_own_maker_in_the_way_is_cancelled_between_the_trades() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.3900", "2.00"))
    place(world, "us", an_order("ask", "0.4000", "5.00", client_order_id="maker"))
    place(world, "other", an_order("ask", "0.4100", "2.00"))
    world.take()
    place(world, "us", an_order("bid", "0.4100", "4.00", self_trade_prevention=STP_MAKER, client_order_id="taker"))
    happened = world.take()
    deltas = [(h.price_cc, h.delta_cx) for h in happened if isinstance(h, BookChanged)]
    assert deltas == [(6_100, -200), (6_000, -500), (5_900, -200)]
    ours = [h.body for h in happened if isinstance(h, Private) and (h.channel, h.account) == ("user_orders", "us")]
    reasons = [body["last_update_reason"] for body in ours]
    assert reasons == ["Trade", "SelfTradeCancel", "Trade"]


@pytest.mark.parametrize(("prevention", "mine_left"), [(STP_TAKER, 300), (STP_MAKER, 0)])
def test_an_order_to_fill_whole_that_meets_its_own_fills_in_part(prevention: str, mine_left: int) -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.3900", "2.00"))
    mine = place(world, "us", an_order("ask", "0.4000", "3.00")).order
    taker = an_order("bid", "0.4000", "5.00", time_in_force=FOK, self_trade_prevention=prevention)
    taken = place(world, "us", taker).order
    assert (taken.status, taken.fill_cx, taken.remaining_cx, mine.remaining_cx) == ("canceled", 200, 0, mine_left)


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_subaccount_that_was_never_opened_is_not_found() -> None:
    assert refused(a_world(), "us", an_order("bid", "0.4000", subaccount=3)) == orders.NOT_FOUND


def test_a_client_id_with_a_point_is_refused() -> None:
    assert refused(a_world(), "us", an_order("bid", "0.4000", client_order_id="a.b")) == orders.CLIENT_ID_FORM


def test_there_is_a_limit_to_open_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world()
    monkeypatch.setattr("feed.exchange.trading.checks.OPEN_ORDERS_MAX", 2)
    for _ in range(2):
        place(world, "us", an_order("bid", "0.4000", "1.00"))
    assert refused(world, "us", an_order("bid", "0.4000", "1.00")) == orders.TOO_MANY_ORDERS
    assert register.OPEN_ORDERS_MAX == 200_000


# --- subaccounts --------------------------------------------------------------------------------------------------


def test_a_subaccount_trades_with_its_own_money_and_position() -> None:
    world = a_world()
    fund(world, "us", 1)
    place(world, "other", an_order("ask", "0.4000", "500.00"))
    assert refused(world, "us", an_order("bid", "0.4000", "500.00", subaccount=1)) == orders.INSUFFICIENT_BALANCE
    place(world, "us", an_order("bid", "0.4000", "50.00", subaccount=1))
    us = world.account("us")
    assert (us.held_cx(CENT, 1), us.held_cx(CENT, 0)) == (5_000, 0)
    assert us.balance_ud(0, 1) == 100_000_000 - 20_000_000 - us.positions[1, CENT].fees_ud


def test_an_order_that_only_reduces_looks_at_its_own_subaccount() -> None:
    world = a_world()
    fund(world, "us", 1)
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    place(world, "us", an_order("bid", "0.4000", "5.00"))
    elsewhere = an_order("ask", "0.3000", "5.00", time_in_force=IOC, reduce_only=True, subaccount=1)
    assert place(world, "us", elsewhere).order.reason == "ReduceOnlyCancel"


# --- pauses and the close -----------------------------------------------------------------------------------------


def test_a_pause_cancels_only_the_orders_that_asked_for_it_where_it_holds() -> None:
    world = a_world()
    asked = [
        place(world, "us", an_order("bid", "0.4000", "1.00", ticker=ticker, cancel_on_pause=True)).order
        for ticker in (CENT, TAPERED)
    ]
    stays = place(world, "us", an_order("bid", "0.4000", "1.00")).order
    world.entry.on_pause(exchange_index=2)
    assert [order.status for order in asked] == ["resting", "resting"]
    world.entry.on_pause(ticker=CENT)
    assert [(order.status, order.reason) for order in asked] == [("canceled", "HaltCancel"), ("resting", "")]
    world.entry.on_pause()
    assert (asked[1].status, stays.status) == ("canceled", "resting")


def test_an_order_left_at_the_close_ends_with_it() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.4000", "1.00")).order
    world.take()
    world.advance(NOW_US + 61 * MINUTE_US)
    assert [m["last_update_reason"] for m in told(world, "user_orders")] == ["CloseCancel"]
    assert (order.status, order.remaining_cx) == ("canceled", 0)


# --- cancel-all and its minute ------------------------------------------------------------------------------------


def after_cancel_all(world: World, *, after_us: int) -> str:
    """Return the state, a minute later, of an order placed `after_us` after a cancel-all."""
    world.entry.cancel_all(world.account("us"))
    world.advance(NOW_US + after_us)
    order = place(world, "us", an_order("bid", "0.4000", "1.00")).order
    world.advance(NOW_US + 2 * MINUTE_US)
    return order.status


@pytest.mark.parametrize(
    ("switch", "after_us", "status"),
    [
        ("none", 0, "resting"),
        ("minute", 0, "canceled"),
        ("minute", MINUTE_US - 1, "canceled"),
        ("minute", MINUTE_US, "resting"),
    ],
)
def test_orders_of_the_minute_after_a_cancel_all_are_swept_as_the_switch_says(
    switch: str, after_us: int, status: str
) -> None:
    assert after_cancel_all(a_world(cancel_all_tail=switch), after_us=after_us) == status


def test_the_seed_decides_when_and_whether_a_cancel_all_sweeps_again() -> None:
    fates = {seed: after_cancel_all(a_world(seed=seed), after_us=0) for seed in range(12)}
    assert set(fates.values()) == {"resting", "canceled"}
    assert fates == {seed: after_cancel_all(a_world(seed=seed), after_us=0) for seed in range(12)}


def test_a_cancel_all_may_be_of_one_subaccount() -> None:
    world = a_world(cancel_all_tail="minute")
    fund(world, "us", 1)
    first, second = (place(world, "us", an_order("bid", "0.4000", "1.00", subaccount=n)).order for n in (0, 1))
    world.entry.cancel_all(world.account("us"), subaccount=1)
    later = place(world, "us", an_order("bid", "0.4000", "1.00")).order
    world.advance(NOW_US + MINUTE_US)
    assert [order.status for order in (first, second, later)] == ["resting", "canceled", "resting"]


def test_others_keep_their_orders_in_a_cancel_all() -> None:
    world = a_world()
    theirs = place(world, "other", an_order("bid", "0.4000", "1.00")).order
    world.entry.cancel_all(world.account("us"))
    assert theirs.status == "resting"


# --- what is told -------------------------------------------------------------------------------------------------


def test_deltas_name_the_subaccount_of_who_uses_them() -> None:
    world = a_world()
    place(world, "plain", an_order("bid", "0.3000", "1.00"))
    fund(world, "us", 1)
    place(world, "us", an_order("bid", "0.4000", "1.00", subaccount=1))
    place(world, "us", an_order("bid", "0.4000", "1.00"))
    named = [(h.owner, h.subaccount) for h in world.take() if isinstance(h, BookChanged)]
    assert named == [("plain", None), ("us", 1), ("us", 0)]


def test_an_order_message_has_every_field_the_venue_documents() -> None:
    world = a_world()
    fund(world, "us", 1)
    group = world.entry.groups.create(world.account("us"), limit_cx=100_000, subaccount=1, exchange_index=0)
    world.take()
    place(
        world,
        "us",
        an_order(
            "ask", "0.4000", "1.50", subaccount=1, client_order_id="mine", order_group_id=group.group_id,
            expires_us=NOW_US + MINUTE_US,
        ),
    )  # fmt: skip
    (message,) = told(world, "user_orders")
    assert {k: v for k, v in message.items() if k not in ("order_id", "user_id")} == {
        "ticker": CENT, "exchange_index": 0, "status": "resting", "side": "no", "is_yes": False, "outcome_side": "no",
        "book_side": "ask", "yes_price_dollars": "0.4000", "initial_count_fp": "1.50", "fill_count_fp": "0.00",
        "remaining_count_fp": "1.50", "taker_fill_cost_dollars": "0.000000", "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.000000", "maker_fees_dollars": "0.000000", "client_order_id": "mine",
        "order_group_id": group.group_id, "self_trade_prevention_type": "taker_at_cross",
        "created_time": "2026-11-22T08:50:00Z", "created_ts_ms": NOW_US // 1_000,
        "last_update_time": "2026-11-22T08:50:00Z", "last_updated_ts_ms": NOW_US // 1_000,
        "expiration_time": "2026-11-22T08:51:00Z", "expiration_ts_ms": (NOW_US + MINUTE_US) // 1_000,
        "subaccount_number": 1,
    }  # fmt: skip


def test_the_side_that_is_asked_shows_its_own_cost() -> None:
    world = a_world()
    place(world, "other", an_order("bid", "0.4000", "2.00"))
    order = place(world, "us", an_order("ask", "0.4000", "2.00")).order
    assert (order.side, order.taker_cost_ud) == (Side.NO, 200 * 6_000)
