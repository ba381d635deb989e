"""Cancels of live orders (faults.md C6, C9, C10, C13, F2, F5, F6)."""

from __future__ import annotations

from tests.unit.traders.core.liveworld import NO, NOW_US, YES, LiveWorld
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder
from traders.core.intents import Cancel, Intent, Outcome
from traders.core.orders import OrderStatus


def test_an_order_being_canceled_rests_until_it_is_proven_gone() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_cancel(one)
    assert intent.wish == Cancel("V1", "repriced")
    assert world.resting() == {one: 10}
    assert world.live.in_flight().cancels == {YES}
    world.answer(intent, Outcome.ACCEPTED, reduced_cx=10)
    assert world.resting() == {}
    assert world.live.in_flight().cancels == frozenset()
    order = world.last_order()
    assert (order.status, order.reason) == (OrderStatus.CANCELED, "repriced")


def test_C9_a_partial_fill_during_the_cancel_is_booked_and_the_rest_released() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_cancel(one)
    world.answer(intent, Outcome.ACCEPTED, reduced_cx=7)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 3)
    world.told()
    world.fills(3, client_order_id=one)
    assert world.told() == [("fill", 3, 3), ("canceled", 3, 0)]
    assert world.unproven_cx() == 0


def test_C9_a_cancel_that_does_not_say_what_it_took_off_leaves_the_fills_to_be_looked_for() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_cancel(one), Outcome.ACCEPTED)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.later(1)
    world.shows(one, status="canceled", filled_cx=0, remaining_cx=0)
    assert world.unproven_cx() == 0


def test_C9_a_cancel_that_took_off_more_than_we_know_of_leaves_it_to_a_look() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.answer(world.sent_cancel(one), Outcome.ACCEPTED, reduced_cx=15)  # a person had enlarged it
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.later(2).look(one, world.shown(one, status="canceled", filled_cx=2, remaining_cx=0))
    world.fills(2)
    assert world.told() == [("fill", 2, 2), ("canceled", 2, 0)]


def test_C9_what_is_shown_to_be_filled_cannot_have_been_taken_off() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_cancel(one)
    world.shows(one, filled_cx=5, remaining_cx=5)  # and the fills are not told yet
    world.answer(
        intent, Outcome.ACCEPTED, reduced_cx=6
    )  # a person had enlarged it, and the rest of that may have filled
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)


def test_C10_a_full_fill_during_the_cancel_is_found_and_the_cancel_is_not_repeated() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.answer(world.sent_cancel(one), Outcome.NOT_FOUND, "not_found")
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    assert world.later(60).live.due_cancels(world.now_us) == []
    assert world.live.due_looks(world.now_us) == (one,)
    world.fills(10)
    world.look(one, world.shown(one, status="executed", filled_cx=10, remaining_cx=0))
    assert world.told() == [("fill", 10, 10), ("filled", 10, 0)]


def test_C10_after_a_404_a_read_that_lags_does_not_prove_that_it_rests() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1)
    world.answer(world.sent_cancel(one), Outcome.NOT_FOUND)
    world.later(2).look(one, world.shown(one, time_us=NOW_US), lag_s=2.4)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.look(one, world.shown(one, time_us=NOW_US))
    assert world.resting_cx() == 10


def test_C10_a_cancel_that_found_nothing_is_repeated_once_a_look_shows_the_order() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1)
    world.answer(world.sent_cancel(one), Outcome.NOT_FOUND)
    assert world.held(CancelOrder(one, "again")) == "IN_FLIGHT"
    world.later(3).look(one, world.shown(one, time_us=NOW_US))
    (intent,) = world.live.due_cancels(world.now_us)
    assert (intent.client_order_id, intent.wish) == (one, Cancel("V1", "repriced"))


def test_C13_a_cancel_whose_answer_was_lost_is_repeated_until_the_order_is_over() -> None:
    world = LiveWorld()
    one = world.placed()
    world.lost(world.sent_cancel(one))
    sent = []
    for tenths in range(1, 300):
        world.later(0.1)
        for intent in world.live.due_cancels(world.now_us):
            world.lost(world.send(intent))
            sent.append(tenths)
    assert sent == [10, 30, 70, 150]
    assert world.resting() == {one: 10}
    world.shows(one, status="canceled", remaining_cx=0)
    assert world.later(60).live.due_cancels(world.now_us) == []
    assert world.resting() == {}


def test_C13_each_repeated_cancel_is_an_intent_of_its_own() -> None:
    world = LiveWorld()
    one = world.placed()
    first = world.sent_cancel(one)
    world.lost(first)
    (second,) = world.later(1).live.due_cancels(world.now_us)
    assert second.number > first.number
    assert world.live.due_cancels(world.now_us) == []


