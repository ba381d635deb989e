"""What else an account shows: groups, others' orders, strange words, whole lists (faults.md C18, C19, F4, F11)."""

from __future__ import annotations

import pytest

from markets.core.orderids import Owner
from tests.unit.traders.core.liveworld import NO, NOW_US, OWNER, YES, LiveWorld
from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder
from traders.core.exposure import Unproven
from traders.core.intents import Intent, Outcome
from traders.core.orders import OrderStatus


def test_C18_an_order_by_another_hand_counts_and_is_not_ours_to_touch() -> None:
    world = LiveWorld()
    world.shows("person", "V9", side=NO, price_cc=5_500)
    assert world.live.external() == (Unproven(NO, 5_500, 10),)
    assert world.live.resting() == ()
    assert world.live.cancel_all("kill", world.now_us) == []
    assert world.held(CancelOrder("person", "test")) == "ENDED"


def test_C18_an_order_by_another_hand_is_followed_to_its_end() -> None:
    world = LiveWorld()
    world.shows("person", "V9")
    world.later(2)
    world.shows("person", "V9", filled_cx=4, remaining_cx=6)
    world.shows("person", "V9", time_us=NOW_US + 1)
    assert world.live.external() == (Unproven(YES, 4_000, 6),)
    world.fills(4, client_order_id="person", order_id="V9")
    world.shows("person", "V9", status="canceled", filled_cx=4, remaining_cx=0)
    world.shows("person", "V9", filled_cx=4, remaining_cx=6)
    assert world.live.external() == ()
    assert world.told() == []


def test_C18_an_order_of_ours_that_another_hand_canceled_is_over() -> None:
    world = LiveWorld()
    one = world.placed()
    world.shows(one, status="canceled", remaining_cx=0)
    order = world.last_order()
    assert (order.status, order.reason) == (OrderStatus.CANCELED, "canceled")


def test_another_trader_of_this_installation_is_an_outsider_here() -> None:
    world = LiveWorld()
    world.shows(Owner(OWNER.installation, 4, 9).client_order_id(1), "V9")
    assert len(world.live.external()) == 1
    assert world.alerts() == []
    assert world.live.fenced == ""


def test_an_order_shown_without_its_name_is_claimed_once_the_answer_names_it() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.shows("", filled_cx=3, remaining_cx=7)
    world.fills(3)
    assert len(world.live.external()) == 1
    world.accepted(intent, remaining_cx=10)
    assert world.live.external() == ()
    assert (world.resting_cx(), world.unproven_cx()) == (7, 0)
    assert ("fill", 3, 3) in world.told()


@pytest.mark.parametrize("event", ["triggered", "deleted"])
def test_F11_a_group_that_is_gone_takes_no_new_orders_and_proves_no_cancel(event: str) -> None:
    world = LiveWorld()
    one = world.placed()
    world.group(event)
    assert world.resting() == {one: 10}
    assert world.held(PlaceOrder(NO, 5_000, 10)) == "FENCED"
    assert world.held(DecreaseOrder(one, 4)) == "FENCED"
    assert isinstance(world.live.wish(CancelOrder(one, "test"), world.now_us), Intent)
    assert world.alerts() == ["FENCED"]
    assert world.later(2).live.due_looks(world.now_us) == (one,)
    world.shows(one, status="canceled", remaining_cx=0)
    assert world.resting() == {}


def test_F11_a_poll_that_lists_the_group_as_triggered_is_enough_and_a_reset_is_not() -> None:
    world = LiveWorld()
    world.group("", is_triggered=True)
    world.group("reset", is_triggered=False)
    assert world.held(PlaceOrder(NO, 5_000, 10)) == "FENCED"


@pytest.mark.parametrize(("event", "group_id"), [("created", "group-1"), ("triggered", "group-0"), ("triggered", "")])
def test_F11_other_news_and_other_groups_fence_nobody(event: str, group_id: str) -> None:
    world = LiveWorld()
    world.group(event, group_id=group_id)
    assert world.live.fenced == ""


def test_F4_orders_that_the_reactivation_canceled_are_over_by_evidence() -> None:
    world = LiveWorld()
    ours = [world.placed("V1"), world.placed("V2", side=NO)]
    for number, one in enumerate(ours, start=1):
        world.shows(one, f"V{number}", status="canceled", remaining_cx=0, reason="HaltCancel")
    assert world.resting() == {}
    assert [event[0] for event in world.told()] == ["resting", "resting", "canceled", "canceled"]


