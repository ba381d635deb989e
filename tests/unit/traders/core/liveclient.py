"""A client that does what `traders.core.liveorders` says a client has to do, and a network that does not.

It writes down, sends, looks, and can crash; requests can be lost before or after the exchange carried them out, and
arrive after they were given up. What it counts is compared with the exchange's own ledger.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from feed.schema import AccountFill, AccountOrder
from markets.core.orderids import Owner
from markets.core.units import Side
from tests.unit.traders.core.livevenue import PERSON, TICKER, Message, Venue
from traders.core.commands import Command
from traders.core.intents import Answered, Booked, Intent, Outcome, Place, Record, Sent, Take, Told
from traders.core.liveorders import Kept, LiveOrders
from traders.core.orders import Fill, OrderStatus
from traders.core.settling import MARGIN_US

SECOND_US = 1_000_000
Key = tuple[Side, int]


@dataclass
class Request:
    """One on its way: applied once it has an answer; `left_us` when the client gave it up."""

    intent: Intent
    group_id: str
    answer: Answered | None = None
    left_us: int | None = None

    @property
    def creates(self) -> Place | Take | None:
        """What it may yet place."""
        wish = self.intent.wish
        return wish if self.answer is None and isinstance(wish, Place | Take) else None


class LiveClient:
    """One trader, over all of its processes."""

    def start(self) -> None:
        self.venue = Venue()
        self.epoch, self.group_id = 1, "group-1"
        self.live = LiveOrders(Owner(7, 3, 1), TICKER, group_id="group-1")
        self.journal: list[Record] = []
        self.kept, self.kept_at = Kept(), 0
        self.unsent: list[Intent] = []
        self.requests: list[Request] = []
        self.delivered: list[Message] = []
        self.missed: set[str] = set()
        self.wished: dict[str, Place | Take] = {}
        self.creates: Counter[str] = Counter()
        self.booked: Counter[tuple[str, str]] = Counter()
        self.booked_cx: Counter[str] = Counter()
        self.position_cx = 0
        self.ended: dict[str, OrderStatus] = {}

    @property
    def now_us(self) -> int:
        return self.venue.now_us

    def note(self) -> None:
        """Write down what is told, as the journal does."""
        for event in self.live.take():
            if isinstance(event, Fill):
                order = event.order
                self.journal.append(Booked(order.client_order_id, order.order_id, event.trade_id, event.count_cx))
                self.booked[order.order_id, event.trade_id] += 1
                self.booked_cx[order.order_id] += event.count_cx
                self.position_cx += event.count_cx if order.side is Side.YES else -event.count_cx
                continue
            told = Told(event.client_order_id, event.order_id, event.filled_cx, event.status, event.reason)
            self.journal.append(told)
            if event.status is OrderStatus.RESTING:
                self.ended.pop(event.client_order_id, None)
            else:
                self.ended[event.client_order_id] = event.status

    # --- wishes and requests ------------------------------------------------------------------------------------------

    def wishes(self, command: Command, way: str, fate: str) -> None:
        found = self.live.wish(command, self.now_us)
        if isinstance(found, Intent):
            self.wrote(found)
            self.goes(found, way, fate)

    def wrote(self, intent: Intent) -> None:
        self.journal.append(intent)
        if isinstance(intent.wish, Place | Take):
            self.wished[intent.client_order_id] = intent.wish
        self.unsent.append(intent)

    def goes(self, intent: Intent, way: str, fate: str) -> None:
        """Let an intent come as far as `way` says."""
        if way == "written":
            return
        self.unsent.remove(intent)
        if way == "held":
            self.answer(Answered(intent.number, self.now_us, Outcome.NOT_SENT, "held back"))
            return
        request = self.sends(intent)
        if request is None or way == "sent":
            return
        if way in ("lost", "given up"):
            self.gives_up(request, is_lost=way == "lost")
            return
        self.arrives(request, fate, is_resent=way == "resent")
        if way in ("answered", "resent"):
            self.hears_answer(request)
        elif way == "answer lost":
            self.gives_up(request, is_lost=False)

    def sends(self, intent: Intent) -> Request | None:
        mark = self.live.send(intent.number, self.now_us)
        self.journal.append(mark)
        self.note()
        if not isinstance(mark, Sent):
            return None
        if isinstance(intent.wish, Place | Take):
            assert not self.live.fenced
            self.creates[intent.client_order_id] += 1
        with pytest.raises(ValueError, match="not again"):
            self.live.send(intent.number, self.now_us)
        self.requests.append(Request(intent, self.group_id))
        return self.requests[-1]

    def arrives(self, request: Request, fate: str, *, is_resent: bool = False) -> None:
        as_amend = fate != "part"
        request.answer = self.venue.carry_out(request.intent, request.group_id, fate=fate, as_amend=as_amend)
        if is_resent and isinstance(request.intent.wish, Place | Take):
            request.answer = self.venue.carry_out(request.intent, request.group_id, fate=fate)
        if request.left_us is not None:
            self.requests.remove(request)

    def hears_answer(self, request: Request) -> None:
        self.requests.remove(request)
        assert request.answer is not None
        self.answer(msgspec.structs.replace(request.answer, at_us=self.now_us))

    def gives_up(self, request: Request, *, is_lost: bool) -> None:
        if request.answer is not None or is_lost:
            self.requests.remove(request)
        request.left_us = self.now_us
        self.answer(Answered(request.intent.number, self.now_us, Outcome.UNKNOWN, "timed out"))

    def answer(self, answer: Answered) -> None:
        self.journal.append(answer)
        self.live.answered(answer)
        self.note()

    # --- what it hears and sees ---------------------------------------------------------------------------------------

    def hears(self, message: Message) -> None:
        self.deliver(message)
        self.note()

    def deliver(self, message: Message) -> None:
        if isinstance(message, AccountOrder):
            self.live.on_order(message, self.now_us)
        elif isinstance(message, AccountFill):
            self.live.on_fill(message, self.now_us)
        else:
            self.live.on_group(message, self.now_us)

    def looks(self, client_order_id: str, as_of_us: int, *, is_blind: bool = False) -> None:
        """Look at an order. A blind look does not find what it should; that happens once to an order at most."""
        self.live.looking(client_order_id, self.now_us)
        found = next((o for o in self.venue.read(as_of_us).values() if o.client_order_id == client_order_id), None)
        if is_blind and client_order_id not in self.missed:
            found = None
            self.missed.add(client_order_id)
        if found is not None:
            for fill in self.venue.read_fills(as_of_us, found.order_id):
                self.live.on_fill(fill, self.now_us)
        shown = found and found.shown(is_read=True)
        self.live.looked(client_order_id, shown, as_of_us=as_of_us, now_us=self.now_us)
        self.note()

    def pass_time(self, us: int) -> None:
        """Let time pass; what was given up arrives within the margin, or never."""
        self.venue.now_us += us
        self.venue.expire()
        self.requests = [r for r in self.requests if r.left_us is None or r.left_us + MARGIN_US >= self.now_us]

    def repeat_cancels(self, way: str) -> None:
        for intent in self.live.due_cancels(self.now_us):
            self.wrote(intent)
            self.goes(intent, way, "rest")

    # --- crashes ------------------------------------------------------------------------------------------------------

    def keeps(self) -> None:
        """Write a checkpoint."""
        self.kept = msgspec.json.decode(msgspec.json.encode(self.live.kept()), type=Kept)
        self.kept_at = len(self.journal)

    def crashes(self, overlap: int) -> None:
        """Begin anew under the next lease, from the checkpoint and the records since shortly before it."""
        self.unsent.clear()
        self.delivered.clear()  # a stream is read on from its last whole entry, which has outsiders as they are
        self.venue.messages[:] = [m for m in self.venue.messages if getattr(m, "client_order_id", "") != PERSON]
        for request in self.requests:
            request.left_us = self.now_us if request.left_us is None else request.left_us
        self.requests = [r for r in self.requests if r.answer is None]
        self.epoch += 1
        self.group_id = f"group-{self.epoch}"
        content = msgspec.msgpack.encode(self.journal[max(0, self.kept_at - overlap) :])
        self.live = LiveOrders.recover(
            Owner(7, 3, self.epoch),
            TICKER,
            msgspec.msgpack.decode(content, type=list[Record]),
            now_us=self.now_us,
            group_id=self.group_id,
            kept=self.kept,
        )
        self.note()
        whole = [order.shown() for order in self.venue.orders.values() if order.status == "resting"]
        self.live.on_whole(whole, told_us=self.now_us, now_us=self.now_us)
        self.note()

    # --- rest ---------------------------------------------------------------------------------------------------------

    def everything_arrives(self, *, has_channel: bool) -> None:
        while self.unsent:
            self.sends(self.unsent.pop())
        while self.requests:
            request = self.requests.pop()
            if request.answer is None:
                request.answer = self.venue.carry_out(request.intent, request.group_id)
            if request.left_us is None:
                self.answer(msgspec.structs.replace(request.answer, at_us=self.now_us))
        while has_channel and self.venue.messages:
            self.hears(self.venue.messages.pop(0))

    def settles(self) -> None:
        """Look at everything until nothing is in doubt."""
        self.live.suspect(self.now_us)
        for _ in range(12):
            self.pass_time(16 * SECOND_US)
            self.repeat_cancels("answered")
            for one in self.live.due_looks(self.now_us):
                self.looks(one, self.now_us)
            is_expiring = any(q.expires_us is not None and q.expires_us <= self.now_us for q in self.live.resting())
            if not self.live.unsettled() and not is_expiring:
                return

    # --- what is compared ---------------------------------------------------------------------------------------------

    def counted(self) -> Counter[Key]:
        """Return what the trader's limits count, by side and price."""
        found: Counter[Key] = Counter()
        for one in (*self.live.resting(), *self.live.unproven()):
            assert one.remaining_cx > 0
            found[one.side, one.price_cc] += one.remaining_cx
        return found

    def could_fill(self) -> Counter[Key]:
        """Return what may yet be added to the position, by the exchange's own ledger and the wire."""
        found: Counter[Key] = Counter()
        for order in self.venue.orders.values():
            if order.client_order_id in self.wished:
                unbooked_cx = order.filled_cx - self.booked_cx[order.order_id]
                found[order.side, order.price_cc] += order.live_cx + unbooked_cx
        for wish in (request.creates for request in self.requests):
            if wish is not None:
                found[wish.side, wish.limit_cc if isinstance(wish, Take) else wish.price_cc] += wish.count_cx
        return found

    def externals(self) -> Counter[Any]:
        people = [o for o in self.venue.orders.values() if o.client_order_id == PERSON and o.status == "resting"]
        return Counter((o.side, o.price_cc, o.live_cx) for o in people)
