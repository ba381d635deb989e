"""A recording as the streams would have told it: frames through session and books, at their recorded times.

    recording → Session → Books → Told      what readers of the book and feed streams hear at one moment

This is the gateway's part of a backtest, without its socket, its stores and its clock. Two clocks come with what is
told: the recorder's, for ages, and the exchange's, which is ahead of it by what the survey found.

    every 250 ms            the feed's state, as the gateway would write it
    each turn of frames     the events of the books, tickers, and lives of markets, in the order they came
    a connection's end      a feed without a connection: no book is valid until the next one's snapshot

A recording keeps no pings. As long as it goes on its connection lived, so the connection is never silent; that it ended
is known from the next one's beginning, and counts from its last frame on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from feed import schema
from feed.books import Books
from feed.kalshi.session import Session
from feed.recording import connection_identity, read_frames
from feed.schema import BookEvent, FeedState, LifecycleRow, TickerRow
from feed.survey import Survey
from feed.turns import Turn, turns

FEED_EVERY_US = int(schema.FEED_EVERY_S * 1_000_000)
CONNECTION_ENDS = "the recording of this connection ends"

Happened = tuple[str, BookEvent | TickerRow | LifecycleRow]
"""A market's ticker, and what happened in it."""


class Told(msgspec.Struct, frozen=True):
    """What is told at one moment.

    Attributes:
        wall_us: The exchange's time.
        received_us: The recorder's clock.
        feed: The feed's state where one is written.
        happened: In order.
    """

    wall_us: int
    received_us: int
    feed: FeedState | None
    happened: tuple[Happened, ...] = ()


class Retold:
    """One recording, told once.

    Args:
        path: The recording.
        survey: What it says of itself.
        use_yes_price: NO levels of raw frames are at YES prices.

    Attributes:
        counters: What came, and what was wrong with it, by kind: of all connections that have ended.
    """

    def __init__(self, path: Path, survey: Survey, *, use_yes_price: bool = False) -> None:
        self.counters: Counter[str] = Counter()
        self._path, self._survey, self._use_yes_price = path, survey, use_yes_price
        self._tickers = [market.ticker for market in survey.markets]
        self._books: Books | None = None
        self._connection = -1
        self._at_us = self._feed_due_us = survey.first_us

    def tell(self) -> Iterator[Told]:
        """Yield what is told, moment by moment.

        Raises:
            BadRecording: The file is broken; what came before the break has been told.
        """
        for turn in turns(read_frames(self._path)):
            if turn.connection != self._connection and self._books is not None:
                self._leave(self._books)
                yield Told(self._wall_us(), self._at_us, self._state(CONNECTION_ENDS))
            yield from self._feed_until(turn.received_us)
            yield self._turn(turn)
        if self._books is not None:
            self._leave(self._books)

    def _turn(self, turn: Turn) -> Told:
        self._at_us = turn.received_us
        is_new = turn.connection != self._connection or self._books is None
        books = self._connected(turn) if is_new else self._books
        assert books is not None, "a turn is of some connection"
        happened: list[Happened] = []
        is_feed_changed = is_new
        for frame in turn.frames:  # one by one: tickers and events in the order they came
            books.receive(frame, turn.received_us)
            is_feed_changed = self._take(books, happened) or is_feed_changed
        feed = self._state() if is_feed_changed else None
        return Told(self._wall_us(), self._at_us, feed, tuple(happened))

    def _connected(self, turn: Turn) -> Books:
        self._connection = turn.connection
        conn = connection_identity(self._survey.recording, turn.connection) if turn.conn is None else turn.conn
        books = self._books = Books(conn, Session(use_yes_price=self._use_yes_price, adopt=True))
        books.wall_ahead(self._survey.ahead_us)
        for ticker in self._tickers:
            books.lease(ticker, is_leased=True, now_us=self._at_us)
        return books

    def _leave(self, books: Books) -> None:
        self.counters += books.counters
        self.counters["connections"] += 1
        self._books = None

    def _feed_until(self, at_us: int) -> Iterator[Told]:
        """Yield the feed's entries that are due by then."""
        while self._feed_due_us <= at_us:
            self._at_us = self._feed_due_us
            self._feed_due_us += FEED_EVERY_US
            happened: list[Happened] = []
            if self._books is not None:
                self._books.tick(self._at_us)
                self._take(self._books, happened)
            yield Told(self._wall_us(), self._at_us, self._state(), tuple(happened))

    def _take(self, books: Books, happened: list[Happened]) -> bool:
        """Move what the books gathered to `happened`; return whether the feed's state changed."""
        taken = books.take()
        for ticker, events in taken.events.items():
            happened += [(ticker, event) for event in events]
        happened += [(row.ticker, row) for row in taken.rows if isinstance(row, TickerRow | LifecycleRow)]
        for ticker in sorted(taken.gone):  # who follows a market would ask for it again
            books.lease(ticker, is_leased=True, now_us=self._at_us)
        return taken.is_feed_changed

    def _wall_us(self) -> int:
        return self._at_us + self._survey.ahead_us

    def _state(self, reason: str = "") -> FeedState:
        books = self._books
        return FeedState(
            version=schema.VERSION,
            conn=books.conn if books else 0,
            state="connected" if books else "disconnected",
            generations=books.generations() if books else {},
            frame_age_ms=0,
            lag_ms=books.last_lag_ms if books else None,
            written_us=self._wall_us(),
            subscribed=sum(market.is_valid for market in books.markets.values()) if books else 0,
            reason=reason,
        )
