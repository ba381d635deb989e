"""Live orders after a crash, from the journal and the checkpoint (faults.md A2, A3, promise 1 to 3)."""

from __future__ import annotations

import msgspec
import pytest

from markets.core.orderids import Owner
from tests.unit.traders.core.liveworld import GROUP, NO, NOW_US, OWNER, SECOND_US, TICKER, YES, LiveWorld
from traders.core.commands import CancelOrder, PlaceOrder
from traders.core.exposure import Unproven
from traders.core.intents import Booked, Outcome, Sent, Told
from traders.core.liveorders import Kept, LiveOrders
from traders.core.orders import OrderStatus

LATER_OWNER = Owner(OWNER.installation, OWNER.trader, 2)


def test_A2_an_intent_that_is_not_marked_as_sent_may_have_left() -> None:
    before = LiveWorld()
    one = before.wish(PlaceOrder(NO, 5_000, 10)).client_order_id
    world = before.later(1).restarted()
    assert world.live.unproven() == (Unproven(NO, 5_000, 10),)
    assert world.live.in_flight().creates == {NO}
    assert world.live.due_looks(world.now_us) == (one,)


def test_A2_an_intent_that_is_marked_as_never_sent_is_over() -> None:
    before = LiveWorld()
    before.answer(before.wish(PlaceOrder(NO, 5_000, 10)), Outcome.NOT_SENT, "journal full")
    world = before.restarted()
    assert world.live.unproven() == ()
    assert world.live.unsettled() == ()


def test_A2_an_intent_of_the_process_before_cannot_be_sent() -> None:
    before = LiveWorld()
    intent = before.wish(PlaceOrder(NO, 5_000, 10))
    world = before.restarted()
    with pytest.raises(ValueError, match="not to be sent"):
        world.live.send(intent.number, world.now_us)
    assert world.wish(PlaceOrder(YES, 4_000, 10)).number == intent.number + 1


def test_A3_an_order_without_an_answer_is_found_and_its_fills_are_booked_once() -> None:
    before = LiveWorld()
    intent = before.sent_place()
    one = intent.client_order_id
    before.fills(4, client_order_id=one)
    world = before.later(1).restarted(Booked(one, "V1", "t1", 4))
    assert world.unproven_cx() == 6
    world.fills(4)
    world.fills(3, "t2")
    world.look(one, world.shown(one, status="canceled", filled_cx=7, remaining_cx=0))
    assert world.told() == [("fill", 3, 7), ("canceled", 7, 0)]


def test_A3_misses_count_from_the_restart_for_nobody_knows_when_it_left() -> None:
    before = LiveWorld()
    one = before.sent_place().client_order_id
    world = before.later(30).restarted()
    world.later(2).look(one)
    world.later(2).look(one)
    assert world.unproven_cx() == 10
    world.later(2).look(one)
    assert world.unproven_cx() == 0


def test_what_rested_is_unknown_until_a_look_of_now_shows_it() -> None:
    before = LiveWorld()
    one = before.placed()
    world = before.later(10).restarted()
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.shows(one, time_us=NOW_US)
    world.look(one, world.shown(one, time_us=NOW_US), lag_s=1)
    assert (world.resting_cx(), world.unproven_cx()) == (0, 10)
    world.look(one, world.shown(one, time_us=NOW_US))
    assert world.resting() == {one: 10}
    assert world.live.unsettled() == ()


def test_what_ended_with_all_of_its_fills_stays_over() -> None:
    before = LiveWorld()
    one = before.placed()
    records = (Booked(one, "V1", "t1", 3), Told(one, "V1", 3, OrderStatus.CANCELED, "test"))
    world = before.restarted(*records)
    assert world.live.unsettled() == ()
    assert world.told() == []
    world.shows(one, filled_cx=1, remaining_cx=9, time_us=NOW_US + 1_000)
    world.fills(3)
    assert world.told() == []
    assert (world.resting_cx(), world.unproven_cx()) == (0, 0)


