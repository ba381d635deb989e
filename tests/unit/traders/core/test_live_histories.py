"""Live orders against an exchange that loses, delays, repeats and lags, through a client that may crash at any line.

What may be wrong at no moment: an order sent twice, a fill booked twice or never made, an order called over that is
not, and less counted than the exchange may fill. Once all is quiet everything is known, and equal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from feed.schema import AccountFill, AccountOrder
from markets.core.units import Side
from tests.unit.traders.core.livevenue import TICKER, Message, Venue, VenueOrder
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Answered, Booked, Decrease, Ended, Intent, Outcome, Place, Record, Sent, Take
from traders.core.liveorders import Kept, LiveOrders
from traders.core.orderids import Owner
from traders.core.orders import Fill, OrderStatus
from traders.core.settling import MARGIN_US

SECOND_US = 1_000_000
PICKS = st.integers(0, 10_000)
PRICES = st.sampled_from([4_000, 4_100])
PAUSES = st.sampled_from([300, 1_000, 40_000, 1_500_000, 2_100_000, 2_100_000, 12_000_000, 61_000_000])
FATES = st.sampled_from(["rest", "rest", "rest", "rest", "part", "refuse", "cancel"])
WAYS = st.sampled_from([
    *["answered"] * 5, "written", "held", "sent", "sent", "arrived", "lost", "given up", "answer lost", "answer lost",
    "resent",
])  # fmt: skip
KINDS = [
    *["place", "place", "brief", "take", "cancel", "decrease", "decrease", "renew", "renew"],
    *["fill", "fill", "person", "person", "hear", "hear", "hear", "go_on", "go_on", "settle", "settle"],
]
LAGS_US = (0, 0, 0, 500, 1_200_000, 2_500_000, 3_300_000, 4_100_000, 30_000_000)
STEPS = st.fixed_dictionaries({
    "kind": st.sampled_from(KINDS), "side": st.sampled_from(Side), "price": PRICES, "count": st.integers(2, 9),
    "pick": PICKS, "way": WAYS, "fate": FATES,
})  # fmt: skip
Key = tuple[Side, int]


@dataclass
class Request:
    """One on its way: applied once it has an answer; `left_us` when the client gave it up."""

    intent: Intent
    group_id: str
    answer: Answered | None = None
    left_us: int | None = None


class LiveHistories(RuleBasedStateMachine):
    """A client that does what `traders.core.liveorders` says a client has to do, and a network that does not."""

    @initialize()
    def begin(self) -> None:
        self.venue = Venue()
        self.epoch, self.group_id = 1, "group-1"
        self.live = LiveOrders(Owner(7, 3, 1), TICKER, group_id="group-1")
        self.journal: list[Record] = []
        self.kept, self.kept_at = Kept(), 0
        self.unsent: list[Intent] = []
        self.requests: list[Request] = []
        self.creates: Counter[str] = Counter()
        self.wished: dict[str, Place | Take] = {}
        self.booked: Counter[tuple[str, str]] = Counter()
        self.booked_cx: Counter[str] = Counter()
        self.delivered: list[Message] = []
        self.missed: set[str] = set()
        self.position_cx = 0
        self.ended: dict[str, OrderStatus] = {}

    # --- the client ---------------------------------------------------------------------------------------------------

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
            elif event.status is OrderStatus.RESTING:
                self.ended.pop(event.client_order_id, None)
            else:
                self.ended[event.client_order_id] = event.status
                self.journal.append(
                    Ended(event.client_order_id, event.order_id, event.filled_cx, event.status, event.reason)
                )

    def wishes(self, command: Any, way: str, fate: str) -> None:
        found = self.live.wish(command, self.now_us)
        if isinstance(found, Intent):
            self.wrote(found)
            self.goes(found, way, fate)

    def wrote(self, intent: Intent) -> None:
        self.journal.append(intent)
        if isinstance(intent.wish, Place | Take):
            self.wished[intent.client_order_id] = intent.wish
        self.unsent.append(intent)

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

    def answer(self, answer: Answered) -> None:
        self.journal.append(answer)
        self.live.answered(answer)
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
        self.venue.now_us += us
        self.venue.expire()
        stale = [r for r in self.requests if r.left_us is not None and r.left_us + MARGIN_US < self.now_us]
        self.requests = [r for r in self.requests if r not in stale]

    # --- rules: wishes ------------------------------------------------------------------------------------------------

    @rule(steps=st.lists(STEPS, min_size=3, max_size=12))
    def trade(self, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            self.one_step(**step)

    @rule(steps=st.lists(STEPS, min_size=3, max_size=12))
    def trade_on(self, steps: list[dict[str, Any]]) -> None:
        self.trade(steps)

    @rule(steps=st.lists(STEPS, min_size=3, max_size=12))
    def trade_more(self, steps: list[dict[str, Any]]) -> None:
        self.trade(steps)

    def one_step(self, kind: str, **step: Any) -> None:
        """Do one thing of the everyday, and look at what must be so."""
        happening = getattr(self, f"step_{kind}", None)
        if happening is not None:
            happening(**step)
        else:
            command = self.command(kind, **step)
            is_smooth = isinstance(command, PlaceOrder) and step["pick"] % 3
            if command is not None:
                self.wishes(command, "answered" if is_smooth else step["way"], step["fate"])
        self.look_at_what_must_be_so()

    def command(self, kind: str, side: Side, price: int, count: int, pick: int, **_: str) -> Command | None:
        if kind in ("place", "brief"):
            expires_us = self.now_us + 120 * SECOND_US if kind == "brief" else None
            return PlaceOrder(side, price, count, expires_us)
        if kind == "take":
            return None if self.live.is_taking else TakeOrder(side, price, count)
        ours = [quote.client_order_id for quote in self.live.resting()]
        if kind == "cancel" and self.wished:
            ours = ours or list(self.wished)
            return CancelOrder(ours[pick % len(ours)], "test")
        if not ours:
            return PlaceOrder(side, price, count)
        one = ours[pick % len(ours)]
        if kind == "decrease":
            return DecreaseOrder(one, 1 + count // 3)
        return RenewOrder(one, self.now_us + count * 60 * SECOND_US)

    @rule(way=WAYS)
    def repeat_cancels(self, way: str) -> None:
        for intent in self.live.due_cancels(self.now_us):
            self.wrote(intent)
            self.goes(intent, way, "rest")

    @precondition(lambda self: self.unsent)
    @rule(pick=PICKS, way=WAYS, fate=FATES)
    def send(self, pick: int, way: str, fate: str) -> None:
        self.goes(self.unsent[pick % len(self.unsent)], way, fate)

    # --- rules: the network -------------------------------------------------------------------------------------------

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

    def step_go_on(self, pick: int, fate: str, way: str, **_: Any) -> None:
        """Let something that is on its way come further, or be given up."""
        if not self.requests:
            return
        request = self.requests[pick % len(self.requests)]
        if request.left_us is None and way in ("lost", "given up", "answer lost"):
            self.gives_up(request, is_lost=way == "lost")
        elif request.answer is None:
            self.arrives(request, fate)
        else:
            self.hears_answer(request)

    def step_hear(self, pick: int, count: int, side: Side, **_: Any) -> None:
        """Hear some messages: in order, out of order, twice, without our ids, or not at all."""
        messages = self.venue.messages
        how = ("next", "next", "next", "any", "any", "copy", "drop")[pick % 7]
        for _number in range(min(count, len(messages))):
            at = 0 if how == "next" else pick % len(messages)
            message = messages[at] if how == "copy" else messages.pop(at)
            if how == "drop" and not (isinstance(message, AccountOrder) and message.client_order_id == "person"):
                continue
            if side is Side.NO and isinstance(message, AccountFill | AccountOrder):
                message = msgspec.structs.replace(message, client_order_id="")
            self.delivered.append(message)
            self.deliver(message)
            self.note()

    @precondition(lambda self: self.delivered)
    @rule(pick=PICKS)
    def hear_again(self, pick: int) -> None:
        self.deliver(self.delivered[pick % len(self.delivered)])
        self.note()

    # --- rules: the exchange ------------------------------------------------------------------------------------------

    def resting(self, pick: int) -> VenueOrder | None:
        found = [order for order in self.venue.orders.values() if order.status == "resting"]
        return found[pick % len(found)] if found else None

    def step_fill(self, pick: int, count: int, **_: Any) -> None:
        order = self.resting(pick)
        if order is not None and not self.venue.is_closed:
            self.venue.fill(order, min(count, order.live_cx))

    def step_person(self, pick: int, count: int, **_: Any) -> None:
        """Cancel an order by hand, or make it smaller; nobody is as fast as a millisecond."""
        order, left_cx = self.resting(pick), count // 3
        if order is None:
            return
        self.venue.now_us += 1_000
        if not left_cx or left_cx >= order.live_cx:
            self.venue.cancel(order)
        else:
            self.venue.carry_out(_by_hand(order, left_cx), "")
        self.venue.now_us += 1_000

    @rule(us=PAUSES)
    def wait(self, us: int) -> None:
        self.pass_time(us)

    @rule(what=st.sampled_from([*["", "", ""], "strange", "person places", "closed", "paused", "trigger"]), pick=PICKS)
    def something_rare(self, what: str, pick: int) -> None:
        self.market(what)
        if what == "trigger" and pick % 3 == 0:
            self.venue.trigger(self.group_id)
        elif what == "person places":
            self.venue.place_external(Side(pick % 2), 4_000, 1 + pick % 9)
        elif what == "strange":
            self.hear_a_strange_word(pick)

    def market(self, what: str) -> None:
        self.venue.is_closed, self.venue.is_paused = what == "closed", what == "paused"

    def hear_a_strange_word(self, pick: int) -> None:
        ours = [order for order in self.venue.orders.values() if order.client_order_id in self.wished]
        if ours:
            shown = ours[pick % len(ours)].shown()
            self.deliver(msgspec.structs.replace(shown, status="pending", time_us=self.now_us))
            self.note()

    # --- rules: settling ----------------------------------------------------------------------------------------------

    def step_settle(self, pick: int, count: int, **_: Any) -> None:
        """Look at what is due, some times, by reads that lag differently, and let requests arrive late in between."""
        for number in range(count // 2):
            lag_us = LAGS_US[(pick + number * (pick // 97)) % len(LAGS_US)]
            for one in self.live.due_looks(self.now_us):
                self.looks(one, self.now_us - lag_us, is_blind=pick % 11 == 0)
            self.pass_time(1_050_000)
            if pick % 2:
                self.step_go_on(pick=pick // 2, fate="rest", way="answered")
            self.pass_time(1_000_000)

    @precondition(lambda self: self.wished)
    @rule(pick=PICKS, lag=st.sampled_from(LAGS_US))
    def look_at_any(self, pick: int, lag: int) -> None:
        self.looks(list(self.wished)[pick % len(self.wished)], self.now_us - lag)

    @rule()
    def overdue(self) -> None:
        if self.live.overdue(self.now_us):
            assert self.live.fenced
            self.venue.trigger(self.group_id)
        assert not self.live.overdue(self.now_us)

    @rule()
    def keep_checkpoint(self) -> None:
        self.kept = msgspec.json.decode(msgspec.json.encode(self.live.kept()), type=Kept)
        self.kept_at = len(self.journal)

    @precondition(lambda self: self.wished)
    @rule(pick=PICKS, is_torn=st.booleans(), overlap=st.sampled_from([0, 0, 3, 1_000]), luck=st.integers(0, 3))
    def restart(self, pick: int, is_torn: bool, overlap: int, luck: int) -> None:
        """Crash, perhaps after a message was taken in and before anything of it was written down."""
        if luck and not self.live.fenced:
            return
        if is_torn and self.venue.messages:
            self.deliver(self.venue.messages[pick % len(self.venue.messages)])
        self.unsent.clear()
        self.delivered.clear()  # a stream is read on from its last whole entry, which has outsiders as they are
        self.venue.messages[:] = [m for m in self.venue.messages if getattr(m, "client_order_id", "") != "person"]
        for request in self.requests:
            request.left_us = self.now_us if request.left_us is None else request.left_us
        self.requests = [r for r in self.requests if r.answer is None]
        self.epoch += 1
        self.group_id = f"group-{self.epoch}"
        records = msgspec.msgpack.decode(
            msgspec.msgpack.encode(self.journal[max(0, self.kept_at - overlap) :]), type=list[Record]
        )
        self.live = LiveOrders.recover(
            Owner(7, 3, self.epoch), TICKER, records, now_us=self.now_us, group_id=self.group_id, kept=self.kept
        )
        self.note()
        self.live.on_whole([o.shown() for o in self.venue.orders.values() if o.status == "resting"], self.now_us)
        self.note()

    # --- what must be so ----------------------------------------------------------------------------------------------

    @invariant()
    def look_at_what_must_be_so(self) -> None:
        self.every_wish_is_sent_once()
        self.every_fill_is_booked_once_at_most()
        self.no_less_is_counted_than_could_fill()
        self.what_is_told_as_over_is_over()

    def every_wish_is_sent_once(self) -> None:
        assert all(times == 1 for times in self.creates.values())
        ours = [o for o in self.venue.orders.values() if o.client_order_id in self.wished]
        assert len({o.client_order_id for o in ours}) == len(ours)
        assert all(o.total_cx <= self.wished[o.client_order_id].count_cx for o in ours)

    def every_fill_is_booked_once_at_most(self) -> None:
        made = {(fill.order_id, fill.trade_id) for fill in self.venue.fills if fill.client_order_id in self.wished}
        assert set(self.booked) <= made
        assert all(times == 1 for times in self.booked.values())

    def could_fill(self) -> Counter[Key]:
        """Return what may yet be added to the position, by the exchange's own ledger and the wire."""
        found: Counter[Key] = Counter()
        for order in self.venue.orders.values():
            if order.client_order_id in self.wished:
                booked_cx = self.booked_cx[order.order_id]
                found[order.side, order.price_cc] += order.live_cx + order.filled_cx - booked_cx
        for request in self.requests:
            wish = request.intent.wish
            if request.answer is None and isinstance(wish, Place | Take):
                found[wish.side, wish.limit_cc if isinstance(wish, Take) else wish.price_cc] += wish.count_cx
        return found

    def no_less_is_counted_than_could_fill(self) -> None:
        counted: Counter[Key] = Counter()
        for one in (*self.live.resting(), *self.live.unproven()):
            assert one.remaining_cx > 0
            counted[one.side, one.price_cc] += one.remaining_cx
        could = self.could_fill()
        assert all(counted[key] >= could[key] for key in could), (counted, could)

    def what_is_told_as_over_is_over(self) -> None:
        """What is over rests nowhere, cannot arrive any more, and all of its fills are booked."""
        arriving = {
            request.intent.client_order_id
            for request in self.requests
            if request.answer is None and isinstance(request.intent.wish, Place | Take)
        }
        assert not arriving & set(self.ended)
        for order in self.venue.orders.values():
            if order.client_order_id in self.ended:
                assert order.status != "resting"
                assert self.booked_cx[order.order_id] == order.filled_cx

    # --- how it comes to rest -----------------------------------------------------------------------------------------

    @rule(has_channel=st.booleans())
    def come_to_rest(self, has_channel: bool) -> None:
        """Let everything arrive, or be given up; look at what is in doubt; then all must be known, and equal."""
        self.market("open")
        while self.unsent:
            self.sends(self.unsent.pop())
        while self.requests:
            request = self.requests.pop()
            if request.answer is None:
                request.answer = self.venue.carry_out(request.intent, request.group_id)
            if request.left_us is None:
                self.answer(msgspec.structs.replace(request.answer, at_us=self.now_us))
        while has_channel and self.venue.messages:
            self.deliver(self.venue.messages.pop(0))
            self.note()
        self.live.suspect(self.now_us)
        for _ in range(12):
            self.pass_time(16 * SECOND_US)
            self.repeat_cancels("answered")
            for one in self.live.due_looks(self.now_us):
                self.looks(one, self.now_us)
            is_expiring = any(q.expires_us is not None and q.expires_us <= self.now_us for q in self.live.resting())
            if not self.live.unsettled() and not is_expiring:
                break
        self.everything_is_known_and_equal()
        if has_channel:
            people = [o for o in self.venue.orders.values() if o.client_order_id == "person" and o.status == "resting"]
            assert Counter((o.side, o.price_cc, o.live_cx) for o in people) == Counter(
                (o.side, o.price_cc, o.remaining_cx) for o in self.live.external()
            )

    def everything_is_known_and_equal(self) -> None:
        assert not self.live.unsettled()
        assert not self.live.unproven()
        assert self.position_cx == self.venue.position_cx(set(self.wished))
        ours = [o for o in self.venue.orders.values() if o.client_order_id in self.wished and o.status == "resting"]
        told = {q.client_order_id: (q.side, q.price_cc, q.remaining_cx) for q in self.live.resting()}
        assert told == {o.client_order_id: (o.side, o.price_cc, o.live_cx) for o in ours}
        assert set(self.ended) | set(told) == set(self.wished)  # every wish is explained
        assert not set(self.ended) & set(told)
        for client_order_id, status in self.ended.items():
            order = self.venue.of(client_order_id)
            assert (status is OrderStatus.REFUSED) == (order is None)

    def teardown(self) -> None:
        if hasattr(self, "venue"):
            self.come_to_rest(has_channel=True)


def _by_hand(order: VenueOrder, left_cx: int) -> Intent:
    total_cx = order.filled_cx + left_cx
    return Intent(0, order.client_order_id, Decrease(order.order_id, order.side, order.price_cc, total_cx, 0), 0)


class LongLiveHistories(LiveHistories):
    """The same, for longer."""


SETTINGS = settings(stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestLiveHistories = LiveHistories.TestCase
TestLiveHistories.settings = settings(SETTINGS, max_examples=120)
TestLongLiveHistories = pytest.mark.long(LongLiveHistories.TestCase)
TestLongLiveHistories.settings = settings(SETTINGS, max_examples=600, stateful_step_count=60)
