"""How fast the book engine is beside the least that it must do: decoding.

The engine is the product's own, called as the gateway calls it: frame by frame decode, sequence check, apply, best
prices, a tape row; what gathered is taken a batch at a time. The reference is msgspec's typed decode of the same
frames and nothing else. Beside it stands pykalshi, as whoever uses its feed would: its message parser, a book a market,
best bid and best ask after each message. At the end all three must agree on every market's best prices, for speed at
the cost of being right is none.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from feed.books import Books
from feed.kalshi import channels
from feed.kalshi.session import MOST_TICKERS_A_COMMAND, Session
from kalshimm.bench import frames
from kalshimm.bench.frames import Tape
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round, middle
from kalshimm.errors import KalshimmError
from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, parse_price

MARKETS = 500
FRAMES_A_SECOND = 50_000  # of effort: about what the slowest contender does
FRAMES_MOST = 1_000_000
TURN_FRAMES = 25_000
TAKE_EVERY = 500  # frames of one turn: between the tens of a busy minute and the thousands of a saturated gateway
TIME_US = 1_795_337_401_000_000
TYPED_OVER_JSON_MIN = 4.0
LEAST_CPU_S = 0.25  # of the reference: shorter is nothing but the clock's grain
INSTALL = "not measured against pykalshi, the extra `bench`: python -m pip install 'pykalshi>=2,<2.1'"


class _Message(msgspec.Struct):
    market_ticker: str
    price_dollars: str
    delta_fp: str
    side: str
    ts_ms: int


class _Frame(msgspec.Struct):
    """What a book needs of a delta, and no more: the typed decode that everything is compared with."""

    type: str
    sid: int
    seq: int
    msg: _Message


decode_typed = msgspec.json.Decoder(_Frame).decode


class Material(msgspec.Struct, frozen=True):
    """A tape, its snapshots and its deltas as the venue would send them, numbered from 1 on."""

    tape: Tape
    snapshots: list[bytes]
    deltas: list[bytes]


class BooksBench(Bench):
    """The bench named `books`."""

    name = "books"
    about = f"the book engine (decode, sequence, apply, best prices) over {MARKETS} markets"
    unit = "messages per CPU second through the book engine"
    reference = "msgspec typed decode alone of the same frames, per CPU second"
    goal = Goal(floor=0.35, aim=0.43, on="ratio")
    others = (
        Comparison(
            "against pykalshi",
            unit,
            "pykalshi's feed parser and book on the same frames, best prices each time, per CPU second",
            Goal(floor=10.0, aim=15.0, on="ratio"),
            against="pykalshi_per_cpu_s",
        ),
    )

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure all contenders one after the other, round by round."""
        material = prepare(MARKETS, frame_count(effort))
        pykalshi = Pykalshi.installed()
        if pykalshi is None:
            progress(INSTALL)
        rounds = []
        for number in range(1, effort.rounds + 1):
            rounds.append(_round(material, pykalshi))
            progress(f"round {number}: {rounds[-1].figure / rounds[-1].against:.3f} of typed decode")
        return rounds

    def void(self, rounds: Sequence[Round]) -> str:
        typed, plain = middle(rounds, "against"), middle(rounds, "json_loads_per_cpu_s")
        if typed >= TYPED_OVER_JSON_MIN * plain:
            return ""
        return f"typed decode is only {typed / plain:.2f} times json.loads, and must be {TYPED_OVER_JSON_MIN:g}"


def frame_count(effort: Effort) -> int:
    """Return how many frames a round plays."""
    return max(1_000, min(FRAMES_MOST, int(effort.seconds * FRAMES_A_SECOND)))


def prepare(markets: int, count: int, *, is_lap: bool = False) -> Material:
    """Return the frames of a tape: the snapshot of each market, then `count` deltas.

    Args:
        is_lap: They are all deltas of the tape, and end where they began; else they are half of a lap, and do not.
    """
    tape = frames.tape(markets, count if is_lap else 2 * count)
    books = tape.books_at(0)
    pairs = enumerate(zip(tape.markets, books, strict=True), 1)
    snapshots = [frames.snapshot_frame(market, book, seq=seq) for seq, (market, book) in pairs]
    bodies = frames.bodies(tape, count)
    return Material(tape, snapshots, frames.delta_frames(bodies, first_seq=markets + 1, time_us=TIME_US))


def subscribed_books(tickers: Sequence[str]) -> Books:
    """Return books whose connection has subscribed all of `tickers`, still without a snapshot."""
    session = Session()
    books = Books(1, session)
    (command,) = session.subscribe(channels.BOOK, tickers)
    told = {"type": "subscribed", "id": _id(command), "msg": {"channel": channels.BOOK, "sid": frames.BOOK_SID}}
    books.receive(msgspec.json.encode(told), TIME_US)
    if len(tickers) > MOST_TICKERS_A_COMMAND:
        raise ValueError(f"one command subscribes at most {MOST_TICKERS_A_COMMAND} markets, not {len(tickers)}")
    return books


