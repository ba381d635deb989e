"""How many decisions a CPU second a trader makes: the product's engine, with a look at the market after each event.

The events are those of one recorded market, decoded beforehand; what is measured is what a trader does with each:
book, history, paper broker, strategies, guards, limits, diff, and the journal's bodies. The strategies are `join_best`
and `percent` with all their defaults, and those of guards and limits. At the end its book must be the one that the
events lead to, and it must have quoted.

The recording is of books alone: nothing trades, so nothing fills, and flow and sweep have nothing to look at; and no
order of a dry run has a lifetime. So the same trader is measured three more times: where both quotes rest, for a trader
that is held decides faster; with the lifetime of live orders; and with trades at the touch, sold and bought in turns.

Recordings come beside a checkout, not in it. Without them a generated market is played, and `is_recorded` is 0: it
costs a decision more than the recorded one, and the figures of the two are not to be compared.

The reference is msgspec's typed decode of generated frames and nothing else.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from feed.books import Books
from feed.kalshi.session import Session
from feed.recording import read_frames
from feed.schema import FEED_EVERY_S, VERSION, BookDelta, BookEvent, BookSnapshot, BookTrade, FeedState
from kalshimm.bench import books, frames
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round, middle
from kalshimm.errors import KalshimmError
from kalshimm.settings import BASE_DIR
from markets.core.book import OrderBook
from markets.core.grid import TAPERED_DECI_CENT_GRID, PriceRange
from markets.core.units import DOLLAR_CC, SIDES, Side, yes_price_cc
from traders.brokers.paper import PaperBroker
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.lifetimes import LIFETIME_LEAST_S
from traders.core.pipeline import Choice, StrategyChoices
from traders.engine import Engine, Now, Setup

RECORDINGS = BASE_DIR.parent / "shared" / "data" / "recorded" / "ws_l2_kxbtc15m"
# Of the recorded markets the one that the guards let a trader quote longest: nearly half of the time.
RECORDING = "rv600_next_evidence_shadow_20260513T222021Z.ndjson.zst"
TICKER = "KXBTC15M-26MAY131845-45"
# Its touch moves with each 23rd delta: at the recorded market's 120 a second, following it would take more than the
# orders of a minute, and a trader that is held would be measured.
GENERATED_STEP_US = 60_000
GENERATED_EVENTS = 30_000

# So many together pass what flow is looked for from, and never by more of one side.
TRADE_EVERY_US = 200_000
TRADE_CX = 600

DECISIONS_A_SECOND = 14_000  # of effort, of each trader: by default a little more than two laps of the recording
TURN_DECISIONS = 500
TURN_FRAMES = 10_000  # of the reference, which takes a fraction of a turn of ours
REFERENCE_MARKETS, REFERENCE_FRAMES = 500, 20_000
QUOTING_PART_LEAST = 0.25
FEED_EVERY_US = int(FEED_EVERY_S * 1_000_000)
CLOSE_AFTER_US = 3_600_000_000  # of a generated market's end
LIFETIMES, TRADES = "lifetimes_", "trades_"  # what the names of their figures begin with
GOAL = Goal(floor=20_000, aim=60_000, on="figure at 2.0 M/s typed decode")


class Moment(msgspec.Struct, frozen=True):
    """One event as a trader's process hands it over, when, and what else it hears then."""

    events: list[BookEvent]
    now: Now
    feed: FeedState | None


class Material(msgspec.Struct, frozen=True):
    """A market's events in order, what a trader of it is told, and frames for the reference."""

    moments: list[Moment]
    facts: MarketFacts
    frames: list[bytes]
    is_recorded: bool


