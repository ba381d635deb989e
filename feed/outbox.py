"""What gathers between two writes: rows for the tape, events for the book streams, whose lives begin and end."""

from __future__ import annotations

import msgspec

from feed import schema
from feed.marketbook import MarketBook


class Taken(msgspec.Struct, frozen=True):
    """What gathered since the last time.

    `rows` for the tape; `events` by ticker for the book streams of leased markets; `snapshots_wanted`, each
    (sid, tickers) for one request; `leased` and `gone`, the tickers whose book stream begins to live and whose market
    is over here; `is_feed_changed` when a generation moved.
    """

    rows: list[schema.Row]
    events: dict[str, list[schema.BookEvent]]
    snapshots_wanted: list[tuple[int, list[str]]]
    leased: frozenset[str]
    gone: frozenset[str]
    is_feed_changed: bool

    @property
    def is_empty(self) -> bool:
        gathered = (self.rows, self.events, self.snapshots_wanted, self.leased, self.gone)
        return not (any(gathered) or self.is_feed_changed)


class Outbox:
    """Gathers for one connection; `rows`, `leased`, `gone` and `is_feed_changed` are as of `Taken`.

    Args:
        conn: Identity of the connection.
    """

    def __init__(self, conn: int) -> None:
        self._conn = conn
        self.rows: list[schema.Row] = []
        self.leased: set[str] = set()
        self.gone: set[str] = set()
        self.is_feed_changed = False
        self._told: list[MarketBook] = []  # leased markets with events
        self._last_words: dict[str, list[schema.BookEvent]] = {}  # of markets whose lease is over

    def say(self, market: MarketBook, event: schema.BookEvent) -> None:
        """Put an event on the market's book stream, if it has one."""
        if market.events is None:
            return
        if not market.events:
            self._told.append(market)
        market.events.append(event)

    def say_whole(self, market: MarketBook, now_us: int) -> None:
        """Put the whole book on its stream, if it has one, so that a newcomer need not walk back far."""
        if market.is_leased:
            self.say(market, market.stream_snapshot(self._conn))
            market.streamed, market.streamed_us = -len(market.events or ()), now_us

    def say_last(self, market: MarketBook, event: schema.BookEvent) -> None:
        """Put an event on the market's book stream, and nothing after it: its lease is over."""
        self._last_words[market.ticker] = [*self._last_words.get(market.ticker, ()), *(market.events or ()), event]
        market.lease(is_leased=False)

    def take(self, snapshots_wanted: list[tuple[int, list[str]]]) -> Taken:
        """Return what has gathered, with what the caller gathered himself, and begin anew."""
        rows, self.rows = self.rows, []
        events = self._take_events() if self._told or self._last_words else {}
        taken = Taken(
            rows, events, snapshots_wanted, frozenset(self.leased), frozenset(self.gone), self.is_feed_changed
        )
        if self.leased or self.gone:
            self.leased, self.gone = set(), set()
        self.is_feed_changed = False
        return taken

    def _take_events(self) -> dict[str, list[schema.BookEvent]]:
        gathered, self._last_words = self._last_words, {}
        told, self._told = self._told, []
        for market in told:
            happened = market.events
            if not happened:
                continue  # its lease is over: these are its last words
            market.events = []
            market.streamed += len(happened)
            if market.streamed >= schema.BOOK_SNAPSHOT_DELTAS and market.is_valid:
                happened.append(market.stream_snapshot(self._conn))
                market.streamed = 0
            gathered[market.ticker] = gathered.get(market.ticker, []) + happened
        return gathered
