"""How many decisions a CPU second a trader makes: the product's engine, with a look at the market after each event.

The events are those of one recorded market, decoded beforehand; what is measured is what a trader does with each:
book, history, paper broker, strategies, guards, limits, diff, and the journal's bodies. The strategies are `join_best`
and `percent` with all their defaults, and those of guards and limits. Recordings come beside a checkout, not in it:
without them a generated market is played, which is calmer than a real one. At the end its book must be the one that
the events lead to, and it must have quoted, for a trader that is held decides faster.

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
from feed.schema import FEED_EVERY_S, VERSION, BookDelta, BookEvent, BookSnapshot, FeedState
from kalshimm.bench import books, frames
from kalshimm.bench.report import Bench, Effort, Goal, Progress, Round, middle
from kalshimm.errors import KalshimmError
from kalshimm.settings import BASE_DIR
from markets.core.book import OrderBook
from markets.core.grid import TAPERED_DECI_CENT_GRID, PriceRange
from markets.core.units import DOLLAR_CC, SIDES
from traders.brokers.paper import PaperBroker
from traders.core.decision import Rules
from traders.core.facts import MarketFacts
from traders.core.inventory import Inventory
from traders.core.pipeline import Choice, StrategyChoices
from traders.engine import Engine, Now, Setup

RECORDINGS = BASE_DIR.parent / "shared" / "data" / "recorded" / "ws_l2_kxbtc15m"
# Of the recorded markets the one that the guards let a trader quote longest: nearly half of the time.
RECORDING = "rv600_next_evidence_shadow_20260513T222021Z.ndjson.zst"
TICKER = "KXBTC15M-26MAY131845-45"
GENERATED_STEP_US = 8_000  # the recorded market tells 120 deltas a second
GENERATED_EVENTS = 30_000

DECISIONS_A_SECOND = 25_000  # of effort
TURN_DECISIONS = 500
TURN_FRAMES = 10_000  # of the reference, which takes a fraction of a turn of ours
REFERENCE_MARKETS, REFERENCE_FRAMES = 500, 20_000
QUOTING_PART_LEAST = 0.25
FEED_EVERY_US = int(FEED_EVERY_S * 1_000_000)
CLOSE_AFTER_US = 3_600_000_000  # of a generated market's end


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


class EngineBench(Bench):
    """The bench named `engine`."""

    name = "engine"
    about = "decisions of one trader, one after each book event of a recorded market"
    unit = "decisions per CPU second of join_best with percent, default guards and limits"
    reference = "msgspec typed decode alone, frames per CPU second"
    goal = Goal(floor=20_000, aim=60_000, on="figure at 2.0 M/s typed decode")

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
        part = middle(rounds, "quoting_part")
        if part >= QUOTING_PART_LEAST:
            return ""
        return f"both quotes rested at {part:.0%} of the decisions, and must at {QUOTING_PART_LEAST:.0%}"


def prepare(recordings: Path, progress: Progress) -> Material:
    """Return what is played: the recorded market if its recording is there, else a generated one."""
    path = recordings / RECORDING
    if path.is_file():
        events, facts = recorded(path, TICKER)
    else:
        progress(f"{path} is not there: a generated market is played, which is calmer than a recorded one")
        events, facts = generated(GENERATED_EVENTS)
    reference = books.prepare(REFERENCE_MARKETS, REFERENCE_FRAMES, is_lap=True)
    return Material(moments(events), facts, reference.deltas)


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


class Desk:
    """One trader of the material's market, and what it has decided so far; a lap over, a new one begins."""

    def __init__(self, material: Material) -> None:
        self._material = material
        self._at = 0
        self._engine, self._broker = _trader(material.facts)

    @property
    def is_quoting(self) -> bool:
        """Whether both quotes rest."""
        return len(self._broker.resting()) == len(SIDES)

    def play(self, count: int) -> int:
        """Let the trader decide on so many events, or up to the lap's end; return how many they were."""
        if self._at == len(self._material.moments):
            self._at = 0
            self._engine, self._broker = _trader(self._material.facts)
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
            for event in moment.events:
                if isinstance(event, BookSnapshot):
                    book.replace(event.yes, event.no)
                elif isinstance(event, BookDelta):
                    book.apply(event.side, event.price_cc, event.delta_cx)
        if self._engine.view.book.levels != book.levels:
            raise KalshimmError("the trader ends with another book than the events lead to.")


def _trader(facts: MarketFacts) -> tuple[Engine, PaperBroker]:
    numbers = itertools.count(1)
    broker = PaperBroker(lambda: f"order-{next(numbers)}")
    rules = Rules(StrategyChoices(Choice("join_best"), Choice("percent")).parse())
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


def _round(material: Material, count: int) -> Round:
    """Let engine and decoder take turns: a machine's speed may change within a second."""
    desk, part = Desk(material), material.frames[:TURN_FRAMES]
    decided, quoting, typed = Tally(), Tally(), Tally()
    while decided.count < count:
        was_quoting, start_s = desk.is_quoting, time.process_time()
        played = desk.play(min(TURN_DECISIONS, count - decided.count))
        spent_s = time.process_time() - start_s
        decided.add(played, spent_s)
        if was_quoting and desk.is_quoting:
            quoting.add(played, spent_s)
        start_s = time.process_time()
        books.decode_all(books.decode_typed, part)
        typed.add(len(part), time.process_time() - start_s)
    desk.check()
    more = {"quoting_part": round(quoting.count / decided.count, 3), "quoting_per_cpu_s": quoting.per_cpu_s}
    return Round(figure=decided.per_cpu_s, against=typed.per_cpu_s, more=more)
