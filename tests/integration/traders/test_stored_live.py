"""What the database gives a live trader back whose folder is gone: every order that may still matter, and its fills."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kalshimm.runtime.home import installation_number
from markets.core.orderids import Owner
from markets.core.units import Side
from traders.core.liveorder import LiveOrder, Standing
from traders.core.liveorders import Kept, LiveOrders
from traders.core.orders import OrderStatus
from traders.fleet import read_stored
from traders.models import DecisionRow, Fill, JournalMark, Mode, Order, StrategySet, Trader
from traders.storedlive import stored_live

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
TICKER, ACCOUNT = "HAND-1", "local"


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.KALSHIMM_HOME = tmp_path / "home"
    return settings.KALSHIMM_HOME


@pytest.fixture
def trader() -> Trader:
    strategy = StrategySet.objects.create(name="s")
    return Trader.objects.create(name="live-1", market_ticker=TICKER, strategy=strategy, mode=Mode.LIVE)


@pytest.fixture
def owner(trader: Trader, home: Path) -> Owner:
    return Owner(installation_number(home), trader.pk, 3)


def an_order(client_order_id: str, **changes: Any) -> Order:
    fields = {
        "account": ACCOUNT, "client_order_id": client_order_id, "order_id": f"v-{client_order_id[-6:]}",
        "ticker": TICKER, "mode": Mode.LIVE, "side": 0, "price_cc": 4_000, "placed_cx": 1_000, "filled_cx": 0,
        "remaining_cx": 1_000, "status": "resting", "created_at": NOW, "updated_at": NOW, "journal_number": 0,
    }  # fmt: skip
    return Order.objects.create(**fields | changes)


def a_fill(order: Order, trade_id: str, count_cx: int, trader: Trader | None) -> None:
    Fill.objects.create(
        account=ACCOUNT, order_id=order.order_id, trade_id=trade_id, client_order_id=order.client_order_id,
        trader=trader, ticker=TICKER, mode=Mode.LIVE, side=order.side, price_cc=order.price_cc, count_cx=count_cx,
        is_taker=False, position_cx=None if trader is None else count_cx, time=NOW,
    )  # fmt: skip


def by_id(kept: Kept) -> dict[str, LiveOrder]:
    return {order.client_order_id: order for order in kept.orders}


def test_an_order_at_rest_comes_back_with_what_was_booked_of_it(trader: Trader, owner: Owner) -> None:
    name = owner.client_order_id(17)
    row = an_order(name, trader=trader, filled_cx=300, remaining_cx=700, journal_number=5, side=1)
    a_fill(row, "t1", 100, trader)
    a_fill(row, "t2", 200, trader)
    (order,) = stored_live(trader.pk).orders
    assert (order.client_order_id, order.order_id, order.number, order.side) == (name, row.order_id, 17, Side.NO)
    assert (order.exists, order.standing, order.price_cc, order.total_cx) == (True, Standing.RESTING, 4_000, 1_000)
    assert (order.booked_cx, order.trades, order.resting_cx) == (300, {"t1", "t2"}, 700)


def test_what_is_over_for_the_trader_is_only_remembered_by_its_ids(trader: Trader, owner: Owner) -> None:
    done = an_order(
        owner.client_order_id(1), trader=trader, status="canceled", remaining_cx=0, journal_number=2,
        updated_at=NOW - timedelta(seconds=5),
    )  # fmt: skip
    told = an_order(
        owner.client_order_id(2), trader=trader, status="executed", filled_cx=1_000, remaining_cx=0, told_at=NOW,
        is_complete=True,
    )  # fmt: skip
    a_fill(told, "t1", 1_000, trader)
    never = an_order(
        owner.client_order_id(3), trader=trader, status="refused", remaining_cx=0, order_id="",
        updated_at=NOW - timedelta(seconds=9),
    )  # fmt: skip
    kept = stored_live(trader.pk)
    assert kept.orders == ()
    assert kept.over == tuple((order.client_order_id, order.order_id) for order in (never, done, told))


def test_B15_an_order_that_is_over_stays_open_while_its_journal_lacks_fills_of_it(trader: Trader, owner: Owner) -> None:
    """The position has only what the journal told; the account's word alone must not close the order."""
    row = an_order(
        owner.client_order_id(4), trader=trader, status="executed", filled_cx=1_000, remaining_cx=0, told_at=NOW,
        is_complete=True,
    )  # fmt: skip
    a_fill(row, "t1", 400, trader)
    a_fill(row, "t2", 600, None)  # told by the account, and by nobody's journal
    (order,) = stored_live(trader.pk).orders
    assert (order.standing, order.end, order.end_is_final) == (Standing.ENDED, OrderStatus.FILLED, True)
    assert (order.filled_cx, order.booked_cx, order.is_complete) == (1_000, 400, False)
    assert read_stored(trader.pk).inventory.position_cx == 400


