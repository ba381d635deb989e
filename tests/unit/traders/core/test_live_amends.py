"""Decreases and renewals of live orders (faults.md C8, C11, C12)."""

from __future__ import annotations

import pytest

from tests.unit.traders.core.liveworld import NO, NOW_US, SECOND_US, YES, LiveWorld
from traders.core.commands import DecreaseOrder, RenewOrder
from traders.core.intents import Decrease, Outcome, Renew

# Decreases


def test_a_decrease_names_the_total_and_the_difference() -> None:
    world = LiveWorld()
    one = world.placed(filled_cx=2, remaining_cx=8)
    world.fills(2)
    assert world.sent_decrease(one, 5).wish == Decrease("V1", YES, 4_000, 7, 3)


def test_an_order_being_decreased_rests_whole_until_it_is_answered() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 4)
    assert world.resting() == {one: 10}
    assert world.live.in_flight().amends == {YES}
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=4, engine_us=world.now_us)
    assert world.resting() == {one: 4}
    assert world.unproven_cx() == 0
    assert world.live.in_flight().amends == frozenset()
    assert world.told()[-1] == ("resting", 0, 4)


def test_C11_fills_on_the_way_of_a_decrease_make_less_rest_and_not_more() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 4)
    world.fills(3, client_order_id=one)
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=1, engine_us=world.now_us)
    assert (world.resting_cx(), world.unproven_cx()) == (1, 0)


def test_C11_a_decrease_to_what_has_filled_ends_the_order() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 4)
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=0, engine_us=world.now_us)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 4)
    world.fills(4)
    assert world.told()[-1] == ("filled", 4, 0)


def test_C11_a_decrease_that_came_too_late_changes_nothing() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 4)
    world.fills(6, client_order_id=one)
    world.answer(intent, Outcome.DECLINED, "invalid_order_size")
    assert world.resting() == {one: 4}
    assert world.live.in_flight().amends == frozenset()


def test_C11_an_older_state_does_not_undo_an_accepted_decrease() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(1)
    world.answer(world.sent_decrease(one, 4), Outcome.ACCEPTED, remaining_cx=4, engine_us=world.now_us)
    world.shows(one, filled_cx=1, remaining_cx=9, time_us=world.now_us)  # the same millisecond, before it
    assert (world.resting_cx(), world.unproven_cx()) == (3, 1)
    world.shows(one, filled_cx=1, remaining_cx=3, time_us=world.now_us + 1_000)
    assert (world.resting_cx(), world.unproven_cx()) == (3, 1)


def test_C11_an_answer_that_comes_after_newer_news_does_not_undo_it() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 6)
    world.later(2)
    world.shows(one, remaining_cx=2)
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=6, engine_us=NOW_US + SECOND_US)
    assert world.resting() == {one: 2}


@pytest.mark.parametrize(("command", "code"), [(10, "NOT_SMALLER"), (12, "NOT_SMALLER"), (0, "NOT_SMALLER")])
def test_a_decrease_has_to_make_it_smaller_and_leave_something(command: int, code: str) -> None:
    world = LiveWorld()
    assert world.held(DecreaseOrder(world.placed(), command)) == code


def test_C8_one_change_of_an_order_and_one_a_side_is_on_its_way() -> None:
    world = LiveWorld()
    one = world.placed("V1")
    two = world.placed("V2")
    other = world.placed("V3", side=NO)
    world.sent_decrease(one, 4)
    assert world.held(DecreaseOrder(one, 3)) == "IN_FLIGHT"
    assert world.held(RenewOrder(two, NOW_US + 9 * SECOND_US)) == "IN_FLIGHT"
    world.sent_decrease(other, 4)


def test_what_is_being_canceled_or_not_proven_is_not_changed() -> None:
    world = LiveWorld()
    one = world.placed()
    world.sent_cancel(one)
    assert world.held(DecreaseOrder(one, 4)) == "LEAVING"
    unknown = world.sent_place(side=NO)
    assert world.held(RenewOrder(unknown.client_order_id, NOW_US)) == "UNPROVEN"


def test_C12_a_decrease_whose_answer_was_lost_counts_at_its_worst() -> None:
    world = LiveWorld()
    one = world.placed()
    world.lost(world.sent_decrease(one, 4))
    assert (world.resting_cx(), world.unproven_cx()) == (10, 0)
    assert world.held(DecreaseOrder(one, 2)) == "IN_FLIGHT"
    world.later(1)
    world.shows(one, remaining_cx=4)
    assert world.resting() == {one: 4}
    assert world.live.unsettled() == ()


