"""Orders whose answer was lost: looks, misses, doubts (faults.md C1 to C5)."""

from __future__ import annotations

import pytest

from tests.unit.traders.core.liveworld import NO, NOW_US, SECOND_US, YES, LiveWorld
from traders.core.commands import PlaceOrder
from traders.core.intents import Outcome
from traders.core.orders import OrderStatus


@pytest.mark.parametrize("shows", ["channel", "look", "fill"])
def test_C1_an_order_whose_answer_was_lost_is_found_by_evidence(shows: str) -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    one = intent.client_order_id
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    if shows == "fill":
        world.fills(10, client_order_id=one)
        assert world.told()[-1] == ("filled", 10, 0)
        return
    if shows == "channel":
        world.shows(one)
    else:
        world.look(one, world.shown(one))
    assert world.resting() == {one: 10}
    assert world.unproven_cx() == 0


def test_C1_a_lost_answer_is_no_refusal_however_long_it_takes() -> None:
    world = LiveWorld()
    world.lost(world.sent_place())
    world.later(3_600)
    assert world.unproven_cx() == 10
    assert world.told() == []


def test_C1_a_fill_proves_the_order_but_not_what_is_left_of_it() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.fills(4, client_order_id=intent.client_order_id)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 6)
    for seconds in (5, 10, 15):  # it exists: misses prove nothing
        world.later(seconds).look(intent.client_order_id)
    assert world.unproven_cx() == 6


def test_C1_unsettled_for_a_minute_it_is_told_once_and_nothing_new_is_sent() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    assert world.later(59).live.overdue(world.now_us) == ()
    assert world.later(1).live.overdue(world.now_us) == (intent.client_order_id,)
    assert world.later(1).live.overdue(world.now_us) == ()
    assert world.alerts() == ["OVERDUE", "FENCED"]
    assert world.held(PlaceOrder(NO, 5_000, 10)) == "FENCED"
    assert world.unproven_cx() == 10


def test_C2_two_spaced_misses_by_reads_that_are_new_enough_prove_it_never_arrived() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.later(2.1).look(intent.client_order_id)
    assert world.unproven_cx() == 10
    world.later(2).look(intent.client_order_id)
    assert world.unproven_cx() == 0
    order = world.last_order()
    assert (order.status, order.reason) == (OrderStatus.REFUSED, "never placed")


def test_C2_two_misses_at_once_are_one() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.later(5).look(intent.client_order_id)
    world.later(1.9).look(intent.client_order_id)
    assert world.unproven_cx() == 10


def test_C2_a_miss_while_the_request_may_yet_arrive_proves_nothing() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    for seconds in (3, 3, 3):  # the exchange takes its time to answer (C8)
        world.later(seconds).look(intent.client_order_id)
    assert world.unproven_cx() == 10
    world.lost(intent)
    world.later(1.9).look(intent.client_order_id)
    world.later(2.1).look(intent.client_order_id)
    assert world.unproven_cx() == 10  # the first of these was too early


def test_C2_an_order_held_for_never_placed_that_shows_itself_is_taken_back() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.later(3).look(intent.client_order_id)
    world.later(3).look(intent.client_order_id)
    world.alerts()
    world.shows(intent.client_order_id)
    assert world.resting() == {intent.client_order_id: 10}
    assert world.alerts() == ["CAME_BACK"]
    assert world.told()[-1] == ("resting", 0, 10)


def test_C2_a_fill_of_an_order_held_for_never_placed_brings_all_of_it_back() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.later(3).look(intent.client_order_id)
    world.later(3).look(intent.client_order_id)
    world.told()
    world.fills(4, client_order_id=intent.client_order_id)
    assert world.told() == [("fill", 4, 4)]
    assert world.unproven_cx() == 6
    assert world.live.in_flight().creates == {YES}
    world.shows(intent.client_order_id, status="canceled", filled_cx=4, remaining_cx=0)
    assert world.told() == [("canceled", 4, 0)]


def test_C3_a_conflict_proves_that_the_order_exists() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.answer(intent, Outcome.EXISTS, "order_already_exists")
    assert world.unproven_cx() == 10
    for seconds in (5, 5, 5):
        world.later(seconds).look(intent.client_order_id)
    assert world.unproven_cx() == 10
    assert world.told() == []
    world.look(intent.client_order_id, world.shown(intent.client_order_id, filled_cx=2, remaining_cx=8, time_us=NOW_US))
    assert (world.resting_cx(), world.unproven_cx()) == (8, 2)


def test_C4_a_miss_by_a_read_that_lags_does_not_count() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    for _ in range(5):
        world.later(5).look(intent.client_order_id, lag_s=3 + (world.now_us - NOW_US) / SECOND_US)
    assert world.unproven_cx() == 10


def test_C4_reads_that_stand_still_are_one_miss() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    world.later(3).look(intent.client_order_id)
    world.later(3).look(intent.client_order_id, lag_s=3)
    assert world.unproven_cx() == 10


def test_C4_a_late_read_does_not_make_a_canceled_order_rest() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(5)
    world.shows(one, status="canceled", remaining_cx=0)
    world.look(one, world.shown(one, time_us=NOW_US), lag_s=1)
    assert world.resting_cx() == 0


def test_C5_looks_that_fail_prove_nothing_and_are_spaced() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    asked = 0
    for _ in range(300):
        for one in world.later(1).live.due_looks(world.now_us):
            world.live.looking(one, world.now_us)  # and it fails
            asked += 1
    assert world.unproven_cx() == 10
    assert 30 <= asked <= 35


def test_the_first_look_is_after_two_seconds_then_five_are_close_and_the_rest_slower() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    asked = []
    for tenths in range(400):
        now_us = NOW_US + tenths * SECOND_US // 10
        for one in world.live.due_looks(now_us):
            world.live.looking(one, now_us)
            asked.append(tenths)
    assert asked == [20, 40, 60, 80, 100, 200, 300]


def test_an_order_that_is_settled_is_not_looked_at() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    assert world.later(2).live.due_looks(world.now_us) == (intent.client_order_id,)
    world.accepted(intent)
    assert world.later(60).live.due_looks(world.now_us) == ()


def test_an_order_that_should_have_expired_is_looked_at_but_not_believed_gone() -> None:
    world = LiveWorld()
    one = world.placed(expires_us=NOW_US + 10 * SECOND_US)
    assert world.later(11.9).live.due_looks(world.now_us) == ()
    assert world.later(0.2).live.due_looks(world.now_us) == (one,)
    assert world.resting_cx() == 10
    world.look(one, world.shown(one, status="canceled", remaining_cx=0, reason="ExpiryCancel"))
    assert world.last_order().reason == "ExpiryCancel"


def test_fills_that_an_order_shows_and_nobody_tells_are_looked_for() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1)
    world.shows(one, filled_cx=4, remaining_cx=6)
    assert world.later(2).live.due_looks(world.now_us) == (one,)
    world.fills(4)
    assert world.live.due_looks(world.now_us) == ()


def test_what_changes_in_the_very_millisecond_of_a_look_is_not_in_it() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1.0003).look(one, world.shown(one, time_us=NOW_US))
    world.shows(one, remaining_cx=4, time_us=NOW_US + SECOND_US)
    assert world.resting() == {one: 4}


def test_it_is_known_when_an_order_was_wished_also_after_a_restart() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.lost(intent)
    assert world.later(30).live.wished_us(intent.client_order_id) == intent.written_us
    assert world.restarted().live.wished_us(intent.client_order_id) == intent.written_us
    assert world.live.wished_us("nobody's") == 0
