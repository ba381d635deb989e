"""Order entry of the local exchange: matching, money, refusals."""

from __future__ import annotations

from exchangeworld import CENT, MINUTE_US, NOW_US, TAPERED, a_world, an_order, cash, place, refused, top
from hypothesis import given, settings
from hypothesis import strategies as st

from feed.exchange.happenings import BookChanged, Private, Traded
from feed.exchange.trading.accounts import OPENING_CASH_UD
from feed.exchange.trading.orders import FOK, IOC, STP_MAKER, Placed
from markets.core.units import DOLLAR_CC, Side

OPENING_UD = sum(OPENING_CASH_UD.values())


def test_a_bid_and_an_ask_trade_at_the_resting_price() -> None:
    world = a_world()
    place(world, "maker", an_order("ask", "0.4500", "10.00"))
    taken = place(world, "taker", an_order("bid", "0.5000", "4.00"))
    assert [(f.yes_price_cc, f.count_cx, f.is_taker) for f in taken.fills] == [(4_500, 400, True)]
    assert world.account("maker").held_cx(CENT) == -400
    assert world.markets[CENT].levels(Side.NO) == {5_500: 600}


def test_a_trade_is_told_as_delta_print_fill_order_and_position() -> None:
    world = a_world()
    place(world, "maker", an_order("ask", "0.4500", "10.00"))
    world.take()
    place(world, "taker", an_order("bid", "0.4500", "4.00"))
    told = [h.channel if isinstance(h, Private) else type(h).__name__ for h in world.take()]
    assert told == ["BookChanged", "Traded", *["fill", "user_orders", "market_positions"] * 2]


def test_opening_and_closing_move_cash_by_the_price_and_the_fee() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4000", "10.00"))
    place(world, "us", an_order("bid", "0.4000", "10.00"))
    place(world, "other", an_order("bid", "0.6000", "10.00"))
    place(world, "us", an_order("ask", "0.6000", "10.00"))
    us = world.account("us")
    position = us.positions[0, CENT]
    assert (position.position_cx, position.cost_ud, position.realized_ud) == (0, 0, 2_000_000)
    assert cash(us) == OPENING_UD + 2_000_000 - position.fees_ud


def test_an_order_may_turn_the_position_around() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    place(world, "us", an_order("bid", "0.4000", "5.00"))
    place(world, "other", an_order("bid", "0.5000", "8.00"))
    place(world, "us", an_order("ask", "0.5000", "8.00"))
    position = world.account("us").positions[0, CENT]
    assert (position.position_cx, position.cost_ud) == (-300, 300 * 5_000)


def test_an_immediate_order_with_nothing_to_hit_is_accepted_and_cancelled() -> None:
    world = a_world()
    placed = place(world, "us", an_order("bid", "0.4000", time_in_force=IOC))
    assert (placed.order.status, placed.order.remaining_cx, placed.fills) == ("canceled", 0, ())


def test_an_order_that_must_fill_whole_is_killed_otherwise() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    refusal = refused(world, "us", an_order("bid", "0.4000", "6.00", time_in_force=FOK))
    assert (refusal.status, refusal.code) == (409, "fill_or_kill_insufficient_resting_volume")
    assert place(world, "us", an_order("bid", "0.4000", "5.00", time_in_force=FOK)).order.status == "executed"


def test_a_taker_stops_at_its_own_resting_order() -> None:
    world = a_world()
    mine = place(world, "us", an_order("ask", "0.4000", "5.00")).order
    placed = place(world, "us", an_order("bid", "0.4000", "5.00"))
    assert (placed.order.status, placed.order.fill_cx) == ("canceled", 0)
    assert mine.status == "resting"


def test_a_taker_may_have_its_own_resting_order_cancelled_and_go_on() -> None:
    world = a_world()
    mine = place(world, "us", an_order("ask", "0.4000", "5.00")).order
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    placed = place(world, "us", an_order("bid", "0.4000", "7.00", self_trade_prevention=STP_MAKER))
    assert (mine.status, mine.reason) == ("canceled", "SelfTradeCancel")
    assert (placed.order.fill_cx, placed.order.remaining_cx, placed.order.status) == (500, 200, "resting")


def test_resting_orders_count_against_the_balance() -> None:
    world = a_world()
    place(world, "us", an_order("bid", "0.5000", "10000.00"))
    assert refused(world, "us", an_order("bid", "0.5000", "4001.00")).code == "insufficient_balance"
    place(world, "us", an_order("bid", "0.5000", "4000.00"))


def test_an_order_that_closes_a_position_needs_no_cash() -> None:
    world = a_world()
    for seller in ("one", "two"):
        place(world, seller, an_order("ask", "0.4000", "7000.00"))
        place(world, "us", an_order("bid", "0.4000", "7000.00"))
    place(world, "us", an_order("ask", "0.9000", "14000.00"))


