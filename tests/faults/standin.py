"""A trader by hand in the place of a process: it writes its journal and sends its orders as it is told, right or wrong.

With it rig and judge are proven without the product: an honest one must pass, a dishonest one must be found out.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import redis.asyncio as redis_async

from feed.schema import (
    INTEREST,
    INTEREST_LEASE_S,
    VERSION,
    Decision,
    FillState,
    JournalBody,
    JournalEntry,
    OrderAnswer,
    OrderIntent,
    OrderSent,
    OrderState,
    TraderView,
    interest_member,
)
from markets.core.orderids import Owner
from tests.faults.base import HEAL_S, POLL_S
from tests.faults.hands import Reply
from tests.faults.invariants import ENDS, Party
from tests.faults.ledger import CREATE, FillAt, OrderAt
from tests.faults.livetrader import LiveTrader
from tests.faults.told import Basis
from traders.journal import Journal


class StandIn(LiveTrader):
    """It lives from its start to its end; nothing of it happens by itself."""

    def start(self, *, desired: str = "running") -> None:
        del desired
        self._lease()
        self._names = Owner(self.rig.installation, self.number, self.epoch)
        self._journal = Journal(self.folder / "journal", first_number=0)
        self._intents = 0
        self._is_alive = True
        self._since = self.rig.fetch().last_number
        self._position_cx = 0

    def end(self) -> None:
        self._is_alive = False
        self._journal.close()

    def party(self) -> Party:
        party = super().party()
        party.epoch = self.epoch if self._is_alive else None
        return party

    def view(self) -> TraderView | None:
        return None

    # ---- what it is told to do ---------------------------------------------------------------------------------------

    def place(self, side: int, price_cc: int, count_cx: int) -> OrderAt:
        """Place an order as a trader should: decided on a book, on record first, sent once, its answer written down."""
        self.decide(self.book())
        number = self.wish("place", side=side, price_cc=price_cc, count_cx=count_cx)
        self.note(OrderSent(number, _now_us()))
        reply = self.post(number, side, price_cc, count_cx)
        assert reply.status == 201, reply
        self.note(OrderAnswer(number, _now_us(), "accepted", order_id=reply.body["order_id"]))
        self.catch_up()
        return self.rig.ledger.orders[reply.body["order_id"]][-1]

    def cancel(self, order: OrderAt) -> None:
        number = self.wish("cancel", client_order_id=order.client_order_id, order_id=order.order_id)
        self.note(OrderSent(number, _now_us()))
        self.rig.owner.must("DELETE", f"{CREATE}/{order.order_id}", exchange_index=0, market_ticker=self.ticker)
        self.note(OrderAnswer(number, _now_us(), "accepted"))
        self.catch_up()

    def book(self) -> Basis:
        """Return what the market's newest good book rests on, as the gateway tells it to whoever wants it."""
        member = interest_member(self.ticker, f"trader:{self.number}")
        self.rig.redis.zadd(INTEREST, {member: time.time() + INTEREST_LEASE_S})
        give_up = time.monotonic() + HEAL_S
        while (basis := self.rig.listen().newest(self.ticker)) is None:
            assert time.monotonic() < give_up, f"nobody tells the book of {self.ticker}"
            time.sleep(POLL_S)
        return basis

    def decide(self, basis: Basis) -> None:
        self.note(Decision("by hand", {"basis": basis}, 0))

    def wish(self, verb: str, *, client_order_id: str = "", **fields: Any) -> int:
        self._intents += 1
        name = client_order_id or self._names.client_order_id(self._intents)
        self.note(OrderIntent(self._intents, name, verb, _now_us(), **fields))
        return self._intents

    def post(self, number: int, side: int, price_cc: int, count_cx: int) -> Reply:
        """Send the create of an intent, whether or not anything is on record."""
        yes_cc = price_cc if side == 0 else 10_000 - price_cc
        body = {
            "ticker": self.ticker, "client_order_id": self._names.client_order_id(number),
            "side": "bid" if side == 0 else "ask", "count": f"{count_cx // 100}.{count_cx % 100:02}",
            "price": f"0.{yes_cc:04}", "time_in_force": "good_till_canceled", "post_only": True,
            "self_trade_prevention_type": "taker_at_cross", "order_group_id": self.group_id, "exchange_index": 0,
        }  # fmt: skip
        return self.rig.owner.ask("POST", CREATE, body)

    def catch_up(self) -> None:
        """Write down what has become of its orders, as the exchange tells it, and send the journal off."""
        owns = super().party().owns
        for moment in self.rig.fetch().moments:
            if moment.number > self._since and owns(moment.client_order_id):
                self.note(self._fill(moment) if isinstance(moment, FillAt) else _state(moment))
        self._since = self.rig.ledger.last_number
        self.publish()

    def _fill(self, fill: FillAt) -> FillState:
        self._position_cx += fill.count_cx if fill.side == 0 else -fill.count_cx
        return FillState(
            fill.client_order_id, fill.order_id, fill.trade_id, fill.side, fill.price_cc, fill.count_cx, fill.is_taker,
            fill.fee_ud, self._position_cx, inferred=False,
        )  # fmt: skip

    def note(self, body: JournalBody) -> None:
        """Write one line."""
        number = self._journal.last_number + 1
        self._journal.append(
            JournalEntry(VERSION, self.number, number, _now_us(), self.rig.account, "live", self.ticker, body)
        )

    def publish(self) -> None:
        async def send() -> None:
            client = redis_async.Redis.from_url(self.rig.valkey.url)
            await self._journal.send(client)
            await client.aclose()

        asyncio.run(send())


def _state(order: OrderAt) -> OrderState:
    status = ENDS.get(order.status, order.status)
    return OrderState(
        order.client_order_id, order.order_id, order.side, order.price_cc, order.initial_cx, order.filled_cx,
        order.remaining_cx, status, order.reason,
    )  # fmt: skip


def _now_us() -> int:
    return time.time_ns() // 1_000
