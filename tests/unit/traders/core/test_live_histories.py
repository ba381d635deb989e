"""Live orders against an exchange that loses, delays, repeats and lags, through a client that may crash at any line.

What may be wrong at no moment: an order sent twice, a fill booked twice or never made, an order called over that is
not, and less counted than the exchange may fill (I1, I3, I4; B15, C1 to C13, C16, C18, C19, A2, A3, F4, F5, F11).
Once all is quiet everything is known, and equal.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from feed.schema import AccountFill, AccountOrder
from markets.core.units import Side
from tests.unit.traders.core.liveclient import SECOND_US, LiveClient
from tests.unit.traders.core.livevenue import PERSON, VenueOrder
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.orders import OrderStatus

PICKS = st.integers(0, 10_000)
PAUSES = st.sampled_from([300, 1_000, 40_000, 1_500_000, 2_100_000, 2_100_000, 12_000_000, 61_000_000])
LAGS_US = (0, 0, 0, 500, 1_200_000, 2_500_000, 3_300_000, 4_100_000, 30_000_000)
FATES = (*["rest"] * 6, "part", "refuse", "cancel")
WAYS = (
    *["answered"] * 6, "written", "held", "sent", "sent", "arrived", "lost", "given up", "answer lost", "answer lost",
    "resent",
)  # fmt: skip
KINDS = (
    *["place", "place", "brief", "take", "cancel", "decrease", "decrease", "renew", "renew"],
    *["fill", "fill", "person", "person", "hear", "hear", "hear", "go_on", "go_on", "settle", "settle"],
)
RARE = ("", "", "", "strange", "person places", "person places", "closed", "paused", "trigger")
# Steps are drawn evenly: what a history is worth lies in how differently they follow each other.
SEEDS, LENGTHS = st.integers(0, 1 << 32), st.integers(4, 16)


class LiveHistories(LiveClient, RuleBasedStateMachine):
    """The everyday in steps, many at a time; what is rare in rules of its own."""

    @initialize()
    def begin(self) -> None:
        self.start()

    # --- the everyday -------------------------------------------------------------------------------------------------

    @rule(seed=SEEDS, length=LENGTHS)
    def trade(self, seed: int, length: int) -> None:
        chance = random.Random(seed)
        for _ in range(length):
            step = {
                "kind": chance.choice(KINDS), "side": chance.choice(list(Side)), "price": chance.choice([4_000, 4_100]),
                "count": chance.randint(2, 9), "pick": chance.randrange(10_000), "way": chance.choice(WAYS),
                "fate": chance.choice(FATES),
            }  # fmt: skip
            note(f"    {step}")
            self.one_step(**step)

    @rule(seed=SEEDS, length=LENGTHS)
    def trade_on(self, seed: int, length: int) -> None:
        self.trade(seed, length)  # a history without trading, where the other is switched off, is a waste

    @rule(seed=SEEDS, length=LENGTHS)
    def trade_more(self, seed: int, length: int) -> None:
        self.trade(seed, length)

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
            if how == "drop" and not (isinstance(message, AccountOrder) and message.client_order_id == PERSON):
                continue
            if side is Side.NO and isinstance(message, AccountFill | AccountOrder):
                message = msgspec.structs.replace(message, client_order_id="")
            self.delivered.append(message)
            self.hears(message)

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
            self.venue.reduce(order, left_cx)
        self.venue.now_us += 1_000

    # --- what is rare -------------------------------------------------------------------------------------------------

    @rule(us=PAUSES)
    def wait(self, us: int) -> None:
        self.pass_time(us)

    @precondition(lambda self: self.delivered)
    @rule(pick=PICKS)
    def hear_again(self, pick: int) -> None:
        self.hears(self.delivered[pick % len(self.delivered)])

    @precondition(lambda self: self.wished)
    @rule(pick=PICKS, lag=st.sampled_from(LAGS_US))
    def look_at_any(self, pick: int, lag: int) -> None:
        self.looks(list(self.wished)[pick % len(self.wished)], self.now_us - lag)

    @precondition(lambda self: self.unsent)
    @rule(pick=PICKS, way=st.sampled_from(WAYS))
    def send(self, pick: int, way: str) -> None:
        self.goes(self.unsent[pick % len(self.unsent)], way, "rest")

    @rule(way=st.sampled_from(WAYS), is_all=st.booleans())
    def cancel_more(self, way: str, is_all: bool) -> None:
        if is_all:
            for intent in self.live.cancel_all("pause", self.now_us):
                self.wrote(intent)
        self.repeat_cancels(way)

    @rule(what=st.sampled_from(RARE), pick=PICKS)
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
            self.hears(msgspec.structs.replace(shown, status="pending", time_us=self.now_us))

    @rule()
    def overdue(self) -> None:
        if self.live.overdue(self.now_us):
            assert self.live.fenced
            self.venue.trigger(self.group_id)
        assert not self.live.overdue(self.now_us)

    @rule()
    def keep_checkpoint(self) -> None:
        self.keeps()

    @precondition(lambda self: self.wished)
    @rule(pick=PICKS, is_torn=st.booleans(), overlap=st.sampled_from([0, 0, 3, 1_000]), luck=st.integers(0, 3))
    def restart(self, pick: int, is_torn: bool, overlap: int, luck: int) -> None:
        """Crash, perhaps after a message was taken in and before anything of it was written down."""
        if luck and not self.live.fenced:
            return
        if is_torn and self.venue.messages:
            self.deliver(self.venue.messages[pick % len(self.venue.messages)])
        self.crashes(overlap)

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

    def no_less_is_counted_than_could_fill(self) -> None:
        counted, could = self.counted(), self.could_fill()
        assert all(counted[key] >= could[key] for key in could), (counted, could)

    def what_is_told_as_over_is_over(self) -> None:
        """What is over rests nowhere, cannot arrive any more, and all of its fills are booked."""
        assert not self.ended.keys() & {r.intent.client_order_id for r in self.requests if r.creates is not None}
        for order in self.venue.orders.values():
            if order.client_order_id in self.ended:
                assert order.status != "resting"
                assert self.booked_cx[order.order_id] == order.filled_cx

    # --- how it comes to rest -----------------------------------------------------------------------------------------

    @rule(has_channel=st.booleans())
    def come_to_rest(self, has_channel: bool) -> None:
        """Let everything arrive, or be given up; look at what is in doubt; then all must be known, and equal."""
        self.market("open")
        self.everything_arrives(has_channel=has_channel)
        self.settles()
        self.everything_is_known_and_equal()
        if has_channel:
            found = Counter((o.side, o.price_cc, o.remaining_cx) for o in self.live.external())
            assert found == self.externals()

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


class LongLiveHistories(LiveHistories):
    """The same, for longer."""


SETTINGS = settings(stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestLiveHistories = LiveHistories.TestCase
TestLiveHistories.settings = settings(SETTINGS, max_examples=120)
TestLongLiveHistories = pytest.mark.long(LongLiveHistories.TestCase)
TestLongLiveHistories.settings = settings(SETTINGS, max_examples=600, stateful_step_count=60)