class EngineBench(Bench):
    """The bench named `engine`."""

    name = "engine"
    about = "decisions of one trader, one after each book event of a recorded market"
    unit = "decisions per CPU second of join_best with percent, default guards and limits"
    reference = "msgspec typed decode alone, frames per CPU second"
    goal = GOAL
    others = (
        Comparison(
            "where both quotes rest",
            "decisions per CPU second in turns before and after which they rested",
            reference,
            GOAL,
            figure="quoting_per_cpu_s",
        ),
        Comparison(
            "with lifetimes",
            f"decisions per CPU second with orders that end after {LIFETIME_LEAST_S} s unless renewed",
            reference,
            GOAL,
            figure="lifetimes_per_cpu_s",
        ),
        Comparison(
            "with trades",
            f"decisions per CPU second with {1_000_000 // TRADE_EVERY_US} trades a second besides",
            reference,
            GOAL,
            figure="trades_per_cpu_s",
        ),
    )

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure decisions and decoding in turns, round by round."""
        material = prepare(RECORDINGS, progress)
        count = max(2 * TURN_DECISIONS, int(effort.seconds * DECISIONS_A_SECOND))
        rounds = []
        for number in range(1, effort.rounds + 1):
            rounds.append(_round(material, count))
            progress(f"round {number}: {rounds[-1].figure:,.0f} decisions per CPU second")
        return rounds

    def void(self, rounds: Sequence[Round]) -> str:
        part = min(middle(rounds, f"{way}quoting_part") for way in ("", LIFETIMES, TRADES))
        if part >= QUOTING_PART_LEAST:
            return ""
        return f"both quotes rested before and after {part:.0%} of the turns, and must {QUOTING_PART_LEAST:.0%}"


def prepare(recordings: Path, progress: Progress) -> Material:
    """Return what is played: the recorded market if its recording is there, else a generated one."""
    path = recordings / RECORDING
    is_recorded = path.is_file()
    if is_recorded:
        events, facts = recorded(path, TICKER)
    else:
        progress(f"{path} is not there: a generated market is played, whose figures are others than a recorded one's")
        events, facts = generated(GENERATED_EVENTS)
    reference = books.prepare(REFERENCE_MARKETS, REFERENCE_FRAMES, is_lap=True)
    return Material(moments(events), facts, reference.deltas, is_recorded)


def recorded(path: Path, ticker: str) -> tuple[list[BookEvent], MarketFacts]:
    """Return the book events of one market of a recording, and its facts as far as the recording tells them.

    Raises:
        BadRecording: It cannot be read.
        KalshimmError: The market is not in it.
    """
    events: list[BookEvent] = []
    close_us, following = 0, None
    for frame in read_frames(path):
        if frame.event is not None and frame.event.get("market_ticker") == ticker and "close_time" in frame.event:
            close_us = round(datetime.fromisoformat(frame.event["close_time"]).timestamp()) * 1_000_000
        if not frame.frame:
            continue
        if following is None or following.conn != frame.connection:
            following = Books(frame.connection, Session(adopt=True))
            following.lease(ticker, is_leased=True, now_us=0)
        following.receive(frame.frame, frame.recv_us or 0)
        events += following.take().events.get(ticker, ())
    if not close_us or not events:
        raise KalshimmError(f"{path.name} does not hold {ticker} from its begin to its close.")
    return events, MarketFacts(TAPERED_DECI_CENT_GRID.ranges, close_us, status="active")


def generated(count: int) -> tuple[list[BookEvent], MarketFacts]:
    """Return the events of a market whose book ends as it began, and its facts."""
    tape = frames.tape(1, count)
    (market,) = tape.markets
    start_us = books.TIME_US
    events: list[BookEvent] = [BookSnapshot(1, frames.BOOK_SID, 1, 1, start_us, market.yes, market.no)]
    for number, delta in enumerate(tape.deltas, 1):
        at_us = start_us + number * GENERATED_STEP_US
        events.append(BookDelta(1 + number, at_us, delta.side, delta.price_cc, delta.delta_cx))
    ranges = (PriceRange(0, DOLLAR_CC, frames.tick_cc(0)),)
    return events, MarketFacts(ranges, events[-1].time_us + CLOSE_AFTER_US, status="active")


def moments(events: Sequence[BookEvent]) -> list[Moment]:
    """Return each event with the time of it, and the state of the feed as often as the gateway tells it."""
    found = []
    time_us = feed_due_us = 0
    feed: FeedState | None = None
    for event in events:
        time_us = max(time_us, event.time_us)
        if isinstance(event, BookSnapshot):
            feed, feed_due_us = FeedState(VERSION, event.conn, "live", {event.sid: event.generation}, 0, 0, 0, 0), 0
        is_due = time_us >= feed_due_us
        found.append(Moment([event], Now(time_us, time_us / 1_000_000), feed if is_due else None))
        if is_due:
            feed_due_us = time_us + FEED_EVERY_US
    return found


def with_trades(material: Material) -> Material:
    """Return the material with a trade every TRADE_EVERY_US, at the best price of each side in turn."""
    found: list[Moment] = []
    book, sides, at_us = OrderBook(), itertools.cycle(SIDES), material.moments[0].now.wall_us
    for moment in material.moments:
        while at_us + TRADE_EVERY_US < moment.now.wall_us:
            at_us += TRADE_EVERY_US
            found += _trade(book, next(sides), at_us)
        _apply(moment, book)
        found.append(moment)
    return msgspec.structs.replace(material, moments=found)


def _trade(book: OrderBook, maker: Side, at_us: int) -> list[Moment]:
    best_cc = book.best_cc[maker]
    if not best_cc:
        return []
    trade = BookTrade(f"trade-{at_us}", at_us, yes_price_cc(maker, best_cc), TRADE_CX, maker.other)
    return [Moment([trade], Now(at_us, at_us / 1_000_000), None)]


def _apply(moment: Moment, book: OrderBook) -> None:
    for event in moment.events:
        if isinstance(event, BookSnapshot):
            book.replace(event.yes, event.no)
        elif isinstance(event, BookDelta):
            book.apply(event.side, event.price_cc, event.delta_cx)


class Desk:
    """One trader of the material's market, and what it has decided so far; a lap over, a new one begins.

    Args:
        lifetime_s: Of its orders; 0 lets them stand.
    """

    def __init__(self, material: Material, *, lifetime_s: int = 0) -> None:
        self._material = material
        self._lifetime_s = lifetime_s
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._engine, self._broker = _trader(self._material.facts, self._lifetime_s)

    @property
    def is_quoting(self) -> bool:
        """Whether both quotes rest."""
        return len(self._broker.resting()) == len(SIDES)

    def play(self, count: int) -> int:
        """Let the trader decide on so many events, or up to the lap's end; return how many they were."""
        if self._at == len(self._material.moments):
            self._begin()
        part = self._material.moments[self._at : self._at + count]
        on_feed, on_events, decide = self._engine.on_feed, self._engine.on_events, self._engine.decide
        for moment in part:
            if moment.feed is not None:
                on_feed(moment.feed, moment.now)
            on_events(moment.events)
            decide(moment.now)
        self._at += len(part)
        return len(part)

    def check(self) -> None:
        """Raise KalshimmError unless the trader's book is the one that the events lead to."""
        book = OrderBook()
        for moment in self._material.moments[: self._at]:
            _apply(moment, book)
        if self._engine.view.book.levels != book.levels:
            raise KalshimmError("the trader ends with another book than the events lead to.")