def test_C11_an_amend_on_its_way_waits_for_its_answer_whatever_is_shown() -> None:
    world = LiveWorld()
    one = world.placed()
    intent = world.sent_decrease(one, 4)
    world.later(1)
    world.shows(one, remaining_cx=4)  # by another hand, perhaps
    assert world.held(DecreaseOrder(one, 2)) == "IN_FLIGHT"
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=4, engine_us=world.now_us)
    world.sent_decrease(one, 2)


def test_C12_an_amend_that_was_never_made_is_settled_by_two_looks_that_are_new_enough() -> None:
    world = LiveWorld()
    one = world.placed()
    world.lost(world.sent_decrease(one, 4))
    shown = world.shown(one)
    world.later(1.9).look(one, shown)
    world.later(2.1).look(one, shown)
    assert world.live.in_flight().amends == {YES}
    world.later(2).look(one, shown)
    assert world.live.in_flight().amends == frozenset()
    assert world.resting() == {one: 10}


def test_C12_an_amend_that_may_enlarge_what_another_hand_made_smaller_counts_until_it_is_settled() -> None:
    world = LiveWorld()
    one = world.placed()
    world.lost(world.sent_renew(one, NOW_US + 120 * SECOND_US))
    world.later(1)
    world.shows(one, remaining_cx=3)
    assert (world.resting_cx(), world.unproven_cx()) == (3, 7)
    world.later(1)
    world.shows(one, remaining_cx=10, expires_us=NOW_US + 120 * SECOND_US)
    assert (world.resting_cx(), world.unproven_cx()) == (10, 0)
    assert world.live.unsettled() == ()


def test_an_amend_that_finds_nothing_has_its_order_looked_at() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_decrease(one, 4), Outcome.NOT_FOUND)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    assert world.later(2).live.due_looks(world.now_us) == (one,)


def test_an_amend_that_was_not_sent_leaves_the_order_as_it_is() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_decrease(one, 4), Outcome.NOT_SENT)
    assert world.resting() == {one: 10}
    assert world.live.unsettled() == ()


# Renewals


def test_a_renewal_resends_the_total_and_moves_only_the_expiry() -> None:
    world = LiveWorld()
    one = world.placed(filled_cx=3, remaining_cx=7, expires_us=NOW_US + 120 * SECOND_US)
    until_us = NOW_US + 240 * SECOND_US
    intent = world.sent_renew(one, until_us)
    assert intent.wish == Renew("V1", YES, 4_000, 10, until_us)
    assert world.live.resting()[0].expires_us == NOW_US + 120 * SECOND_US
    world.answer(intent, Outcome.ACCEPTED, remaining_cx=7, engine_us=world.now_us)
    (quote,) = world.live.resting()
    assert (quote.expires_us, quote.remaining_cx) == (until_us, 7)


def test_C11_a_renewal_after_a_decrease_does_not_bring_back_what_that_took_off() -> None:
    world = LiveWorld()
    one = world.placed()
    world.answer(world.sent_decrease(one, 4), Outcome.ACCEPTED, remaining_cx=4, engine_us=world.now_us)
    intent = world.sent_renew(one, NOW_US + 240 * SECOND_US)
    assert isinstance(intent.wish, Renew)
    assert intent.wish.total_cx == 4


def test_C12_a_renewal_whose_answer_was_lost_is_proven_by_the_expiry_that_shows() -> None:
    world = LiveWorld()
    one = world.placed(expires_us=NOW_US + 120 * SECOND_US)
    until_us = NOW_US + 240 * SECOND_US + 400_000
    world.lost(world.sent_renew(one, until_us))
    world.later(1)
    world.shows(one, expires_us=NOW_US + 120 * SECOND_US)
    assert world.live.in_flight().amends == {YES}
    world.later(1)
    world.shows(one, expires_us=until_us - 400_000)  # whole seconds at the venue
    assert world.live.in_flight().amends == frozenset()
    assert world.live.resting()[0].expires_us == until_us - 400_000


def test_an_order_that_another_hand_enlarged_counts_whole_and_is_told() -> None:
    world = LiveWorld()
    one = world.placed()
    world.alerts()
    world.later(1)
    world.shows(one, remaining_cx=25, price_cc=4_100)
    (quote,) = world.live.resting()
    assert (quote.remaining_cx, quote.price_cc) == (25, 4_100)
    assert world.alerts() == ["GREW"]
