"""Live orders and a clock, for tests: a client that does as it is told, and messages as the desk writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from feed.schema import AccountFill, AccountGroup, AccountOrder
from markets.core.orderids import Owner
from markets.core.units import Side, yes_price_cc
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Answered, Held, Intent, Outcome, Record, Sent
from traders.core.liveorders import LiveOrders
from traders.core.orders import Fill, Order

TICKER, GROUP = "KXA-1", "group-1"
NOW_US = 1_790_000_000_000_000
SECOND_US = 1_000_000
OWNER = Owner(installation=77, trader=3, epoch=1)
YES, NO = Side.YES, Side.NO


class LiveWorld:
    """Whatever is wished is written down and sent; answers and messages come as the test says."""

    def __init__(self, live: LiveOrders | None = None, now_us: int = NOW_US) -> None:
        self.live = live or LiveOrders(OWNER, TICKER, group_id=GROUP)
        self.now_us = now_us
        self.journal: list[Record] = []

    def later(self, seconds: float) -> LiveWorld:
        self.now_us += round(seconds * SECOND_US)
        return self

    # --- the client ---------------------------------------------------------------------------------------------------

    def wish(self, command: Command) -> Intent:
        intent = self.live.wish(command, self.now_us)
        assert isinstance(intent, Intent), intent
        self.journal.append(intent)
        return intent

    def held(self, command: Command) -> str:
        found = self.live.wish(command, self.now_us)
        assert isinstance(found, Held), found
        return found.code

    def send(self, intent: Intent) -> Intent:
        mark = self.live.send(intent.number, self.now_us)
        assert isinstance(mark, Sent), mark
        self.journal.append(mark)
        return intent

    def answer(self, intent: Intent, outcome: Outcome, code: str = "", **more: Any) -> None:
        answer = Answered(intent.number, self.now_us, outcome, code, **more)
        self.journal.append(answer)
        self.live.answered(answer)

    def lost(self, intent: Intent) -> None:
        self.answer(intent, Outcome.UNKNOWN, "timed out")

    def sent_place(
        self, price_cc: int = 4_000, count_cx: int = 10, *, side: Side = YES, expires_us: int | None = None
    ) -> Intent:
        return self.send(self.wish(PlaceOrder(side, price_cc, count_cx, expires_us)))

    def sent_take(self, limit_cc: int = 4_000, count_cx: int = 10, *, side: Side = YES) -> Intent:
        return self.send(self.wish(TakeOrder(side, limit_cc, count_cx)))

    def placed(self, order_id: str = "V1", *, filled_cx: int = 0, remaining_cx: int = 10, **more: Any) -> str:
        """Return the client order id of an order that was accepted."""
        intent = self.sent_place(count_cx=filled_cx + remaining_cx, **more)
        self.accepted(intent, order_id, filled_cx=filled_cx, remaining_cx=remaining_cx)
        return intent.client_order_id

    def accepted(self, intent: Intent, order_id: str = "V1", *, filled_cx: int = 0, remaining_cx: int = 10) -> None:
        self.answer(
            intent, Outcome.ACCEPTED, order_id=order_id, filled_cx=filled_cx, remaining_cx=remaining_cx,
            engine_us=self.now_us,
        )  # fmt: skip

    def sent_cancel(self, client_order_id: str) -> Intent:
        return self.send(self.wish(CancelOrder(client_order_id, "repriced")))

    def sent_decrease(self, client_order_id: str, remaining_cx: int) -> Intent:
        return self.send(self.wish(DecreaseOrder(client_order_id, remaining_cx)))

    def sent_renew(self, client_order_id: str, expires_us: int) -> Intent:
        return self.send(self.wish(RenewOrder(client_order_id, expires_us)))

    # --- the account --------------------------------------------------------------------------------------------------

    def shows(self, client_order_id: str, order_id: str = "V1", **more: Any) -> None:
        self.live.on_order(self.shown(client_order_id, order_id, **more), self.now_us)

    def shown(
        self, client_order_id: str, order_id: str = "V1", *, filled_cx: int = 0, remaining_cx: int = 10,
        status: str = "resting", side: Side = YES, price_cc: int = 4_000, time_us: int | None = None, **more: Any,
    ) -> AccountOrder:  # fmt: skip
        order = AccountOrder(
            order_id, client_order_id, TICKER, int(side), yes_price_cc(side, price_cc), filled_cx + remaining_cx,
            filled_cx, remaining_cx, status, "", GROUP, 0, 0, None, self.now_us if time_us is None else time_us, False,
            False,
        )  # fmt: skip
        return msgspec.structs.replace(order, **more)

    def fills(self, count_cx: int, trade_id: str = "t1", client_order_id: str = "", **more: Any) -> None:
        fill = AccountFill(
            "V1", trade_id, client_order_id, TICKER, int(YES), 4_000, count_cx, False, 0, 0, 0, self.now_us, None
        )
        self.live.on_fill(msgspec.structs.replace(fill, **more), self.now_us)

    def group(self, event: str, *, is_triggered: bool | None = None, group_id: str = GROUP) -> None:
        self.live.on_group(AccountGroup(group_id, event, None, is_triggered, 0), self.now_us)

    def look(self, client_order_id: str, found: AccountOrder | None = None, *, lag_s: float = 0.0) -> None:
        """Look at an order by a read that shows everything up to `lag_s` ago."""
        self.live.looking(client_order_id, self.now_us)
        as_of_us = self.now_us - round(lag_s * SECOND_US)
        self.live.looked(client_order_id, found, as_of_us=as_of_us, now_us=self.now_us)

    # --- what it comes to ---------------------------------------------------------------------------------------------

    def resting(self) -> dict[str, int]:
        return {quote.client_order_id: quote.remaining_cx for quote in self.live.resting()}

    def resting_cx(self) -> int:
        return sum(self.resting().values())

    def unproven_cx(self) -> int:
        return sum(order.remaining_cx for order in self.live.unproven())

    def told(self) -> list[tuple[str, int, int]]:
        """Return what is told: (status, filled, remaining) of orders, ("fill", count, filled after it) of fills."""
        return [
            ("fill", event.count_cx, event.order.filled_cx)
            if isinstance(event, Fill)
            else (str(event.status), event.filled_cx, event.remaining_cx)
            for event in self.live.take()
        ]

    def last_order(self) -> Order:
        return [event for event in self.live.take() if isinstance(event, Order)][-1]

    def alerts(self) -> list[str]:
        return [alert.code for alert in self.live.take_alerts()]

    def restarted(self, *records: Record) -> LiveWorld:
        """Return the world of the next process, which knows the journal and these records."""
        owner = Owner(OWNER.installation, OWNER.trader, OWNER.epoch + 1)
        records_all = [*self.journal, *records]
        live = LiveOrders.recover(owner, TICKER, records_all, now_us=self.now_us, group_id="group-2")
        return LiveWorld(live, self.now_us)
