"""A live trader whole, without a process: engine, strategies, live broker, and the client of live orders behind it.

What it decides is written down and sent as `LiveClient` does, over a network that loses, delays and repeats, to the
small exchange of `livevenue`; what the exchange has of it is judged after every step, by the exchange's own ledger.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec

from feed.schema import (
    VERSION,
    AccountBalance,
    AccountEntry,
    AccountHealth,
    AccountPosition,
    AccountUpdate,
    BookDelta,
    BookEvent,
    BookSnapshot,
    FeedState,
    JournalBody,
)
from markets.core.grid import PriceRange
from markets.core.units import DOLLAR_CC, SIDES, Side
from tests.unit.traders.core.liveclient import LiveClient
from tests.unit.traders.core.livevenue import TICKER, Message
from traders.brokers.live import LiveBroker
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.intents import Booked, Place, Take, Told
from traders.core.inventory import Inventory
from traders.core.limits import Limits
from traders.core.orders import OrderStatus
from traders.core.pipeline import Chosen, Strategies
from traders.core.registry import Kind, Strategy
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.engine import Engine, Now, Setup
from traders.livenotes import body_of, record_of

CONN, SID = 5, 1
DAY_US = 86_400_000_000
PRICES = range(3_500, 4_600, 100)  # where others' YES bids stand; their NO bids at the mirrored prices
LEVEL_CX = 50
FACTS = MarketFacts((PriceRange(0, DOLLAR_CC, 100),), 1 << 62, "active")
HEALTHY = AccountHealth("live", "", 1, None)
LIMITS = Limits(order_cx_most=20, position_cx_most=60, exposure_ud_most=400_000, orders_a_minute=600)


class NoParams(msgspec.Struct, frozen=True):
    """Nothing to choose."""


def _runaway(view: MarketView, _state: TraderState, _params: NoParams) -> Quotes:
    """Want something else, and mostly something mad, each time it is asked (C17)."""
    chance = random.Random(view.time_us)
    sizes = [chance.choice((1, 7, 20, 21, 5_000, 1_000_000)) for _ in SIDES]
    prices = [chance.choice((100, 3_900, 4_000, 5_500, 6_000, 9_900, 4_050)) for _ in SIDES]
    return Quotes(tuple(Quote(side, prices[side], sizes[side]) for side in SIDES))


RUNAWAY = Chosen(Strategy(Kind.PLACEMENT, "runaway", NoParams, _runaway), NoParams())


class EngineClient(LiveClient):
    """One trader, over all of its processes, with one set of strategies."""

    def begin(self, strategies: Strategies) -> None:
        """Start its first process, in a market that somebody makes already."""
        self.start()
        self.rules = Rules(strategies, LIMITS)
        self.inventory = Inventory()
        self.others: dict[tuple[Side, int], int] = {
            (Side.YES, 3_900): LEVEL_CX, (Side.YES, 3_800): LEVEL_CX, (Side.NO, 5_800): LEVEL_CX, (Side.NO, 5_700): 40,
        }  # fmt: skip
        self.seq = 0
        self.shown: dict[tuple[Side, int], int] = {}
        self._wake()

    def _wake(self) -> None:
        """Begin a process: an engine that knows its inventory, and has heard of the account and the book."""
        self.broker = LiveBroker(
            self.live, TICKER, now_us=lambda: self.now_us, exchange_index=0, subaccount=0,
            held=self.inventory.position,
        )  # fmt: skip
        self.engine = Engine(
            Setup(3, TICKER, "live", self.rules, FACTS), self.broker, inventory=self.inventory, desired="running"
        )
        whole = [order.shown() for order in self.venue.orders.values() if order.status == "resting"]
        held = AccountPosition(TICKER, 0, self.venue.position_cx(set(self.wished)), None, None, None, True)
        self.tells([*whole, held, AccountBalance(10**9, [(0, 10**9)]), HEALTHY], is_whole=True)
        self.snapshot()

    @property
    def now(self) -> Now:
        return Now(self.now_us, self.now_us / 1e6)

    # --- what it writes down ------------------------------------------------------------------------------------------

    def write(self, bodies: list[JournalBody]) -> None:
        """Keep lines as the journal does, and what they come to."""
        for body in bodies:
            record = record_of(body)
            if isinstance(record, Booked):
                self.journal.append(record)
                self.booked[record.order_id, record.trade_id] += 1
                self.booked_cx[record.order_id] += record.count_cx
                side = Side(body.side)  # type: ignore[union-attr]  # it is a fill
                self.position_cx += record.count_cx if side is Side.YES else -record.count_cx
            elif isinstance(record, Told):
                self.journal.append(record)
                if record.status is OrderStatus.RESTING:
                    self.ended.pop(record.client_order_id, None)
                else:
                    self.ended[record.client_order_id] = record.status
        self.inventory = self.engine.inventory
        assert self.inventory.position_cx == self.position_cx

    def note(self) -> None:
        self.write(self.engine.settle(self.now))

    def decides(self, way: str, fate: str) -> None:
        """Let it look at the market, and what it wishes go as far as `way` says."""
        self.tells([HEALTHY])  # as the desk says each five seconds
        self.engine.on_feed(self.feed(), self.now)
        self.write(self.engine.decide(self.now))
        self.wished_goes(way, fate)

    def wished_goes(self, way: str, fate: str) -> None:
        for intent in self.broker.take_intents():
            assert record_of(body_of(intent)) == intent
            self.wrote(intent)
            self.goes(intent, way, fate)
        self.broker.take_alerts()

    # --- what it hears ------------------------------------------------------------------------------------------------

    def tells(self, updates: list[AccountUpdate], *, is_whole: bool = False) -> None:
        self.broker.on_account([AccountEntry(VERSION, "local", self.now_us, is_whole, updates)])

    def deliver(self, message: Message) -> None:
        self.tells([message])

    def feed(self) -> FeedState:
        return FeedState(VERSION, CONN, "live", {SID: 1}, 5, 5, self.now_us, 1)

    def hears_book(self, *events: BookEvent) -> None:
        self.engine.on_feed(self.feed(), self.now)
        self.write(self.engine.on_events(events))

    def snapshot(self) -> None:
        self.seq += 1
        self.shown = self.public()
        levels = [
            [(price_cc, count_cx) for (one, price_cc), count_cx in self.shown.items() if one is side] for side in SIDES
        ]
        self.hears_book(BookSnapshot(CONN, SID, 1, self.seq, self.now_us, *levels))

    def public(self) -> dict[tuple[Side, int], int]:
        """Return what the exchange shows: everybody's orders, ours among them."""
        found = dict(self.others)
        for order in self.venue.orders.values():
            if order.live_cx:
                level = (order.side, order.price_cc)
                found[level] = found.get(level, 0) + order.live_cx
        return {level: count_cx for level, count_cx in found.items() if count_cx}

    def hears_changes(self) -> None:
        """Hear what has become of the book, level by level."""
        public = self.public()
        for level in sorted(public.keys() | self.shown.keys()):
            change_cx = public.get(level, 0) - self.shown.get(level, 0)
            if change_cx:
                self.seq += 1
                side, price_cc = level
                self.hears_book(BookDelta(self.seq, self.now_us, int(side), price_cc, change_cx))
        self.shown = public

    def others_move(self, chance: random.Random) -> None:
        """Let others quote anew around another price, or change a level."""
        if chance.random() < 0.3:
            yes_cc = chance.choice(PRICES)
            no_cc = DOLLAR_CC - yes_cc - 100 * chance.randint(1, 4)
            self.others = {
                (Side.YES, yes_cc): chance.randint(1, 90), (Side.YES, yes_cc - 100): LEVEL_CX,
                (Side.NO, no_cc): chance.randint(1, 90), (Side.NO, no_cc - 100): LEVEL_CX,
            }  # fmt: skip
            return
        level = chance.choice(list(self.others))
        self.others[level] = max(1, self.others[level] + chance.randint(-40, 40))

    # --- crashes ------------------------------------------------------------------------------------------------------

    def crashes(self, overlap: int) -> None:
        """Begin anew; what an earlier process wrote is all that the next one knows."""
        self.rest_of_lease()
        super().crashes(overlap)

    def rest_of_lease(self) -> None:
        """Take the lease over, as the supervisor does: nothing of the old group rests, nothing new comes into it."""
        self.venue.trigger(self.group_id)

    # --- what is compared ---------------------------------------------------------------------------------------------

    def worst_cx(self) -> dict[Side, int]:
        """Return by side what the exchange's ledger and the wire may come to, at the very most."""
        held_cx = self.venue.position_cx(set(self.wished))
        worst = {Side.YES: held_cx, Side.NO: -held_cx}
        for order in self.venue.orders.values():
            if order.client_order_id in self.wished:
                worst[order.side] += order.live_cx
        for wish in (request.creates for request in self.requests):
            if wish is not None:
                worst[wish.side] += wish.count_cx
        return worst

    def asked(self) -> list[Place | Take]:
        return [wish for wish in self.wished.values() if isinstance(wish, Place | Take)]

    def describe(self) -> dict[str, Any]:
        """Return what matters where something is wrong."""
        return {
            "position": self.position_cx, "worst": self.worst_cx(), "resting": self.live.resting(),
            "unproven": self.live.unproven(), "state": self.engine.state, "why": self.engine.why,
        }  # fmt: skip