def test_an_end_that_was_not_written_down_is_told_again() -> None:
    before = LiveWorld()
    before.answer(before.sent_place(), Outcome.DECLINED, "invalid_price")
    assert before.restarted().told() == [("refused", 0, 0)]


def test_an_order_that_ended_and_lacks_fills_is_looked_at() -> None:
    before = LiveWorld()
    one = before.placed()
    world = before.restarted(Told(one, "V1", 3, OrderStatus.CANCELED, "test"))
    assert world.unproven_cx() == 3
    assert world.live.due_looks(world.now_us) == (one,)
    world.fills(3)
    assert world.told() == [("fill", 3, 3), ("canceled", 3, 0)]


def test_what_came_back_before_the_crash_is_there_after_it() -> None:
    before = LiveWorld()
    intent = before.sent_place()
    before.answer(intent, Outcome.DECLINED, "invalid_order")
    before.journal.append(Told(intent.client_order_id, "", 0, OrderStatus.REFUSED, "invalid_order"))
    before.shows(intent.client_order_id)
    world = before.restarted(Told(intent.client_order_id, "V1", 0, OrderStatus.RESTING))
    assert world.unproven_cx() == 10
    assert world.live.order_id(intent.client_order_id) == "V1"
    for _ in range(3):
        world.later(5).look(intent.client_order_id)
    assert world.unproven_cx() == 10


def test_what_was_told_as_over_and_came_back_can_be_shown_to_rest_again() -> None:
    before = LiveWorld()
    one = before.placed()
    over = Told(one, "V1", 0, OrderStatus.CANCELED, "gone")
    world = before.restarted(over, Told(one, "V1", 0, OrderStatus.RESTING))
    world.later(3).look(one, world.shown(one, time_us=NOW_US))
    assert world.resting() == {one: 10}


def test_what_was_told_to_rest_is_no_larger_than_it_was_made() -> None:
    before = LiveWorld()
    one = before.placed()
    before.answer(before.sent_decrease(one, 4), Outcome.ACCEPTED, remaining_cx=4, engine_us=NOW_US)
    world = before.restarted(Told(one, "V1", 0, OrderStatus.RESTING))
    assert world.unproven_cx() == 4


def test_a_cancel_that_was_wanted_is_wanted_still() -> None:
    before = LiveWorld()
    one = before.placed()
    before.sent_cancel(one)
    world = before.restarted()
    (intent,) = world.live.due_cancels(world.now_us)
    assert intent.client_order_id == one


def test_an_amend_that_was_on_its_way_counts_until_it_is_settled() -> None:
    before = LiveWorld()
    one = before.placed()
    before.sent_decrease(one, 4)
    world = before.restarted()
    world.later(0.1).look(one, world.shown(one, time_us=NOW_US))
    assert (world.resting(), world.live.in_flight().amends) == ({one: 10}, {YES})
    world.later(1).look(one, world.shown(one, remaining_cx=4))
    assert (world.resting(), world.live.in_flight().amends) == ({one: 4}, frozenset())


def test_a_new_process_asks_at_once_and_alarms_nobody_for_what_it_remembers() -> None:
    before = LiveWorld()
    before.placed()
    world = before.later(600).restarted()
    assert len(world.live.due_looks(world.now_us)) == 1
    assert world.live.overdue(world.now_us) == ()
    assert world.alerts() == []


def test_a_checkpoint_and_the_records_after_it_give_the_same_as_all_records() -> None:
    before = LiveWorld()
    one = before.placed("V1", filled_cx=2, remaining_cx=8)
    before.fills(2)
    early = Booked(one, "V1", "t1", 2)
    before.journal.append(early)
    lost = before.sent_place(side=NO)
    content = msgspec.json.encode(before.live.kept())
    at = len(before.journal)
    before.answer(lost, Outcome.ACCEPTED, order_id="V2", filled_cx=0, remaining_cx=10, engine_us=before.now_us)
    before.sent_cancel(one)
    for start in (at, 0):
        live = LiveOrders.recover(
            LATER_OWNER, TICKER, before.journal[start:], now_us=NOW_US, kept=msgspec.json.decode(content, type=Kept)
        )  # fmt: skip
        assert sorted((o.side, o.remaining_cx) for o in live.unproven()) == [(YES, 8), (NO, 10)]
        assert live.order_id(lost.client_order_id) == "V2"
        (cancel,) = live.due_cancels(NOW_US)
        assert cancel.number == 4