def test_C19_a_strange_status_is_an_unknown_outcome_and_is_kept() -> None:
    world = LiveWorld()
    one = world.placed()
    world.told()
    world.later(1)
    world.shows(one, status="held_for_review", filled_cx=2, remaining_cx=0)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    assert world.told() == []
    (alert,) = world.live.take_alerts()
    assert (alert.code, alert.text) == ("STRANGE", "status held_for_review")
    assert world.later(2).live.due_looks(world.now_us) == (one,)
    world.look(one, world.shown(one, filled_cx=2, remaining_cx=8))
    assert (world.resting_cx(), world.unproven_cx()) == (8, 2)


def test_C19_a_strange_status_of_an_order_that_is_over_changes_nothing() -> None:
    world = LiveWorld()
    one = world.placed()
    world.shows(one, status="canceled", remaining_cx=0)
    world.told()
    world.later(1)
    world.shows(one, status="archived", remaining_cx=0)
    assert world.told() == []
    assert world.live.unsettled() == ()


def test_an_order_that_the_venue_no_longer_knows_is_over_but_may_come_back() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(10)
    world.shows(one, status="gone", remaining_cx=0, reason="NotFound")
    assert world.resting() == {}
    assert world.last_order().reason == "NotFound"
    world.shows(one, time_us=NOW_US)
    assert world.resting() == {}
    world.later(10)
    world.shows(one)
    assert world.resting() == {one: 10}
    assert "CAME_BACK" in world.alerts()


def test_a_fill_of_an_order_that_is_gone_is_booked_all_the_same() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(10)
    world.shows(one, status="gone", remaining_cx=0)
    world.fills(4, client_order_id=one)
    assert ("fill", 4, 4) in world.told()


def test_a_whole_list_has_what_it_leaves_out_looked_at_and_drops_outsiders() -> None:
    world = LiveWorld()
    one, two = world.placed("V1"), world.placed("V2", side=NO)
    world.shows("person", "V9")
    three = world.later(1).placed("V3")
    shown = [world.shown(two, "V2", side=NO, time_us=NOW_US)]
    world.live.on_whole(shown, told_us=world.now_us, now_us=world.now_us)
    assert world.live.external() == ()
    assert world.resting() == {one: 10, two: 10, three: 10}
    assert world.later(2).live.due_looks(world.now_us) == (one,)
    world.look(one, world.shown(one, time_us=NOW_US))
    assert world.later(2).live.due_looks(world.now_us) == ()


def test_a_look_older_than_the_suspicion_does_not_lay_it_to_rest() -> None:
    world = LiveWorld()
    one = world.placed()
    world.later(10).live.suspect(world.now_us)
    world.later(2).look(one, world.shown(one, time_us=NOW_US), lag_s=3)
    assert world.live.unsettled() == (one,)
    world.look(one, world.shown(one, time_us=NOW_US))
    assert world.live.unsettled() == ()


def test_B16_C4_suspicions_that_late_reads_never_catch_up_with_are_no_doubt_that_lasts() -> None:
    world = LiveWorld()
    one = world.placed("V1")
    for _ in range(20):
        world.live.suspect(world.now_us)  # the desk found a change that its channel did not tell
        world.later(5).look(one, world.shown(one, time_us=NOW_US), lag_s=10)
        assert world.live.overdue(world.now_us) == ()
    assert world.live.fenced == ""
    world.later(12).look(one, world.shown(one, time_us=NOW_US))
    assert world.live.unsettled() == ()
    world.live.suspect(world.now_us)
    assert world.later(60).live.overdue(world.now_us) == (one,)


def test_a_refused_create_that_shows_itself_rests() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.answer(intent, Outcome.DECLINED, "invalid_order")
    world.shows(intent.client_order_id)
    assert world.resting() == {intent.client_order_id: 10}


def test_a_refusal_does_not_take_back_what_was_shown() -> None:
    world = LiveWorld()
    intent = world.sent_place()
    world.shows(intent.client_order_id)
    world.answer(intent, Outcome.DECLINED, "invalid_order")
    assert world.resting() == {intent.client_order_id: 10}