def test_an_ended_order_whose_fills_the_account_still_misses_is_open(trader: Trader, owner: Owner) -> None:
    an_order(
        owner.client_order_id(5), trader=trader, status="canceled", filled_cx=200, remaining_cx=0, told_at=NOW,
        is_complete=False,
    )  # fmt: skip
    (order,) = stored_live(trader.pk).orders
    assert (order.standing, order.total_cx, order.unproven_cx + order.resting_cx) == (Standing.RESTING, 200, 200)


def test_an_order_that_only_the_account_knows_is_the_traders_by_its_name(trader: Trader, owner: Owner) -> None:
    mine = an_order(owner.client_order_id(6), told_at=NOW)
    an_order(Owner(owner.installation, trader.pk + 1, 1).client_order_id(1), told_at=NOW)
    an_order(Owner(owner.installation + 1, trader.pk, 1).client_order_id(1), told_at=NOW)
    an_order("by-hand", told_at=NOW, is_external=True)
    assert list(by_id(stored_live(trader.pk))) == [mine.client_order_id]


def test_a_paper_order_of_the_same_number_is_nothing_to_a_live_trader(trader: Trader) -> None:
    an_order("paper-1", trader=trader, mode=Mode.DRY_RUN, account="paper")
    assert stored_live(trader.pk).orders == ()


def test_intents_are_numbered_above_all_that_were_stored(trader: Trader, owner: Owner) -> None:
    assert stored_live(trader.pk).next_number == 1
    an_order(owner.client_order_id(31), told_at=NOW)
    assert stored_live(trader.pk).next_number == 32
    for journal_number, number in ((900, 40), (901, 41)):
        DecisionRow.objects.create(
            time=NOW, trader=trader.pk, number=journal_number, kind="intent", reason="", figures={"number": number}
        )
    DecisionRow.objects.create(
        time=NOW, trader=trader.pk + 1, number=999, kind="intent", reason="", figures={"number": 99}
    )
    assert stored_live(trader.pk).next_number == 42


def test_a_trader_recovers_from_it_with_everything_unproven(trader: Trader, owner: Owner) -> None:
    name = owner.client_order_id(7)
    row = an_order(name, trader=trader, filled_cx=300, remaining_cx=700, journal_number=5)
    a_fill(row, "t1", 300, trader)
    later = Owner(owner.installation, owner.trader, 4)
    live = LiveOrders.recover(later, TICKER, (), now_us=1, group_id="g", kept=stored_live(trader.pk))
    assert live.due_looks(1) == (name,)
    assert (live.resting(), [one.remaining_cx for one in live.unproven()]) == ((), [700])


def test_a_live_traders_checkpoint_has_it_and_a_paper_traders_has_not(trader: Trader, owner: Owner) -> None:
    JournalMark.objects.create(trader=trader.pk, number=12)
    an_order(owner.client_order_id(8), trader=trader, journal_number=5)
    stored = read_stored(trader.pk)
    assert (stored.number, len(stored.live.orders)) == (12, 1)
    Trader.objects.filter(pk=trader.pk).update(mode=Mode.DRY_RUN)
    assert read_stored(trader.pk).live == Kept()
