"""A small exchange for the tests of our own part in a book: queues of everybody's orders, and two streams about them.

The book stream and the stream of answers are each in order, and each is delivered whenever the test says, at most
`DOUBT_US` after what it tells. The exchange's own queues are the truth.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from markets.core.book import OrderBook
from markets.core.units import Side
from traders.core.exposure import Unproven
from traders.core.orders import RestingQuote
from traders.core.ownbook import OwnBook
from traders.core.ownlevel import DOUBT_US

Level = tuple[Side, int]
START_US = 1_790_000_000_000_000


@dataclass
class Rests:
    """One order of the exchange; `owner` is our client order id, empty for everybody else's."""

    owner: str
    count_cx: int


@dataclass
class BookNews:
    """One message of the book stream, and what the others show once it is applied."""

    at_us: int
    kind: str  # delta, print, snapshot
    level: Level | None
    count_cx: int
    tag: str
    levels: dict[Level, int]
    others: dict[Level, int]
    ahead: dict[str, int]


@dataclass
class Answer:
    at_us: int
    client_order_id: str
    remaining_cx: int
    filled_cx: int = 0


@dataclass
class Exchange:
    """Everybody's orders, level by level, the first in line first."""

    is_tagged: bool = True
    now_us: int = START_US
    queues: dict[Level, list[Rests]] = field(default_factory=dict)
    book: deque[BookNews] = field(default_factory=deque)
    answers: deque[Answer] = field(default_factory=deque)
    number: int = 0

    def levels(self, *, only_others: bool = False) -> dict[Level, int]:
        sizes = {
            level: sum(one.count_cx for one in queue if not (only_others and one.owner))
            for level, queue in self.queues.items()
        }
        return {level: size for level, size in sizes.items() if size}

    def ahead(self) -> dict[str, int]:
        """Return others' contracts ahead of each of our orders at its price."""
        found: dict[str, int] = {}
        for queue in self.queues.values():
            before_cx = 0
            for one in queue:
                if one.owner:
                    found[one.owner] = before_cx
                else:
                    before_cx += one.count_cx
        return found

    def best_cc(self, side: Side) -> int:
        return max((price for one, price in self.levels() if one is side), default=0)

    def _tell(self, kind: str, level: Level | None, count_cx: int, tag: str = "") -> None:
        tag = tag if self.is_tagged else ""
        self.book.append(
            BookNews(
                self.now_us, kind, level, count_cx, tag, self.levels(), self.levels(only_others=True), self.ahead()
            )
        )

    def _answer(self, owner: str, remaining_cx: int, filled_cx: int = 0) -> None:
        self.answers.append(Answer(self.now_us, owner, remaining_cx, filled_cx))

    def find(self, owner: str) -> tuple[Level, Rests] | None:
        return next(((level, one) for level, queue in self.queues.items() for one in queue if one.owner == owner), None)

    # --- what happens -------------------------------------------------------------------------------------------------

    def add(self, level: Level, count_cx: int, owner: str = "") -> None:
        self.queues.setdefault(level, []).append(Rests(owner, count_cx))
        self._tell("delta", level, count_cx, owner)
        if owner:
            self._answer(owner, count_cx)

    def reduce(self, level: Level, at: int, count_cx: int) -> None:
        """Take so much off one order of a level; all of it ends the order."""
        queue = self.queues[level]
        one = queue[at]
        count_cx = min(count_cx, one.count_cx)
        one.count_cx -= count_cx
        if not one.count_cx:
            del queue[at]
        self._tell("delta", level, -count_cx, one.owner)
        if one.owner:
            self._answer(one.owner, one.count_cx)

    def leave(self, owner: str, count_cx: int) -> None:
        found = self.find(owner)
        if found is not None:
            level, one = found
            self.reduce(level, self.queues[level].index(one), count_cx)

    def trade(self, side: Side, count_cx: int, *, print_first: bool = False) -> None:
        """Let a taker meet the best orders of a side, one after the other."""
        while count_cx and self.best_cc(side):
            level = (side, self.best_cc(side))
            one = self.queues[level][0]
            met_cx = min(count_cx, one.count_cx)
            count_cx -= met_cx
            one.count_cx -= met_cx
            if not one.count_cx:
                del self.queues[level][0]
            self._tell("print" if print_first else "delta", level, met_cx if print_first else -met_cx)
            self._tell("delta" if print_first else "print", level, -met_cx if print_first else met_cx)
            if one.owner:
                self._answer(one.owner, one.count_cx, met_cx)

    @property
    def is_cut(self) -> bool:
        """Whether a snapshot is on its way: until it comes there is no book to look at."""
        return any(news.kind == "snapshot" for news in self.book)

    def cut(self) -> None:
        """Break the book stream off, and begin it anew with a snapshot."""
        self.book.clear()
        self.number += 1
        self._tell("snapshot", None, 0)