def test_what_was_complete_before_the_checkpoint_is_no_stray_when_the_stream_tells_it_again() -> None:
    before = LiveWorld()
    one = before.placed()
    before.fills(10, client_order_id=one)
    refused = before.sent_place()
    before.answer(refused, Outcome.DECLINED, "invalid_price")
    kept = before.live.kept()
    for _ in range(2):
        live = LiveOrders.recover(LATER_OWNER, TICKER, [], now_us=NOW_US, kept=kept)
        world, kept = LiveWorld(live), live.kept()
        world.shows(one, filled_cx=4, remaining_cx=6)
        world.shows("", filled_cx=4, remaining_cx=6)
        world.fills(10, client_order_id=one)
        assert (world.alerts(), world.live.external(), world.told()) == ([], (), [])
    world.shows(refused.client_order_id, "V2")  # it was not to exist
    assert world.alerts() == ["STRAY"]


def test_what_only_messages_had_proven_is_proven_by_the_answers_to_changes_too() -> None:
    """Messages are not in the journal; that a cancel or an amend was accepted is."""
    before = LiveWorld()
    ours = []
    for number, side in enumerate((YES, NO), start=1):
        intent = before.sent_place(side=side)
        before.lost(intent)
        before.shows(intent.client_order_id, f"V{number}", side=side)
        ours.append(intent.client_order_id)
    canceled, decreased = ours
    before.answer(before.sent_cancel(canceled), Outcome.ACCEPTED, reduced_cx=10)
    before.answer(before.sent_decrease(decreased, 4), Outcome.ACCEPTED, remaining_cx=4, engine_us=NOW_US)
    world = before.later(10).restarted()
    world.shows(canceled, "V1", status="canceled", remaining_cx=0)
    assert [world.live.order_id(one) for one in ours] == ["V1", "V2"]
    for _ in range(3):
        world.later(5).look(decreased)
    assert world.live.unproven() == (Unproven(NO, 4_000, 4),)
    assert world.told() == [("canceled", 0, 0)]


def test_records_whose_beginning_is_gone_are_no_trouble() -> None:
    before = LiveWorld()
    before.placed()
    before.placed("V2", side=NO)
    live = LiveOrders.recover(LATER_OWNER, TICKER, before.journal[2:], now_us=NOW_US, group_id=GROUP)
    assert len(live.unproven()) == 1
    assert LiveWorld(live).wish(PlaceOrder(YES, 4_000, 1)).number == 3


def test_an_order_of_ours_that_no_record_knows_counts_and_is_told() -> None:
    world = LiveWorld()
    lost = LATER_OWNER  # of this trader, under the lease before: its journal is gone
    stray = Owner(lost.installation, lost.trader, 0).client_order_id(5)
    world.shows(stray, "V9")
    assert world.live.external() == (Unproven(YES, 4_000, 10),)
    assert world.alerts() == ["STRAY"]
    world.shows(stray, "V9", filled_cx=2, remaining_cx=8)
    world.fills(2, client_order_id=stray, order_id="V9")
    assert world.alerts() == []
    assert world.told() == []


def test_A16_an_order_of_a_later_lease_of_ours_ends_the_earlier_one() -> None:
    world = LiveWorld()
    world.shows(LATER_OWNER.client_order_id(1), "V9")
    assert world.held(PlaceOrder(YES, 4_000, 10)) == "FENCED"


def test_a_new_lease_goes_on_with_the_orders_of_the_one_before() -> None:
    before = LiveWorld()
    one = before.placed()
    world = before.restarted()
    world.look(one, world.shown(one))
    assert world.alerts() == []
    mark = world.live.send(world.wish(CancelOrder(one, "test")).number, world.now_us)
    assert isinstance(mark, Sent)
    assert world.live.overdue(world.now_us + 59 * SECOND_US) == ()
