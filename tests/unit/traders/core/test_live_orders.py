"""New orders: their answers, and their messages in any order (faults.md B15, C6, C8, C16)."""

from __future__ import annotations

import pytest

from markets.core.orderids import decode
from tests.unit.traders.core.liveworld import NO, NOW_US, OWNER, SECOND_US, TICKER, YES, LiveWorld
from traders.core.commands import PlaceOrder, TakeOrder
from traders.core.exposure import Unproven
from traders.core.intents import Answered, Outcome, Sent
from traders.core.liveorders import LiveOrders
from traders.core.orders import OrderStatus

# Wished and sent


def test_a_wish_counts_at_its_most_from_the_moment_it_is_written_down() -> None:
    world = LiveWorld()
    world.wish(PlaceOrder(NO, 5_500, 30))
    assert world.live.unproven() == (Unproven(NO, 5_500, 30),)
    assert world.live.resting() == ()
    assert world.told() == []


def test_an_intent_is_numbered_and_its_order_named_by_its_owner() -> None:
    world = LiveWorld()
    first, second = world.wish(PlaceOrder(YES, 4_000, 10)), world.wish(PlaceOrder(NO, 5_000, 10))
    assert (first.number, second.number) == (1, 2)
    found = decode(second.client_order_id)
    assert found is not None
    assert (found.installation, found.trader, found.epoch, found.counter) == (77, 3, 1, 2)


def test_an_intent_is_sent_once_and_never_again() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    with pytest.raises(ValueError, match="intent 1 is not to be sent"):
        world.live.send(intent.number, world.now_us)
    world.lost(intent)
    with pytest.raises(ValueError, match="not again"):
        world.live.send(intent.number, world.now_us)


def test_an_order_without_size_is_not_wished() -> None:
    with pytest.raises(ValueError, match="an order of 0"):
        LiveWorld().live.wish(PlaceOrder(YES, 4_000, 0), NOW_US)


def test_an_answer_to_what_nobody_wished_is_an_error() -> None:
    with pytest.raises(ValueError, match="nobody wished"):
        LiveWorld().live.answered(Answered(5, NOW_US, Outcome.ACCEPTED))


def test_C8_one_new_order_a_side_is_on_its_way_and_an_unknown_one_is_still() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    assert world.live.in_flight().creates == {YES}
    assert world.held(PlaceOrder(YES, 4_100, 10)) == "IN_FLIGHT"
    assert world.held(TakeOrder(YES, 4_100, 10)) == "IN_FLIGHT"
    world.wish(PlaceOrder(NO, 5_000, 10))
    world.lost(intent)
    assert world.held(PlaceOrder(YES, 4_100, 10)) == "IN_FLIGHT"
    world.shows(intent.client_order_id)
    assert world.live.in_flight().creates == {NO}


def test_only_one_order_that_trades_at_once_is_on_its_way() -> None:
    world = LiveWorld()
    intent = world.sent_take(side=YES)
    assert world.live.is_taking
    assert world.held(TakeOrder(NO, 5_000, 10)) == "IN_FLIGHT"
    world.accepted(intent, filled_cx=10, remaining_cx=0)
    assert world.live.is_taking  # what it traded is not booked
    assert world.live.in_flight().is_taking
    world.fills(10)
    assert not world.live.is_taking


# Answered


def test_an_accepted_order_rests_and_is_told() -> None:
    world = LiveWorld()
    one = world.placed(expires_us=NOW_US + 120 * SECOND_US)
    (quote,) = world.live.resting()
    assert (quote.client_order_id, quote.price_cc, quote.remaining_cx) == (one, 4_000, 10)
    assert (quote.rested_us, quote.expires_us) == (NOW_US, NOW_US + 120 * SECOND_US)
    assert world.live.unproven() == ()
    order = world.last_order()
    assert (order.order_id, order.client_order_id, order.status) == ("V1", one, OrderStatus.RESTING)
    assert world.live.order_id(one) == "V1"
    assert world.live.unsettled() == ()


def test_a_refused_order_never_rested() -> None:
    world = LiveWorld()
    world.answer(world.sent_place(), Outcome.DECLINED, "invalid_price")
    assert world.unproven_cx() == 0
    order = world.last_order()
    assert (order.status, order.reason, order.remaining_cx) == (OrderStatus.REFUSED, "invalid_price", 0)
    assert world.live.in_flight().creates == frozenset()