@dataclass
class Reader:
    """What a trader knows: it hears the two streams, and keeps its own part of the book by them."""

    exchange: Exchange = field(default_factory=Exchange)
    own: OwnBook = field(default_factory=OwnBook)
    book: OrderBook = field(default_factory=OrderBook)
    proven: dict[str, int] = field(default_factory=dict)
    may: dict[str, int] = field(default_factory=dict)
    where: dict[str, Level] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    truth: dict[Level, int] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)
    seq: int = 0
    read_us: int = 0
    heard: Callable[[Answer], None] = lambda answer: None
    read: Callable[[BookNews], None] = lambda news: None

    @property
    def now_us(self) -> int:
        return self.exchange.now_us

    # --- what we ask for ----------------------------------------------------------------------------------------------

    def wish(self, owner: str, level: Level, count_cx: int) -> None:
        self.may[owner], self.where[owner] = count_cx, level
        self.follow()

    def wish_away(self, owner: str) -> None:
        self.leaving.add(owner)
        self.follow()

    def resting(self) -> tuple[RestingQuote, ...]:
        return tuple(RestingQuote(one, *self.where[one], left_cx) for one, left_cx in self.proven.items() if left_cx)

    def follow(self) -> None:
        unproven = tuple(Unproven(*self.where[one], count_cx) for one, count_cx in self.may.items())
        leaving = frozenset(self.where[one][0] for one in self.leaving)
        self.own.on_orders(self.resting(), unproven, leaving=leaving, now_us=self.now_us)

    # --- what we hear -------------------------------------------------------------------------------------------------

    def hear(self) -> None:
        """Take in the next answer."""
        answer = self.exchange.answers.popleft()
        self.may.pop(answer.client_order_id, None)
        self.proven[answer.client_order_id] = answer.remaining_cx
        if not answer.filled_cx or not answer.remaining_cx:
            self.leaving.discard(answer.client_order_id)
        self.follow()
        self.heard(answer)

    def next(self) -> None:
        """Take in the next message of the book."""
        news = self.exchange.book.popleft()
        self.read_us = news.at_us
        self.seq += 1
        if news.kind == "snapshot":
            levels = [[(price, size) for (one, price), size in news.levels.items() if one is side] for side in Side]
            self.book.replace(*levels)
            self.own.on_snapshot((1, self.exchange.number, 1), self.seq, book=self.book, now_us=self.now_us)
        elif news.level is not None and news.kind == "print":
            self.own.on_print(*news.level, news.count_cx, now_us=self.now_us)
        elif news.level is not None:
            self.book.apply(*news.level, news.count_cx)
            self.own.on_delta(
                *news.level, news.count_cx, news.tag or None, seq=self.seq, book=self.book, now_us=self.now_us
            )
        if news.kind != "print":
            self.truth, self.ahead = news.others, news.ahead
        self.read(news)

    def catch_up(self) -> None:
        while self.exchange.answers:
            self.hear()
        while self.exchange.book:
            self.next()

    def wait(self, span_us: int) -> None:
        """Let time pass; what would become older than it may is delivered first, and no trade only in part."""
        while self.exchange.book and self.exchange.book[0].at_us == self.read_us:
            self.next()
        end_us = self.now_us + span_us
        while True:
            late = [queue[0].at_us for queue in (self.exchange.book, self.exchange.answers) if queue]
            due_us = min(late, default=end_us) + DOUBT_US - 1
            if due_us > end_us:
                break
            self.exchange.now_us = max(self.now_us, due_us)
            book = self.exchange.book
            if book and book[0].at_us == min(late):
                self.next()
                while book and book[0].at_us == self.read_us:
                    self.next()
            else:
                self.hear()
        self.exchange.now_us = end_us

    # --- what we see --------------------------------------------------------------------------------------------------

    def shown(self, book: OrderBook | None = None) -> dict[Level, int]:
        book = book or self.book
        return {(side, price): size for side in Side for price, size in book.levels[side].items()}

    def others(self) -> dict[Level, int]:
        return self.shown(self.own.others(self.book, self.now_us))

    def uncertain(self) -> frozenset[Level]:
        return self.own.uncertain(self.now_us)


