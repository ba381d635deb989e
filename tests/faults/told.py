"""Invariant 5: no quote from a bad book. What the gateway told every reader, and when, against what was decided on it.

    kmm:feed              ──► FeedTold  newest health of the connection at a time
    kmm:book:{ticker}     ──► BookTold  what the book rested on at a time, None while it was not valid

Each decision that led to a create or an amend names its book: connection, subscription, generation and sequence. That
book must have been the newest, and the feed good, at some moment since its reader can last have looked.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

import redis

from feed.schema import (
    CONNECTION_SILENT_MAX_S,
    FEED,
    FEED_ENTRY_MAX_S,
    FIELD,
    LAG_MAX_MS,
    BookDelta,
    BookEvent,
    BookSnapshot,
    BookStatus,
    Decision,
    FeedState,
    OrderIntent,
    book_stream,
    decode_book,
    decode_feed,
)
from tests.faults.invariants import Party
from tests.faults.records import Noted, Record

Basis = tuple[int, ...]  # connection, subscription, generation, sequence
MS_US, SECOND_US = 1_000, 1_000_000
READ_WITHIN_US = 500_000  # from a stream to a decision, on a machine with more to do
AMENDS = ("decrease", "renew")
ADDING = ("place", "take", *AMENDS)
SHOWN = 3


class Since:
    """Values of one kind, each true since a time: the newest at or before any time is found."""

    def __init__(self) -> None:
        self.times_us: list[int] = []
        self.values: list[Any] = []

    def add(self, at_us: int, value: Any) -> None:
        self.times_us.append(at_us)
        self.values.append(value)

    def at(self, at_us: int) -> int:
        """Return the place of what was newest then; -1 before the first."""
        return bisect_right(self.times_us, at_us) - 1


class Told:
    """All that the streams have told: of the feed, and of each market's book.

    `known_us` is since when nothing is missing of a market's: what was decided before cannot be judged.
    """

    def __init__(self) -> None:
        self.feed = Since()
        self.books: dict[str, Since] = {}
        self.known_us: dict[str, int] = {}

    def add_feed(self, at_us: int, state: FeedState) -> None:
        self.feed.add(at_us, state)

    def add_events(self, ticker: str, at_us: int, events: Iterable[BookEvent]) -> None:
        """Take in one entry of a market's stream: a reader takes in all of it before anybody decides."""
        book = self.books.setdefault(ticker, Since())
        basis: Basis | None = book.values[-1] if book.values else None
        for event in events:
            basis = _after(basis, event)
        book.add(at_us, basis)

    def miss(self, ticker: str, until_us: int) -> None:
        """Take in that some of what was told of a market before then is missing."""
        self.known_us[ticker] = max(until_us, self.known_us.get(ticker, 0))

    def newest(self, ticker: str) -> Basis | None:
        """Return what a market's book rests on by the last that was told; None without a good one."""
        book = self.books.get(ticker)
        return book.values[-1] if book and book.values else None

    def why_bad(self, ticker: str, basis: Basis, at_us: int, *, within_us: int) -> str:
        """Return why a book was not good at any moment from `within_us` before a decision; empty when it was.

        Times are whole milliseconds, in which a stream may tell more than one thing: each of them was the newest.
        """
        book = self.books.get(ticker, Since())
        whys = [
            self._why_feed(basis, moment_us, place)
            for from_us, until_us in _spans(book, basis, at_us - within_us, at_us)
            for place in range(self.feed.at(from_us - 1), self.feed.at(until_us) + 1)
            for moment_us in (max(from_us, self.feed.times_us[place] if place >= 0 else from_us),)
        ]
        if "" in whys:
            return ""
        if whys:
            return whys[0]
        place = book.at(at_us)
        newest = book.values[place] if place >= 0 else None
        return f"the book was {newest}" if newest else "the market's book was not valid"

    def _why_feed(self, basis: Basis, at_us: int, place: int) -> str:
        """Return what was wrong with the feed at a moment, by the entry of it at this place."""
        if place < 0:
            return "the feed had told nothing"
        state: FeedState = self.feed.values[place]
        age_us = at_us - self.feed.times_us[place]
        conn, sid, generation, _ = basis
        if age_us >= FEED_ENTRY_MAX_S * SECOND_US:
            return f"the feed had been silent for {age_us} us"
        if state.conn != conn or state.generations.get(sid) != generation:
            return f"the feed was at connection {state.conn}, generations {state.generations}"
        if state.frame_age_ms * MS_US + age_us >= CONNECTION_SILENT_MAX_S * SECOND_US:
            return "the connection was silent"
        return f"messages were {state.lag_ms} ms late" if (state.lag_ms or 0) >= LAG_MAX_MS else ""


def _spans(book: Since, basis: Basis, from_us: int, until_us: int) -> Iterator[tuple[int, int]]:
    """Yield each span between two times in which this was the newest of a book."""
    for place in range(max(book.at(from_us), 0), book.at(until_us) + 1):
        if book.values[place] == basis:
            ended_us = book.times_us[place + 1] if place + 1 < len(book.values) else until_us
            yield max(from_us, book.times_us[place]), min(until_us, ended_us)