def test_C16_success_that_filled_at_once_is_filled_when_its_fills_are_booked() -> None:
    world = LiveWorld()
    world.accepted(world.sent_place(), filled_cx=10, remaining_cx=0)
    assert world.told() == []
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.fills(10)
    assert world.told() == [("fill", 10, 10), ("filled", 10, 0)]
    assert world.unproven_cx() == 0


def test_C16_success_that_part_filled_rests_with_what_is_left() -> None:
    world = LiveWorld()
    world.accepted(world.sent_place(), filled_cx=3, remaining_cx=7)
    assert (world.resting_cx(), world.unproven_cx()) == (7, 3)
    world.fills(3)
    assert (world.resting_cx(), world.unproven_cx()) == (7, 0)
    assert world.told()[-1] == ("resting", 3, 7)


@pytest.mark.parametrize("filled_cx", [0, 4])
def test_C16_success_that_was_canceled_on_arrival_rests_nowhere(filled_cx: int) -> None:
    world = LiveWorld()
    world.accepted(world.sent_place(), filled_cx=filled_cx, remaining_cx=0)
    assert world.resting_cx() == 0
    assert world.unproven_cx() == filled_cx
    if filled_cx:
        world.fills(filled_cx)
    order = world.last_order()
    assert (order.status, order.filled_cx, order.reason) == (OrderStatus.CANCELED, filled_cx, "canceled on arrival")


def test_C16_an_order_that_the_channel_canceled_before_its_answer_does_not_rest() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.shows(intent.client_order_id, status="canceled", remaining_cx=0, reason="PostOnlyCrossCancel")
    world.accepted(intent)
    assert world.resting_cx() == 0
    assert world.last_order().reason == "PostOnlyCrossCancel"


def test_success_without_numbers_proves_no_rest() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.answer(intent, Outcome.ACCEPTED, order_id="V1")
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.later(3).look(intent.client_order_id, world.shown(intent.client_order_id, time_us=NOW_US))
    assert world.resting_cx() == 10


@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.DECLINED])
def test_C6_what_was_provably_not_done_is_over(outcome: Outcome) -> None:
    world = LiveWorld()
    world.answer(world.sent_place(), outcome, "rate limit")
    assert world.unproven_cx() == 0
    assert world.last_order().status is OrderStatus.REFUSED
    world.sent_place()


def test_a_wish_that_was_dropped_unsent_says_so() -> None:
    world = LiveWorld()
    world.answer(world.wish(PlaceOrder(YES, 4_000, 10)), Outcome.NOT_SENT, "held back")
    assert world.last_order().reason == "not sent: held back"


# Fills and messages in any order


def test_B15_a_fill_before_the_create_answer_is_booked_once() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.fills(4, client_order_id=intent.client_order_id)
    assert world.told() == [("fill", 4, 4)]
    assert world.unproven_cx() == 6
    world.accepted(intent)
    world.fills(4)
    assert world.told() == [("resting", 4, 6)]
    assert (world.resting_cx(), world.unproven_cx()) == (6, 0)


def test_B15_a_fill_by_order_id_alone_waits_for_the_name_of_its_order() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.fills(4)
    world.fills(4)
    assert world.told() == []
    assert world.unproven_cx() == 10
    world.accepted(intent)
    assert world.told() == [("resting", 0, 10), ("fill", 4, 4), ("resting", 4, 6)]


def test_B15_a_terminal_state_waits_for_its_fills() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.shows(one, status="canceled", filled_cx=7, remaining_cx=0)
    assert world.told() == []
    assert (world.resting_cx(), world.unproven_cx()) == (0, 7)
    world.fills(3, "t1")
    assert world.told() == [("fill", 3, 3)]
    world.fills(4, "t2")
    assert world.told() == [("fill", 4, 7), ("canceled", 7, 0)]


def test_B15_the_same_fill_by_channel_and_by_poll_is_booked_once() -> None:
    world = LiveWorld()
    one = world.placed()
    world.fills(3, client_order_id=one)
    world.fills(3)
    world.fills(3, "t2")
    assert [event[1] for event in world.told() if event[0] == "fill"] == [3, 3]