LEVELS = ((Side.YES, 4_000), (Side.YES, 4_100), (Side.NO, 5_500))
PAUSES_US = (10_000, 100_000, 260_000, 700_000, DOUBT_US - 1)
KINDS = (
    "add", "add", "cancel", "trade", "place", "place", "leave", "leave", "book", "book", "book", "book", "answer",
    "answer", "wait", "wait", "cut",
)  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1 << 16)), max_size=60)


class Trading(Reader):
    """A reader whose exchange, whose wishes and whose two streams go on step by step."""

    def __init__(self, *, is_tagged: bool) -> None:
        super().__init__(Exchange(is_tagged=is_tagged))
        for level in LEVELS:
            self.exchange.add(level, 150)
        self.exchange.cut()
        self.next()
        self.wished: list[str] = []

    def step(self, kind: str, pick: int) -> None:
        exchange, level = self.exchange, LEVELS[pick % 3]
        exchange.now_us += 1
        if kind == "add":
            exchange.add(level, (30, 50, 100)[pick // 3 % 3])
        elif kind == "cancel":
            self._cancel_anybody(level, pick // 3)
        elif kind == "trade":
            exchange.trade(Side(pick % 2), (10, 50, 100, 200)[pick // 2 % 4], print_first=bool(pick // 8 % 2))
        elif kind == "place":
            self.wished.append(f"o{len(self.wished)}")
            self.wish(self.wished[-1], level, (50, 100)[pick // 3 % 2])
            exchange.add(level, self.may[self.wished[-1]], self.wished[-1])
        elif kind == "leave":
            self._leave(pick)
        elif kind == "book" and exchange.book:
            self.next()
        elif kind == "answer" and exchange.answers:
            self.hear()
        elif kind == "wait":
            self.wait(PAUSES_US[pick % len(PAUSES_US)])
        elif kind == "cut" and not pick % 4:
            exchange.cut()

    def _cancel_anybody(self, level: Level, pick: int) -> None:
        queue = self.exchange.queues.get(level, [])
        strangers = [at for at, one in enumerate(queue) if not one.owner]
        if strangers:
            self.exchange.reduce(level, strangers[pick % len(strangers)], (20, 50, 1_000)[pick // 7 % 3])

    def _leave(self, pick: int) -> None:
        """Cancel or decrease one of ours that is proven to rest; it may have filled meanwhile."""
        ours = [quote.client_order_id for quote in self.resting()]
        if ours:
            owner = ours[pick % len(ours)]
            self.wish_away(owner)
            self.exchange.leave(owner, (20, 1_000, 1_000)[pick // 16 % 3])