def _after(basis: Basis | None, event: BookEvent) -> Basis | None:
    """Return what a book rests on after an event; None as long as only a snapshot helps."""
    if isinstance(event, BookStatus):
        return basis if event.is_valid else None
    if isinstance(event, BookSnapshot):
        fresh = (event.conn, event.sid, event.generation, event.seq)
        is_old = basis is not None and basis[:3] == fresh[:3] and 0 < event.seq < basis[3]
        return basis if is_old else fresh
    if isinstance(event, BookDelta) and basis is not None and event.seq > basis[3]:
        return (*basis[:3], event.seq)
    return basis


# ---- the verdict -----------------------------------------------------------------------------------------------------


def decided_badly(told: Told, party: Party, *, within_us: int = READ_WITHIN_US) -> list[str]:
    """Return the creates and amends whose book is not named, or was not good when they were decided on.

    Args:
        within_us: How old may be what their reader knows.
    """
    found = []
    for intent, decision in adding(party.record):
        if intent.number <= party.since or intent.at_us < told.known_us.get(party.ticker, 0):
            continue
        why = _why_bad(told, party.ticker, decision, within_us)
        if why:
            found.append(f"{intent.body.verb} {intent.body.client_order_id} at {intent.at_us}: {why}")
    more = [f"I5 and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [*(f"I5 trader {party.trader}: {one}" for one in found[:SHOWN]), *more]


def adding(record: Record) -> list[tuple[Noted[OrderIntent], Noted[Decision] | None]]:
    """Return the intents that create or amend, each with the decision that it came of: the last one before it."""
    numbers = [line.number for line in record.decisions]
    return [
        (line, record.decisions[place - 1] if (place := bisect_right(numbers, line.number)) else None)
        for line in record.intents.values()
        if line.body.verb in ADDING
    ]


def _why_bad(told: Told, ticker: str, decision: Noted[Decision] | None, within_us: int) -> str:
    if decision is None:
        return "nobody decided on it"
    basis = decision.body.figures.get("basis")
    if basis is None:
        return f"its decision names no book: {decision.body.reason}"
    why = told.why_bad(ticker, tuple(basis), decision.at_us, within_us=within_us)
    return f"decided on the book {tuple(basis)} at {decision.at_us}, and {why}" if why else ""


# ---- reading ---------------------------------------------------------------------------------------------------------


class Listener:
    """Follows the streams of a store from their begin. They are trimmed, and a store that dies may forget.

    A store keeps the machine's time, and a rig may keep another, which is whole seconds away.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._run_id = ""
        self._shift_us = 0
        self._ids: dict[str, bytes] = {}
        self._read: dict[str, int] = {}  # entries of each stream; those that were missed count as read
        self.told = Told()

    def listen(self, tickers: Iterable[str]) -> None:
        """Take in what is new of the feed and of these markets."""
        wanted = sorted(set(tickers))
        self._see_store()
        self._see_clock()
        if self._is_cut(FEED):
            self._miss(*map(book_stream, wanted))
        for at_us, payload in self._fresh(FEED):
            self.told.add_feed(at_us, decode_feed(payload))
        for ticker in wanted:
            stream = book_stream(ticker)
            if self._is_cut(stream):
                self._miss(stream)
            for at_us, payload in self._fresh(stream):
                self.told.add_events(ticker, at_us, decode_book(payload).events)

    def _see_store(self) -> None:
        """Begin anew with a store that was started anew: what it has forgotten, its readers may have read."""
        info: Any = self._client.info("server")
        if self._run_id not in ("", info["run_id"]):
            self._miss(*self._ids)
            self._ids, self._read = {}, {}
        self._run_id = info["run_id"]

    def _see_clock(self) -> None:
        now: Any = self._client.time()
        seconds, micros = now
        self._shift_us = round(time.time() - seconds - micros / SECOND_US) * SECOND_US

    def _miss(self, *streams: str) -> None:
        now_us = time.time_ns() // MS_US
        for stream in streams:
            self.told.miss(stream.removeprefix(book_stream("")), now_us)

    def _is_cut(self, stream: str) -> bool:
        """Return whether entries were trimmed before they were read."""
        try:
            about: Any = self._client.xinfo_stream(stream)
        except redis.ResponseError:  # nothing was told there yet
            return False
        trimmed: int = about["entries-added"] - about["length"]
        is_cut = trimmed > self._read.get(stream, 0)
        self._read[stream] = max(trimmed, self._read.get(stream, 0))
        return is_cut

    def _fresh(self, stream: str) -> Iterator[tuple[int, bytes]]:
        """Return time and payload of each entry since the last look; a time is cut to the millisecond."""
        entries: Any = self._client.xrange(stream, b"(" + self._ids.get(stream, b"0-0"))
        for entry_id, fields in entries:
            self._ids[stream] = entry_id
            self._read[stream] = self._read.get(stream, 0) + 1
            yield _order(entry_id)[0] * MS_US + self._shift_us, fields[FIELD]


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)
