"""The decision of one trader, the same for every broker, clock and source of events.

    book event → FeedView → MarketView → strategies → risk → diff against resting → broker

The engine takes time and events as values and returns what happened as journal bodies; it never waits and never
sends. Whoever runs it writes the bodies down.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from feed.schema import (
    BookEvent,
    BookStatus,
    BookTrade,
    Decision,
    FeedState,
    FillState,
    JournalBody,
    LatchChange,
    OrderState,
    StateChange,
    TraderView,
    encode,
)
from markets.core.book import OrderBook
from markets.core.units import Side
from traders.brokers.base import Broker, OrderEvent
from traders.core.commands import PlaceOrder, TakeOrder
from traders.core.decision import Decided, Rules, decide
from traders.core.diff import DiffTerms, diff
from traders.core.facts import MarketFacts
from traders.core.history import History, Print
from traders.core.inventory import Inventory
from traders.core.limits import TEXTS, Allotment, Latch, RiskState
from traders.core.orders import Fill, Order, RestingQuote
from traders.core.riskbook import RiskBook, RiskMemory
from traders.core.turns import Turns
from traders.core.types import FairValue, Flattening, MarketView, Quotes, TraderState
from traders.core.why import Figures, Why, said, told
from traders.feedview import FeedView

MID_UPDATE_MAX_S = 0.25  # a book crossed for longer than this is not merely between two messages
REPEAT_DECISION_S = 60.0
TURN_S = 0.25  # how often whoever runs it has it look at the market by time alone
FIGURES_MOST = 100_000  # bytes of a decision's figures: a plug-in may give whatever it likes
RUNNING, PAUSED, FLAT = "running", "paused", "flat"  # what a trader may be desired to be while it lives
CLOSED = "market closed"
LIVE = "live"
# What the venue tells on the way, in the words that the catalogue uses for it.
STATUSES = {"activated": "active", "deactivated": "inactive", "determined": "determined", "settled": "finalized"}

Reasons = tuple[tuple[str, Side | None], ...]
_reason = attrgetter("code", "side")  # a why's key, without a call for each


class Now(msgspec.Struct, frozen=True):
    """One moment on both clocks: microseconds since 1970, and monotonic seconds for ages."""

    wall_us: int
    monotonic_s: float


class Setup(msgspec.Struct, frozen=True):
    """What one trader is told to do, and of which market; the facts change while it runs.

    `allotments` are what it shares with others, as its start reserved them; `params_digest` tells what its rules are
    made of.
    """

    trader: int
    ticker: str
    mode: str
    rules: Rules
    facts: MarketFacts
    allotments: tuple[Allotment, ...] = ()
    params_digest: int = 0


class Engine:
    """State machine of one trader.

    starting ──valid book──► quoting ◄──resume──► paused, flattening → flat ──► draining ──► stopped
                               │  ▲
                               ├──┴─ a limit latched: nothing grows until a person releases it
                               └──── fenced: nothing new is sent until another process takes over

    Args:
        desired: RUNNING, PAUSED or FLAT.
        memory: What its limits remember of before.
    """

    def __init__(
        self,
        setup: Setup,
        broker: Broker,
        *,
        inventory: Inventory,
        desired: str = RUNNING,
        memory: RiskMemory = RiskMemory(),  # noqa: B008 - frozen
    ) -> None:
        self.view = FeedView()
        self.history = History()
        self.inventory = inventory
        self.state = "starting"
        self._whys: tuple[Why, ...] = (Why("starting", "starting"),)
        self._setup, self._facts, self._grid = setup, setup.facts, setup.facts.grid()
        self._status = setup.facts.status
        self._broker = broker
        self._desired, self._by = desired, "the desired state"
        self._risk = RiskBook(memory)
        self._fair: FairValue | None = None
        self._position_since_us: int | None = None
        self._decided: Decided | None = None
        self._flattening: Flattening | None = None
        self._crossed_at: tuple[int, float] | None = None
        self._written: tuple[Reasons, float] | None = None
        self._repeats = 0
        self._turns = Turns(TURN_S)

    # What comes in

    def on_feed(self, feed: FeedState, now: Now) -> None:
        self.view.on_feed(feed, now.monotonic_s)

    def on_events(self, events: Sequence[BookEvent]) -> list[JournalBody]:
        """Apply market events in order, each once; the moment a book breaks, nothing stays resting on it."""
        bodies: list[JournalBody] = []
        view, broker = self.view, self._broker
        for event in events:
            if not view.on_event(event):
                continue
            if view.broken:
                bodies += self._book(broker.cancel_all(f"book lost: {view.broken}"))
            if not view.broken or isinstance(event, BookTrade):  # what still stands can be filled
                happened = broker.on_event(event, book=view.book, time_us=view.time_us)
                if happened:
                    bodies += self._book(happened)
            self._note(event)
        return bodies

    def _note(self, event: BookEvent) -> None:
        """Keep what strategies and guards look back on."""
        if isinstance(event, BookTrade):
            side = Side(event.taker_side)
            self.history.note_print(Print(event.time_us, event.yes_price_cc, event.count_cx, side))
            return
        if isinstance(event, BookStatus) and event.is_valid:
            self._status = STATUSES.get(event.reason, self._status)
        if not self.view.broken:
            self.history.note_touch(self.view.time_us, *self._broker.others(self.view.book).best_cc)

    def on_facts(self, facts: MarketFacts, now: Now) -> list[JournalBody]:
        """Go by what the catalogue knows of the market now."""
        self._facts, self._grid, self._status = facts, facts.grid(), facts.status
        self._broker.on_fees(facts.fees)
        return self.decide(now)

    def on_rules(self, rules: Rules, params_digest: int, now: Now) -> list[JournalBody]:
        """Go by other strategies and limits; history, position, and every order in its place are as they were."""
        self._setup = msgspec.structs.replace(self._setup, rules=rules, params_digest=params_digest)
        self._decided = None  # by the rules of before
        return self.decide(now)

    def on_fair(self, fair: FairValue, now: Now) -> list[JournalBody]:
        """Take the newest value from outside; how old it may be is for the strategy that looks at it."""
        self._fair = fair
        return self.decide(now)

    def lose_book(self, reason: str) -> list[JournalBody]:
        """Distrust the book until the next snapshot, and cancel."""
        self.view.lose(reason)
        return self._book(self._broker.cancel_all(f"book lost: {reason}"))

    def pause(self, by: str, now: Now) -> list[JournalBody]:
        return self._wish(PAUSED, by, now)

    @property
    def desired(self) -> str:
        """What it was told to be: RUNNING, PAUSED or FLAT."""
        return self._desired

    def resume(self, by: str, now: Now) -> list[JournalBody]:
        return self._wish(RUNNING, by, now)

    def flatten(self, by: str, now: Now) -> list[JournalBody]:
        """Get out of the position, by takes near the touch, and stay flat until told otherwise."""
        return self._wish(FLAT, by, now)

    def _wish(self, desired: str, by: str, now: Now) -> list[JournalBody]:
        self._desired, self._by = desired, by
        return self.decide(now)

    @property
    def risk_memory(self) -> RiskMemory:
        """What its limits remember, to be kept over a restart."""
        return self._risk.memory

    def release(self, by: str, now: Now) -> list[JournalBody]:
        """Let risk grow again after a limit latched; without a latch nothing changes."""
        latch = self._risk.memory.latch
        if latch is None:
            return []
        self._risk.release()
        return [_latch_change(latch, by), *self.decide(now)]

    # What is decided

    def turn(self, now: Now) -> list[JournalBody]:
        """Decide by time alone, each `TURN_S`: a loop that comes much later than that quotes nothing (E6).

        Whoever has no such loop, as over a tape, only decides.
        """
        self._turns = self._turns.turned(now.monotonic_s)
        return self.decide(now)

    def settle(self, now: Now) -> list[JournalBody]:
        """Book what has become of orders, in whatever state: also a trader that ends has fills."""
        return self._book(self._broker.on_time(self._exchange_us(now)))

    def decide(self, now: Now) -> list[JournalBody]:
        """Look at the market once and act; also called when nothing came, because time alone can end a quote."""
        if self.state in ("draining", "stopped"):
            return []
        is_closed = self.is_closed(now)
        must_cancel = is_closed or self._desired == PAUSED  # whatever the book looks like
        if self._is_mid_update(now) and not must_cancel:
            return []
        time_us = self._exchange_us(now)
        happened = self._broker.on_time(time_us)
        bodies: list[JournalBody] = self._book(happened) if happened else []
        nothing = self._nothing(now, is_closed=is_closed)
        if nothing is None:
            latch, decided = self._decide(now)
            if latch is not None:
                bodies.append(_latch_change(latch))
        else:
            terms = DiffTerms(in_flight=self._broker.in_flight())
            decided = Decided(nothing, (), diff(nothing, self._broker.resting(), terms))
            self._flattening = None
        state = self._next_state(is_valid=nothing is None)
        if state != self.state:
            bodies += self._change_state(state, "")
        for command in decided.commands:
            happened = self._broker.execute(command, book=self.view.book, time_us=time_us)
            bodies += self._book(happened)
            if isinstance(command, PlaceOrder | TakeOrder):
                self._risk.created(now.wall_us)
        self._whys = decided.wanted.whys
        # Facts first: what happened must be on record whatever becomes of why.
        return bodies + self._decision(decided.wanted, now, has_commands=bool(decided.commands))

    def _exchange_us(self, now: Now) -> int:
        """Return the exchange's time as far as all its messages up to then have been told."""
        lag_us = self.view.lag_us
        return self.view.time_us if lag_us is None else max(self.view.time_us, now.wall_us - lag_us)

    def _nothing(self, now: Now, *, is_closed: bool) -> Quotes | None:
        """Return why nothing may rest, None when the market may be quoted: anything in doubt means nothing."""
        if is_closed:
            return _held("closed", CLOSED)
        if self._desired == PAUSED:
            return _held("paused", "paused by {by}", by=self._by)
        if late_s := self._turns.too_late_s(now.monotonic_s):
            text = "its own loop comes {late_ms} ms late: what it knows may be old"
            return _held("late", text, late_ms=round(late_s * 1_000))
        invalid = self.view.why_invalid(now.monotonic_s)
        if invalid:
            self._broker.on_book_lost()
        return _held("no_good_book", "no good book, no quote: {because}", because=invalid) if invalid else None

    def _decide(self, now: Now) -> tuple[Latch | None, Decided]:
        """Return the decision on a market that may be quoted, and a latch that closed over it."""
        setup, broker = self._setup, self._broker
        rules, book = setup.rules, broker.others(self.view.book)
        trading_ud = self.inventory.trading_ud(book)
        self._risk.look(now.wall_us, trading_ud)
        resting, position, cash = broker.resting(), self.inventory.position, broker.cash
        elsewhere = broker.outside_held
        base = RiskState(
            position_cx=position.position_cx,
            cost_ud=position.cost_ud,
            resting=resting,
            unknown=broker.unproven(),
            outside=broker.outside(),
            outside_cx=None if elsewhere is None else elsewhere.position_cx,
            outside_cost_ud=None if elsewhere is None else elsewhere.cost_ud,
            stopped=broker.stopped,
            allotments=setup.allotments,
            cash_ud=cash.free_ud,
            exchange_index=cash.exchange_index,
            shards=cash.elsewhere,
        )
        risk = self._risk.state(base, trading_ud)
        latch = self._risk.latch(rules.limits, risk, now.wall_us)
        if latch is not None:
            risk = msgspec.structs.replace(risk, latch=latch)
        self._decided = decided = decide(
            self._market(book, now),
            self._state(resting, now),
            rules,
            risk,
            flat_by=self._by if self._desired == FLAT else "",
            in_flight=broker.in_flight(),
            uncertain=broker.uncertain,
            before=self._decided,
        )
        self._risk.refused(decided.denied, now.wall_us)
        self._flattening = decided.wanted.flattening
        return latch, decided

    def _market(self, book: OrderBook, now: Now) -> MarketView:
        facts = self._facts
        return MarketView(
            ticker=self._setup.ticker,
            time_us=now.wall_us,
            book=book,
            grid=self._grid,
            close_time_us=facts.close_time_us,
            history=self.history,
            status=self._status,
            programs=facts.programs,
            fees=facts.fees,
            fair=self._fair,
            moments=facts.moments,
        )

    def _state(self, resting: tuple[RestingQuote, ...], now: Now) -> TraderState:
        position = self.inventory.position
        if position.position_cx and self._position_since_us is None:
            self._position_since_us = now.wall_us  # held since before this process began
        return TraderState(
            position_cx=position.position_cx,
            position_since_us=self._position_since_us,
            cost_ud=position.cost_ud,
            resting=resting,
            flattening=self._flattening,
        )

    def _next_state(self, *, is_valid: bool) -> str:
        if self._broker.fenced:
            return "fenced"
        if self._desired == PAUSED:
            return "paused"
        if self._desired == FLAT:
            return "flattening" if self.inventory.position_cx else "flat"
        if self._risk.memory.latch is not None:
            return "latched"
        return "quoting" if is_valid or self.state != "starting" else "starting"

    def _is_mid_update(self, now: Now) -> bool:
        """Whether the book is crossed only because a step of the exchange is half told: nobody decides on it."""
        if not self.view.book.is_crossed:
            self._crossed_at = None
            return False
        if self._crossed_at is None:
            self._crossed_at = (self.view.time_us, now.monotonic_s)
        time_us, since_s = self._crossed_at
        is_same_moment = self.view.time_us == time_us and now.monotonic_s - since_s < MID_UPDATE_MAX_S
        return is_same_moment and not self.view.why_invalid(now.monotonic_s)

    def _decision(self, wanted: Quotes, now: Now, *, has_commands: bool) -> list[JournalBody]:
        """Return the decision if it is worth a line: something changed, or a minute has passed."""
        self._repeats += 1
        reasons = tuple(map(_reason, wanted.whys))
        if not has_commands and self._is_repeat(reasons, now):
            return []
        figures = {"position_cx": self.inventory.position_cx, "why": _plain(told(wanted.whys))}
        if has_commands and self._setup.mode == LIVE:
            figures["basis"] = self.view.basis  # the book it was decided on: connection, subscription, generation, seq
        body = Decision(said(wanted.whys), figures, self._repeats)
        self._written, self._repeats = (reasons, now.monotonic_s), 0
        return [body]

    def _is_repeat(self, reasons: Reasons, now: Now) -> bool:
        if self._written is None:
            return False
        written, at_s = self._written
        return written == reasons and now.monotonic_s - at_s < REPEAT_DECISION_S

    # How it ends

    def is_closed(self, now: Now) -> bool:
        return now.wall_us >= self._facts.close_time_us

    def drain(self, reason: str) -> list[JournalBody]:
        """Cancel everything for good: after this no decision places an order."""
        bodies = self._change_state("draining", reason)
        bodies += self._book(self._broker.end(reason))
        self._whys = (Why("ends", "{reason}", {"reason": reason}),)
        return bodies

    def finish(self, reason: str) -> list[JournalBody]:
        return self._change_state("stopped", reason)

    # What it says

    @property
    def why(self) -> str:
        """The reasons of the last decision, in words, which are made only when somebody asks: that takes 30 µs."""
        return said(self._whys)

    def _change_state(self, state: str, reason: str) -> list[JournalBody]:
        if state == self.state:
            return []
        self.state = state
        return [StateChange(state, reason or self._why_state())]

    def _why_state(self) -> str:
        return self._broker.fenced or ("" if self._desired == RUNNING else f"by {self._by}")

    def _book(self, events: Sequence[OrderEvent]) -> list[JournalBody]:
        """Book fills and return the journal form of what happened, in order."""
        return [self._fill(event) if isinstance(event, Fill) else order_state(event) for event in events]

    def _fill(self, fill: Fill) -> FillState:
        order, before_cx = fill.order, self.inventory.position_cx
        self.inventory = self.inventory.after(
            order.side, fill.paid_cc, fill.count_cx, fee_ud=fill.fee_ud, inferred=fill.inferred, time_us=fill.time_us
        )
        position_cx = self.inventory.position_cx
        if before_cx * position_cx <= 0:  # it left zero, came back to it, or passed through it
            self._position_since_us = self.view.time_us if position_cx else None
            self._flattening = None  # another position is another matter
        return FillState(
            client_order_id=order.client_order_id,
            order_id=order.order_id,
            trade_id=fill.trade_id,
            side=int(order.side),
            price_cc=fill.paid_cc,
            count_cx=fill.count_cx,
            is_taker=fill.is_taker,
            fee_ud=fill.fee_ud,
            position_cx=position_cx,
            inferred=fill.inferred,
            time_us=fill.time_us,
        )

    def trader_view(self, now: Now) -> TraderView:
        """Return what the pages show."""
        is_valid = not self.view.why_invalid(now.monotonic_s)
        book = self.view.book
        return TraderView(
            trader=self._setup.trader,
            ticker=self._setup.ticker,
            mode=self._setup.mode,
            state=self.state,
            why=self.why,
            position_cx=self.inventory.position_cx,
            fills=self.inventory.fills,
            quotes=self._broker.quote_views(book),
            book_is_valid=is_valid,
            yes_bid_cc=book.yes_bid_cc if is_valid else None,
            yes_ask_cc=book.yes_ask_cc if is_valid else None,
            rate_ud_h=None,
            trading_ud=self.inventory.trading_ud(book) if is_valid else None,
            facts_digest=self._facts.digest,
            latched_us=latch.at_us if (latch := self._risk.memory.latch) else 0,
            params_digest=self._setup.params_digest,
        )


def _plain(reasons: list[Figures]) -> list[Figures]:
    """Return reasons that can be written down; of those that cannot, the codes."""
    try:
        if len(encode(reasons)) <= FIGURES_MOST:
            return reasons
    except (TypeError, ValueError, OverflowError):
        pass  # the codes say which strategy it was
    return [{"code": reason["code"]} for reason in reasons]


def _held(code: str, text: str, **figures: str | int) -> Quotes:
    return Quotes((), (Why(code, text, figures),))


def _latch_change(latch: Latch, by: str = "") -> LatchChange:
    reason = said((Why(latch.code, TEXTS[latch.code], latch.figures),))
    return LatchChange(not by, latch.code, reason, latch.figures, latch.at_us, by)


def order_state(order: Order) -> OrderState:
    return OrderState(
        client_order_id=order.client_order_id,
        order_id=order.order_id,
        side=int(order.side),
        price_cc=order.price_cc,
        placed_cx=order.placed_cx,
        filled_cx=order.filled_cx,
        remaining_cx=order.remaining_cx,
        status=order.status.value,
        reason=order.reason,
    )