def typed_per_cpu_s(deltas: Sequence[bytes]) -> float:
    """Return how many frames a CPU second of typed decode alone brings."""
    done, start_s = 0, time.process_time()
    while (spent_s := time.process_time() - start_s) < LEAST_CPU_S:
        decode_all(decode_typed, deltas)
        done += len(deltas)
    return done / spent_s


def decode_all(decode: Callable[[bytes], object], deltas: Sequence[bytes]) -> None:
    for frame in deltas:
        decode(frame)


def _id(command: bytes) -> int:
    return int(msgspec.json.decode(command)["id"])


def _round(material: Material, pykalshi: Pykalshi | None) -> Round:
    """Let the contenders take turns, a few thousand frames each: a machine's speed may change within a second."""
    engine = Engine(material)
    turns: dict[str, Callable[[Sequence[bytes]], None]] = {
        "engine": engine.play,
        "typed": functools.partial(decode_all, decode_typed),
        "json_loads": functools.partial(decode_all, json.loads),
    }
    if pykalshi is not None:
        pykalshi.begin(material)
        turns["pykalshi"] = pykalshi.play
    spent_s = dict.fromkeys(turns, 0.0)
    for number, at in enumerate(range(0, len(material.deltas), TURN_FRAMES)):
        part = material.deltas[at : at + TURN_FRAMES]
        order = list(turns.items())
        for name, play in order if number % 2 else order[::-1]:  # whoever begins finds the frames out of the caches
            start_s = time.process_time()
            play(part)
            spent_s[name] += time.process_time() - start_s
    expected = _best(material.tape.books_at(len(material.deltas)))
    _agree("the book engine", engine.best(material), expected)
    if pykalshi is not None:
        _agree("pykalshi", pykalshi.best(material), expected)
    speeds = {name: round(len(material.deltas) / spent, 1) for name, spent in spent_s.items()}
    more = {f"{name}_per_cpu_s": speed for name, speed in speeds.items() if name not in ("engine", "typed")}
    return Round(figure=speeds["engine"], against=speeds["typed"], more=more)


class Engine:
    """The product's books, driven as the gateway drives them, and what they gathered dropped."""

    def __init__(self, material: Material) -> None:
        self._books = subscribed_books(material.tape.tickers)
        for snapshot in material.snapshots:
            self._books.receive(snapshot, TIME_US)
        self._books.take()

    def play(self, deltas: Sequence[bytes]) -> None:
        """Raise KalshimmError unless each delta became a row."""
        rows, receive_turn = 0, self._books.receive_turn
        for at in range(0, len(deltas), TAKE_EVERY):
            receive_turn(deltas[at : at + TAKE_EVERY], TIME_US)
            rows += len(self._books.take().rows)
        if rows != len(deltas):
            raise KalshimmError(f"{len(deltas)} deltas became {rows} rows.")

    def best(self, material: Material) -> list[tuple[int, int]]:
        return _best(self._books.markets[ticker] for ticker in material.tape.tickers)


class Pykalshi:
    """pykalshi as its own documentation uses it: its feed's parser, and a book a market."""

    def __init__(self, feed: Any, orderbook: Any) -> None:
        self._parse, self._snapshot = feed._parse_message, feed.OrderbookSnapshotMessage
        self._new_book = orderbook.OrderbookManager
        self._books: dict[str, Any] = {}
        self._touches: dict[str, tuple[str | None, str | None]] = {}

    @classmethod
    def installed(cls) -> Pykalshi | None:
        try:
            from pykalshi import feed, orderbook
        except ImportError:
            return None
        return cls(feed, orderbook)

    def begin(self, material: Material) -> None:
        self._books = {ticker: self._new_book(ticker) for ticker in material.tape.tickers}
        self.play(material.snapshots)

    def play(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            _kind, _channel, message, _raw = self._parse(frame)
            book = self._books[message.market_ticker]
            if isinstance(message, self._snapshot):
                book.apply_snapshot(message.yes_dollars, message.no_dollars)
            else:
                book.apply_delta(message.side, message.price_dollars, message.delta_fp)
            self._touches[message.market_ticker] = (book.best_bid, book.best_ask)

    def best(self, material: Material) -> list[tuple[int, int]]:
        """Return each market's best prices on their own ladders, 0 for a side without levels."""
        touches = [self._touches[ticker] for ticker in material.tape.tickers]
        return [(parse_price(bid) if bid else 0, DOLLAR_CC - parse_price(ask) if ask else 0) for bid, ask in touches]


def _best(books: Iterable[OrderBook]) -> list[tuple[int, int]]:
    return [(book.best_cc[0], book.best_cc[1]) for book in books]


def _agree(who: str, found: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    if found != expected:
        wrong = sum(a != b for a, b in zip(found, expected, strict=True))
        raise KalshimmError(f"{who} ends with other best prices in {wrong} of {len(expected)} markets.")