def test_cash_of_one_shard_does_not_pay_on_another() -> None:
    world = a_world(exchange_index=2)
    refusal = refused(world, "us", an_order("bid", "0.5000", "6001.00"))
    assert refusal.code == "insufficient_balance"
    assert refused(world, "us", an_order("bid", "0.5000", exchange_index=0)).code == "not_found"


def test_prices_off_the_grid_of_the_market_are_refused() -> None:
    world = a_world()
    assert refused(world, "us", an_order("bid", "0.4050")).code == "invalid_price"
    assert refused(world, "us", an_order("ask", "0.5150", ticker=TAPERED)).code == "invalid_price"
    place(world, "us", an_order("bid", "0.0990", ticker=TAPERED))
    place(world, "us", an_order("ask", "0.9010", ticker=TAPERED))


def test_an_order_expires_at_its_time() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.4000", expires_us=NOW_US + MINUTE_US)).order
    world.advance(NOW_US + MINUTE_US - 1)
    assert order.status == "resting"
    world.advance(NOW_US + MINUTE_US)
    assert (order.status, order.reason) == ("canceled", "ExpiryCancel")
    assert top(world.markets[CENT]) == (0, 0)


def test_a_client_order_id_is_never_free_again() -> None:
    world = a_world()
    order = place(world, "us", an_order("bid", "0.4000", client_order_id="one")).order
    world.entry.cancel(world.account("us"), order)
    refusal = refused(world, "us", an_order("bid", "0.4000", client_order_id="one"))
    assert (refusal.status, refusal.code) == (409, "order_already_exists")


def test_a_delta_names_the_order_that_caused_it() -> None:
    world = a_world()
    place(world, "maker", an_order("ask", "0.4000", "5.00", client_order_id="m"))
    place(world, "taker", an_order("bid", "0.4000", "5.00", client_order_id="t"))
    causes = [(h.owner, h.client_order_id, h.delta_cx) for h in world.take() if isinstance(h, BookChanged)]
    assert causes == [("maker", "m", 500), ("taker", "t", -500)]


def test_an_order_that_only_reduces_is_cut_to_the_position() -> None:
    world = a_world()
    place(world, "other", an_order("ask", "0.4000", "5.00"))
    place(world, "us", an_order("bid", "0.4000", "5.00"))
    place(world, "other", an_order("bid", "0.4000", "9.00"))
    placed = place(world, "us", an_order("ask", "0.4000", "9.00", time_in_force=IOC, reduce_only=True))
    assert (placed.order.fill_cx, world.account("us").held_cx(CENT)) == (500, 0)
    again = place(world, "us", an_order("ask", "0.4000", "9.00", time_in_force=IOC, reduce_only=True))
    assert (again.order.status, again.order.reason) == ("canceled", "ReduceOnlyCancel")


orders = st.tuples(
    st.sampled_from(["a", "b", "c"]), st.sampled_from(["bid", "ask"]), st.integers(1, 99), st.integers(1, 5_000)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(orders, max_size=40), st.booleans())
def test_no_money_is_made_or_lost_but_fees(requests: list[tuple[str, str, int, int]], yes_wins: bool) -> None:
    world = a_world()
    for who, side, cents, count_cx in requests:
        order = an_order(side, f"{cents / 100:.2f}", f"{count_cx // 100}.{count_cx % 100:02d}")
        world.entry.place(world.account(who), order)
    market = world.markets[CENT]
    market.result, market.value_cc = ("yes", DOLLAR_CC) if yes_wins else ("no", 0)
    assert sum(account.held_cx(CENT) for account in world.accounts.values()) == 0
    assert sum(market.levels(Side.YES)) == 0 or max(market.levels(Side.YES)) + market.best_cc(Side.NO) < 10_000
    world.clearing.settle(market)
    fees = sum(p.fees_ud for account in world.accounts.values() for p in account.positions.values())
    assert sum(map(cash, world.accounts.values())) == OPENING_UD * len(world.accounts) - fees


def test_volume_and_open_interest_grow_with_trades() -> None:
    world = a_world()
    place(world, "a", an_order("ask", "0.4000", "5.00"))
    place(world, "b", an_order("bid", "0.4000", "5.00"))
    tape = world.markets[CENT].tape
    assert (tape.volume_cx, tape.open_interest_cx, tape.last_price_cc) == (500, 500, 4_000)
    place(world, "b", an_order("ask", "0.4000", "5.00"))
    place(world, "a", an_order("bid", "0.4000", "5.00"))
    assert (tape.volume_cx, tape.open_interest_cx) == (1_000, 0)
    assert sum(isinstance(h, Traded) for h in world.take()) == 2


def test_the_queue_place_counts_what_came_before() -> None:
    world = a_world()
    place(world, "other", an_order("bid", "0.4000", "7.00"))
    mine = place(world, "us", an_order("bid", "0.4000", "1.00")).order
    assert world.markets[CENT].ahead_cx(mine.order_id) == 700
    assert isinstance(world.entry.place(world.account("other"), an_order("ask", "0.4000", "2.50")), Placed)