def test_B15_a_fill_after_the_order_is_complete_is_not_booked_again() -> None:
    world = LiveWorld()
    one = world.placed()
    world.fills(10, client_order_id=one)
    world.told()
    world.fills(10, client_order_id=one)
    world.shows(one, status="executed", filled_cx=10, remaining_cx=0)
    assert world.told() == []


def test_B15_an_older_state_of_the_order_does_not_come_back() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(2)
    world.shows(one, filled_cx=6, remaining_cx=4)
    world.shows(one, filled_cx=2, remaining_cx=8, time_us=NOW_US + SECOND_US)
    assert (world.resting_cx(), world.unproven_cx()) == (4, 6)


def test_a_fill_at_another_price_than_the_orders_tells_that_price() -> None:
    world = LiveWorld()
    intent = world.sent_take(limit_cc=4_200)
    world.fills(4, client_order_id=intent.client_order_id, is_taker=True, fee_ud=9)
    (fill,) = world.live.take()
    assert (fill.paid_cc, fill.is_taker, fill.fee_ud) == (4_000, True, 9)


def test_F10_a_fill_of_a_no_order_is_told_at_its_own_price() -> None:
    world = LiveWorld()
    intent = world.sent_place(5_500, side=NO)
    world.fills(4, client_order_id=intent.client_order_id, yes_price_cc=4_500)
    (fill,) = world.live.take()
    assert (fill.order.side, fill.paid_cc, fill.price_cc) == (NO, 5_500, None)


def test_each_change_is_told_once() -> None:
    world = LiveWorld()
    one = world.placed()
    world.shows(one)
    world.later(1)
    world.shows(one)
    assert world.told() == [("resting", 0, 10)]


def test_messages_of_other_markets_change_nothing() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.later(1)
    world.shows(one, ticker="KXB-1", status="canceled", remaining_cx=0)
    world.fills(3, client_order_id=one, ticker="KXB-1")
    assert world.told() == []


# Overtaken


def test_a_send_that_was_overtaken_is_answered_instead() -> None:
    world = LiveWorld()
    intent = world.wish(PlaceOrder(YES, 4_000, 10))
    world.live.cancel_all("pause", world.now_us)
    mark = world.live.send(intent.number, world.now_us)
    assert isinstance(mark, Answered)
    assert (mark.outcome, mark.code) == (Outcome.NOT_SENT, "leaving")
    assert world.unproven_cx() == 0


def test_a_written_order_is_not_sent_once_the_trader_is_fenced() -> None:
    world = LiveWorld()
    intent = world.wish(PlaceOrder(YES, 4_000, 10))
    world.group("triggered")
    assert not isinstance(world.live.send(intent.number, world.now_us), Sent)
    assert world.live.unsettled() == ()


@pytest.mark.parametrize(
    "code",
    [
        "exceeded_order_group_risk_limit", "EXCEEDED_ORDER_GROUP_RISK_LIMIT",
        "exceeded_order_group_risk_limit: the order group takes no more orders",
    ],
)  # fmt: skip
def test_F11_a_group_that_was_triggered_unheard_fences_by_the_first_order_that_it_refuses(code: str) -> None:
    world = LiveWorld()
    first, following = world.wish(PlaceOrder(YES, 4_000, 10)), world.wish(PlaceOrder(NO, 4_000, 10))
    world.answer(first, Outcome.DECLINED, code)
    assert "order group" in world.live.fenced
    assert not isinstance(world.live.send(following.number, world.now_us), Sent)


def test_an_order_that_is_declined_for_itself_fences_nobody() -> None:
    world = LiveWorld()
    world.answer(world.wish(PlaceOrder(YES, 4_000, 10)), Outcome.DECLINED, "insufficient_balance")
    assert not world.live.fenced


def test_numbers_go_on_from_the_checkpoint() -> None:
    live = LiveOrders(OWNER, TICKER)
    LiveWorld(live).wish(PlaceOrder(YES, 4_000, 10))
    again = LiveOrders(OWNER, TICKER, kept=live.kept())
    assert LiveWorld(again).wish(PlaceOrder(NO, 4_000, 10)).number == 2