def test_C13_a_cancel_without_proof_is_looked_at_and_overdue() -> None:
    world = LiveWorld()
    one = world.placed()
    world.lost(world.sent_cancel(one))
    assert world.later(2).live.due_looks(world.now_us) == (one,)
    world.look(one, world.shown(one, time_us=NOW_US))
    assert world.resting_cx() == 10
    assert world.later(58).live.overdue(world.now_us) == (one,)


def test_C6_a_cancel_that_was_not_sent_is_due_at_once_as_nobody_has_refused_it() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_cancel(one), Outcome.NOT_SENT, "rate limit")
    assert world.resting() == {one: 10}
    for _ in range(5):
        (intent,) = world.live.due_cancels(world.now_us)
        assert world.live.due_cancels(world.now_us) == []
        world.answer(intent, Outcome.NOT_SENT, "rate limit")
    (intent,) = world.live.due_cancels(world.now_us)
    world.lost(world.send(intent))
    assert world.later(0.9).live.due_cancels(world.now_us) == []
    assert len(world.later(0.1).live.due_cancels(world.now_us)) == 1, "it has become no rarer"


def test_F2_cancels_that_were_refused_are_due_at_once_when_what_refused_them_has_passed() -> None:
    world = LiveWorld()
    one = world.placed()
    for _ in range(4):
        (intent,) = world.live.due_cancels(world.now_us) or [world.live.wish(CancelOrder(one, "stop"), world.now_us)]
        world.answer(world.send(intent), Outcome.DECLINED, "exchange_is_paused")
        world.later(8)
    world.answer(world.send(world.live.due_cancels(world.now_us)[0]), Outcome.DECLINED, "exchange_is_paused")
    assert world.later(5).live.due_cancels(world.now_us) == []
    world.live.hurry_cancels(world.now_us)
    (intent,) = world.live.due_cancels(world.now_us)
    world.live.hurry_cancels(world.now_us)
    assert world.live.due_cancels(world.now_us) == [], "one is on its way"
    world.answer(world.send(intent), Outcome.ACCEPTED, reduced_cx=10)
    assert world.resting() == {}


def test_F2_a_cancel_that_the_pause_refuses_is_kept_ready_and_nothing_is_in_doubt() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_cancel(one), Outcome.DECLINED, "exchange_is_paused")
    for _ in range(20):
        (intent,) = world.later(16).live.due_cancels(world.now_us)
        world.answer(world.send(intent), Outcome.DECLINED, "exchange_is_paused")
    assert world.resting() == {one: 10}
    assert world.live.overdue(world.now_us) == ()
    assert world.live.due_looks(world.now_us) == ()
    assert len(world.later(16).live.due_cancels(world.now_us)) == 1


def test_F5_a_cancel_refused_because_the_market_closed_reads_as_closed() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.answer(world.sent_cancel(one), Outcome.CLOSED, "market_closed")
    assert world.later(120).live.due_cancels(world.now_us) == []
    assert world.live.due_looks(world.now_us) == (one,)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.look(one, world.shown(one, status="canceled", remaining_cx=0, reason="CloseCancel"))
    assert world.told() == [("canceled", 0, 0)]


def test_F6_an_order_that_still_rests_when_the_market_reopens_can_be_canceled_again() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1)
    world.answer(world.sent_cancel(one), Outcome.CLOSED)
    world.later(0.5).look(one, world.shown(one, time_us=NOW_US))
    assert world.resting() == {one: 10}
    assert world.held(CancelOrder(one, "test")) == "SPACED"
    assert isinstance(world.later(1).live.wish(CancelOrder(one, "test"), world.now_us), Intent)


def test_an_order_without_an_id_is_canceled_as_soon_as_it_has_one() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    assert world.held(CancelOrder(intent.client_order_id, "pause")) == "NO_ORDER_ID"
    assert world.live.in_flight().cancels == {YES}
    assert world.live.due_cancels(world.now_us) == []
    world.accepted(intent)
    (cancel,) = world.live.due_cancels(world.now_us)
    assert cancel.wish == Cancel("V1", "pause")


def test_cancel_all_cancels_every_side_and_what_is_fenced_too() -> None:
    world = LiveWorld()
    world.placed("V1")
    world.placed("V2", side=NO)
    world.live.fence("test")
    assert [intent.wish.order_id for intent in world.live.cancel_all("kill", world.now_us)] == ["V1", "V2"]


def test_a_cancel_of_what_is_over_is_held() -> None:
    world = LiveWorld()
    one = world.placed()
    world.shows(one, status="canceled", remaining_cx=0)
    assert world.held(CancelOrder(one, "test")) == "ENDED"
    assert world.held(CancelOrder("unheard of", "test")) == "ENDED"
    assert world.held(DecreaseOrder(one, 3)) == "ENDED"


def test_a_new_order_is_not_held_by_changes_of_another() -> None:
    world = LiveWorld()
    one = world.placed()
    world.sent_cancel(one)
    assert isinstance(world.live.wish(PlaceOrder(YES, 4_000, 10), world.now_us), Intent)
