"""The live broker: what the account tells decides what may be sent, and everything the engine hears is proven."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from feed.schema import (
    VERSION,
    AccountBalance,
    AccountDifference,
    AccountEntry,
    AccountFill,
    AccountGroup,
    AccountHealth,
    AccountOrder,
    AccountPosition,
    AccountUpdate,
)
from markets.core.book import OrderBook
from markets.core.settlement import Position
from markets.core.units import Side
from tests.unit.traders.core.liveworld import GROUP, OWNER, TICKER, LiveWorld
from traders.brokers.live import DESK_SILENT_US, LiveBroker
from traders.core.cash import Cash
from traders.core.commands import CancelOrder, PlaceOrder, TakeOrder
from traders.core.drift import LASTING_US, remembered
from traders.core.intents import Cancel, Place, Take
from traders.core.orders import Fill, Order, OrderStatus

HEALTHY = AccountHealth("live", "", 1, None)
BALANCE = AccountBalance(90_000_000, [(0, 60_000_000), (2, 30_000_000)])
PLACE = PlaceOrder(Side.YES, 4_000, 300)


class Ground(LiveWorld):
    """A broker with a desk that tells what the test says."""

    def __init__(
        self,
        *,
        outside_cx: int | None = None,
        outside_fills: tuple[tuple[str, str], ...] = (),
        position_cx: int = 0,
        subaccount: int = 0,
    ) -> None:
        super().__init__()
        self.broker = LiveBroker(
            self.live,
            TICKER,
            now_us=lambda: self.now_us,
            exchange_index=2,
            subaccount=subaccount,
            held=Position(position_cx=position_cx),
            outside=remembered(outside_cx, 0),
            outside_fills=outside_fills,
        )

    def tells(self, *updates: AccountUpdate, is_whole: bool = False) -> None:
        self.broker.on_account([AccountEntry(VERSION, "local", self.now_us, is_whole, list(updates))])

    def begins(self, *updates: AccountUpdate) -> Ground:
        self.tells(*updates, BALANCE, HEALTHY, is_whole=True)
        return self

    def asks(self, command: PlaceOrder | TakeOrder | CancelOrder) -> list[Order | Fill]:
        return self.broker.execute(command, book=OrderBook(), time_us=self.now_us)

    def rests(self, count_cx: int = 300) -> str:
        """Let an order of ours rest, and return its client order id."""
        self.asks(replace(PLACE, count_cx=count_cx))
        (intent,) = self.broker.take_intents()
        self.send(intent)
        self.accepted(intent, remaining_cx=count_cx)
        self.broker.on_time(self.now_us)
        return intent.client_order_id

    def a_fill(self, count_cx: int, client_order_id: str, trade_id: str = "t1", **more: Any) -> AccountFill:
        fill = AccountFill(
            "V1", trade_id, client_order_id, TICKER, 0, 4_000, count_cx, False, 12, 0, 0, self.now_us, False
        )
        return replace(fill, **more)

    def holds(self, position_cx: int, *, is_agreed: bool = True) -> None:
        self.tells(AccountPosition(TICKER, 0, position_cx, None, None, None, is_agreed))


def outside_cx(ground: Ground) -> int | None:
    held = ground.broker.outside_held
    return None if held is None else held.position_cx


def test_nothing_new_is_sent_before_the_account_has_told_all_there_is() -> None:
    ground = Ground()

    assert ground.broker.stopped == "nothing is known of the account yet"
    assert ground.broker.cash.free_ud is None
    assert ground.asks(PLACE) == []
    assert ground.broker.take_intents() == []

    ground.tells(HEALTHY, BALANCE)
    assert ground.broker.stopped == "nothing is known of the account yet"  # what else rests was not told

    ground.begins()
    assert ground.broker.stopped == ""
    assert ground.broker.cash == Cash(2, 30_000_000, {0: 60_000_000})


def test_a_command_becomes_an_intent_and_its_order_is_told_once_it_is_proven() -> None:
    ground = Ground().begins()

    assert ground.asks(PLACE) == []
    (intent,) = ground.broker.take_intents()
    assert isinstance(intent.wish, Place)
    assert ground.broker.unproven()[0].remaining_cx == 300
    ground.send(intent)
    ground.accepted(intent, remaining_cx=300)
    (order,) = ground.broker.on_time(0)

    assert isinstance(order, Order)
    assert (order.status, order.remaining_cx) == (OrderStatus.RESTING, 300)
    assert ground.broker.resting()[0].client_order_id == intent.client_order_id
    assert ground.broker.unproven() == ()


def test_C18_a_persons_order_counts_and_is_never_touched() -> None:
    ground = Ground().begins(Ground().shown("", "P1", remaining_cx=500, side=Side.NO, price_cc=5_500))

    (outside,) = ground.broker.outside()
    assert (outside.side, outside.price_cc, outside.remaining_cx) == (Side.NO, 5_500, 500)
    assert ground.broker.resting() == ()
    ground.broker.cancel_all("paused")
    assert ground.broker.take_intents() == []


def test_orders_of_another_subaccount_are_nobody_of_ours() -> None:
    ground = Ground().begins(replace(Ground().shown("", "P1"), subaccount=4))

    assert ground.broker.outside() == ()


def test_B16_what_the_channel_did_not_tell_has_everything_looked_at() -> None:
    ground = Ground().begins()
    client_order_id = ground.rests()
    assert ground.live.due_looks(ground.later(5).now_us) == ()

    ground.tells(AccountDifference("fill", "t9", "missed", ground.now_us))

    assert ground.live.due_looks(ground.later(5).now_us) == (client_order_id,)


def test_a_silent_or_blind_desk_stops_what_is_new_and_no_cancel() -> None:
    ground = Ground().begins()
    client_order_id = ground.rests()

    ground.now_us += DESK_SILENT_US
    assert ground.broker.stopped == "the account desk is silent"
    ground.asks(TakeOrder(Side.NO, 6_000, 100))
    assert ground.broker.take_intents() == []
    ground.asks(CancelOrder(client_order_id, "paused"))
    assert [type(intent.wish) for intent in ground.broker.take_intents()] == [Cancel]

    ground.tells(AccountHealth("blind", "orders: HTTP 503", None, None))
    assert ground.broker.stopped == "the account cannot be read: orders: HTTP 503"


def test_F11_a_triggered_group_fences_for_good() -> None:
    ground = Ground().begins()
    ground.rests()

    ground.tells(AccountGroup(GROUP, "triggered", 100, True, 2))

    assert ground.broker.fenced == "order group triggered"
    assert ground.broker.stopped == ground.broker.fenced
    assert [alert.code for alert in ground.broker.take_alerts()] == ["FENCED"]


def test_B15_a_fill_is_told_once_though_it_comes_before_the_answer_and_twice() -> None:
    ground = Ground().begins()
    ground.asks(PLACE)
    (intent,) = ground.broker.take_intents()
    ground.send(intent)
    fill = ground.a_fill(300, intent.client_order_id)

    ground.tells(fill, fill)
    told = ground.broker.on_time(0)
    ground.accepted(intent, filled_cx=300, remaining_cx=0)
    ground.tells(fill)
    told += ground.broker.on_time(0)

    assert [event.count_cx for event in told if isinstance(event, Fill)] == [300]
    assert [event.status for event in told if isinstance(event, Order)] == [OrderStatus.FILLED]


def test_a_position_that_fills_do_not_explain_stops_what_is_new_once_it_lasts() -> None:
    ground = Ground(outside_cx=500, position_cx=0).begins()
    client_order_id = ground.rests()
    ground.holds(500)
    ground.tells(ground.a_fill(100, client_order_id))
    ground.broker.on_time(0)
    ground.holds(600)
    assert ground.broker.stopped == ""

    ground.holds(700)
    ground.later(LASTING_US / 1_000_000)
    ground.tells(HEALTHY)

    assert "the account holds 700 cx, 100 of ours and 500 of others" in ground.broker.stopped
    assert [alert.code for alert in ground.broker.take_alerts()] == ["POSITION_DRIFT"]
    assert ground.live.due_looks(ground.later(5).now_us) == (client_order_id,)

    ground.tells(ground.a_fill(100, client_order_id, "t2"))  # the one that was missed
    ground.broker.on_time(0)
    ground.tells(HEALTHY)
    assert ground.broker.stopped == ""


def test_somebody_elses_fills_explain_the_account_once() -> None:
    ground = Ground(outside_cx=0).begins()
    theirs = ground.a_fill(200, "", "p1", order_id="P1", is_external=True, side=int(Side.NO))

    ground.tells(theirs)
    ground.tells(theirs)
    ground.holds(-200)

    assert outside_cx(ground) == -200


def test_C18_a_fill_that_is_told_while_a_trader_begins_is_counted_once_whenever_its_owner_is_known() -> None:
    """Flat, a person's fill with nobody's name, the position that holds it, and the fill once more with a name."""
    ground = Ground()
    theirs = ground.a_fill(200, "", "p1", order_id="P1", is_external=None, side=int(Side.NO))
    holds = AccountPosition(TICKER, 0, -200, 1_200_000, None, None, True)
    whole = AccountEntry(VERSION, "local", ground.now_us, True, [BALANCE, HEALTHY])
    ground.broker.on_account([whole, AccountEntry(VERSION, "local", ground.now_us, False, [theirs, holds])])
    assert outside_cx(ground) == -200
    ground.tells(replace(theirs, is_external=True))
    assert outside_cx(ground) == -200
    ground.later(LASTING_US / 1_000_000)
    ground.tells(HEALTHY)
    assert ground.broker.stopped == ""


def test_C18_somebody_elses_fills_are_not_counted_again_after_a_restart() -> None:
    before = Ground(outside_cx=0).begins()
    theirs = before.a_fill(200, "", "p1", order_id="P1", is_external=True, side=int(Side.NO))
    before.tells(theirs)

    after = Ground(outside_cx=outside_cx(before), outside_fills=before.broker.outside_fills)
    after.begins(AccountPosition(TICKER, 0, -200, None, None, None, True))
    after.tells(theirs)  # the stream is read from its newest whole entry on
    after.later(LASTING_US / 1_000_000)
    after.tells(HEALTHY)

    assert (outside_cx(after), after.broker.stopped) == (-200, "")


def test_a_whole_entry_that_holds_another_subaccounts_position_says_that_ours_is_flat() -> None:
    ground = Ground(outside_cx=0).begins(AccountPosition(TICKER, 0, 0, None, None, None, True))
    ground.holds(300)
    ground.begins(AccountPosition(TICKER, 7, 300, None, None, None, True))
    ground.later(LASTING_US / 1_000_000)
    ground.tells(HEALTHY)

    assert ground.broker.stopped == ""


def test_what_an_old_entry_tells_does_not_make_its_desk_a_living_one() -> None:
    ground = Ground()
    told = [HEALTHY, BALANCE]
    ground.broker.on_account([AccountEntry(VERSION, "local", ground.now_us - DESK_SILENT_US, True, told)])

    assert ground.broker.stopped == "the account desk is silent"
    assert ground.begins().broker.stopped == ""


def test_a_fill_of_an_earlier_lease_is_not_somebody_elses() -> None:
    ground = Ground(outside_cx=0).begins()
    earlier = replace(OWNER, epoch=0).client_order_id(5)

    ground.tells(ground.a_fill(200, earlier, "t7", order_id="V9"))

    assert outside_cx(ground) == 0


def test_who_ends_cancels_all_and_sends_nothing_new() -> None:
    ground = Ground().begins()
    ground.rests()

    ground.broker.end("asked to stop")

    assert [type(intent.wish) for intent in ground.broker.take_intents()] == [Cancel]
    ground.asks(PLACE)
    assert ground.broker.take_intents() == []
    assert ground.broker.stopped == "the trader ends"


def test_a_take_is_one_at_a_time() -> None:
    ground = Ground().begins()

    ground.asks(TakeOrder(Side.NO, 6_000, 100))
    assert ground.broker.is_taking
    ground.asks(TakeOrder(Side.NO, 6_000, 100))

    assert [type(intent.wish) for intent in ground.broker.take_intents()] == [Take]


def test_F13_cash_is_what_lies_on_the_shard_less_what_other_markets_may_need() -> None:
    order: AccountOrder = replace(Ground().shown("", "X1"), ticker="KXB-2", exchange_index=2)
    ground = Ground().begins(order)
    assert ground.broker.cash.free_ud == 30_000_000 - 10 * 4_000

    ground.tells(replace(order, is_complete=True, status="canceled"))

    assert ground.broker.cash.free_ud == 30_000_000


@pytest.mark.parametrize("is_asked", [True, False])
def test_F12_a_cancel_that_nobody_here_asked_for_may_be_a_cancel_all(is_asked: bool) -> None:
    ground = Ground().begins()
    swept: list[int] = []
    ground.broker.on_swept = lambda: swept.append(ground.now_us)
    client_order_id = ground.rests()
    if is_asked:
        ground.asks(CancelOrder(client_order_id, "paused"))

    ground.tells(ground.shown(client_order_id, remaining_cx=0, status="canceled", time_us=ground.now_us + 1_000))
    ground.broker.on_time(0)

    assert len(swept) == (0 if is_asked else 1)


def test_what_a_takeover_pulled_is_no_cancel_all() -> None:
    before = LiveWorld()
    client_order_id = before.placed()
    ground = Ground()
    ground.broker.live = before.restarted().live
    ground.broker.on_swept = lambda: pytest.fail("the takeover canceled it")

    ground.tells(before.shown(client_order_id, remaining_cx=0, status="canceled"))
    ground.broker.on_time(0)


# A used account


def test_what_the_account_held_before_is_known_with_the_venues_cost_once_it_has_told() -> None:
    ground = Ground()
    assert ground.broker.outside_held is None, "unknown is not zero"
    ground.begins(AccountPosition(TICKER, 0, 700, 2_900_000, None, None, True))
    assert ground.broker.outside_held == Position(position_cx=700, cost_ud=2_900_000)
    assert ground.broker.stopped == ""

    fresh = Ground().begins(AccountPosition(TICKER, 7, 700, 2_900_000, None, None, True))
    assert fresh.broker.outside_held == Position(), "another subaccount's is another's"


def test_what_it_held_before_stays_what_it_cost_while_ours_fills() -> None:
    ground = Ground().begins(AccountPosition(TICKER, 0, 700, 2_900_000, None, None, True))
    client_order_id = ground.rests()
    ground.tells(ground.a_fill(100, client_order_id))
    ground.broker.on_time(0)
    ground.tells(AccountPosition(TICKER, 0, 800, 3_300_000, None, None, True))
    assert ground.broker.outside_held == Position(position_cx=700, cost_ud=2_900_000)
    assert ground.broker.stopped == ""


def test_while_desk_and_channel_disagree_about_it_it_is_not_known() -> None:
    ground = Ground().begins(AccountPosition(TICKER, 0, 700, 2_900_000, None, None, False))
    assert ground.broker.outside_held is None
    ground.holds(700)
    assert ground.broker.outside_held == Position(position_cx=700, cost_ud=7_000_000), "of no told cost: a dollar each"


def test_cash_is_that_of_the_traders_subaccount() -> None:
    def free_ud(subaccount: int) -> int | None:
        ground = Ground(subaccount=subaccount)
        told = AccountBalance(90_000_000, [(2, 30_000_000)], [(3, 0, 1_000_000), (3, 2, 5_000_000), (4, 2, 7_000_000)])
        ground.tells(told, HEALTHY, is_whole=True)
        return ground.broker.cash.free_ud

    assert [free_ud(number) for number in (0, 3, 4, 5)] == [30_000_000, 5_000_000, 7_000_000, None]