def _trader(facts: MarketFacts, lifetime_s: int) -> tuple[Engine, PaperBroker]:
    numbers = itertools.count(1)
    broker = PaperBroker(lambda: f"order-{next(numbers)}")
    rules = Rules(StrategyChoices(Choice("join_best"), Choice("percent")).parse()).with_lifetime(lifetime_s)
    return Engine(Setup(1, "bench", "dry-run", rules, facts), broker, inventory=Inventory()), broker


class Tally(msgspec.Struct):
    """How much was done, in how much time of the processor."""

    count: int = 0
    cpu_s: float = 0.0

    def add(self, count: int, cpu_s: float) -> None:
        self.count += count
        self.cpu_s += cpu_s

    @property
    def per_cpu_s(self) -> float:
        return round(self.count / self.cpu_s, 1) if self.count else 0.0


class Watch:
    """Times a desk turn by turn; what it decided in turns before and after which both quotes rested once more."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.decided, self.quoting = Tally(), Tally()

    def time(self, count: int) -> None:
        was_quoting, start_s = self.desk.is_quoting, time.process_time()
        played = self.desk.play(count)
        spent_s = time.process_time() - start_s
        self.decided.add(played, spent_s)
        if was_quoting and self.desk.is_quoting:
            self.quoting.add(played, spent_s)

    @property
    def quoting_part(self) -> float:
        return round(self.quoting.count / self.decided.count, 3)


def _round(material: Material, count: int) -> Round:
    """Let engines and decoder take turns: a machine's speed may change within a second."""
    plain = Watch(Desk(material))
    others = {
        LIFETIMES: Watch(Desk(material, lifetime_s=LIFETIME_LEAST_S)),
        TRADES: Watch(Desk(with_trades(material))),
    }
    part, typed = material.frames[:TURN_FRAMES], Tally()
    while plain.decided.count < count:
        for watch in (plain, *others.values()):
            watch.time(TURN_DECISIONS)
        start_s = time.process_time()
        books.decode_all(books.decode_typed, part)
        typed.add(len(part), time.process_time() - start_s)
    for watch in (plain, *others.values()):
        watch.desk.check()
    more = {"quoting_part": plain.quoting_part, "quoting_per_cpu_s": plain.quoting.per_cpu_s}
    for name, watch in others.items():
        more |= {f"{name}quoting_part": watch.quoting_part, f"{name}per_cpu_s": watch.decided.per_cpu_s}
    return Round(
        figure=plain.decided.per_cpu_s,
        against=typed.per_cpu_s,
        more=more | {"is_recorded": float(material.is_recorded)},
    )
