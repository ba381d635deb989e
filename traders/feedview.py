"""One market's book as a trader may trust it, from the feed and book streams.

    no snapshot yet ──snapshot──► following ──status, negative level, lost entries──► no snapshot yet
                                      │
                                      └── valid only while `why_invalid` finds nothing (design.md section 4)

`FeedView` is the rule, fed with entries and the reader's own clock; `StreamReader` fetches the entries. The gateway
repeats what it could not prove sent, so an entry may come twice: deltas and snapshots count once by their sequence
number, prints by their id.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from feed.schema import (
    CONNECTION_SILENT_MAX_S,
    FEED,
    FEED_ENTRY_MAX_S,
    LAG_MAX_MS,
    VERSION,
    BookDelta,
    BookEvent,
    BookSnapshot,
    BookStatus,
    BookTrade,
    Control,
    FeedState,
    book_stream,
    control_stream,
    decode_book,
    decode_control,
    decode_feed,
)
from kalshimm.runtime.resp import Pipe
from markets.core.book import NegativeLevel, OrderBook

Entry = tuple[bytes, list[bytes]]  # as Redis answers it: its id, then field and value in turn

READ_ENTRIES = 1_000
WALK_BACK_ENTRIES = 200
PRINTS_KEPT = 1_000  # far more than one round trip of the gateway holds of one market
READER_PAUSE_MAX_S = 2.0  # after a longer pause of our own the stream may have been trimmed past us


class FeedView:
    """Keeps the book of one market and says at any moment why it must not be traded on.

    `broken` says why only a new snapshot can help, whatever the feed says; empty while the book is followed.
    `time_us` is the newest exchange time seen.
    """

    def __init__(self) -> None:
        self.book = OrderBook()
        self.time_us = 0
        self._snapshot: BookSnapshot | None = None
        self._seq = 0  # last one that the book contains
        self._prints: dict[str, None] = {}  # newest ids, oldest first
        self.broken = "waiting for the first snapshot"
        self._feed: FeedState | None = None
        self._feed_at_s = 0.0

    def on_feed(self, state: FeedState, now_s: float) -> None:
        """Take the newest feed entry, received at `now_s` on the reader's monotonic clock."""
        self._feed, self._feed_at_s = state, now_s

    @property
    def basis(self) -> tuple[int, int, int, int] | None:
        """What the book rests on: connection, subscription, its generation, and the last number it contains."""
        return None if self._snapshot is None else (*_origin_of(self._snapshot), self._seq)

    @property
    def lag_us(self) -> int | None:
        """By how much the newest message was late, by the gateway's clock; None while nobody knows."""
        lag_ms = None if self._feed is None else self._feed.lag_ms
        return None if lag_ms is None else lag_ms * 1_000

    def lose(self, reason: str) -> None:
        """Distrust the book until the next snapshot."""
        self.broken = reason

    def on_event(self, event: BookEvent) -> bool:
        """Apply one event, and return whether it is news; one that is repeated changes nothing.

        Without a book to apply it to, only a snapshot counts.
        """
        if self._is_repeated(event):
            return False
        self._apply(event)
        return True

    def _is_repeated(self, event: BookEvent) -> bool:
        if isinstance(event, BookTrade):
            return self._is_known_print(event.trade_id)
        if self.broken:
            return False
        if isinstance(event, BookDelta):
            return 0 < event.seq <= self._seq  # 0 is a message without a number
        return (
            isinstance(event, BookSnapshot) and _origin(event) == _origin(self._snapshot) and 0 < event.seq < self._seq
        )

    def _is_known_print(self, trade_id: str) -> bool:
        if trade_id in self._prints:
            return True
        self._prints[trade_id] = None
        if len(self._prints) > PRINTS_KEPT:
            del self._prints[next(iter(self._prints))]
        return False

    def _apply(self, event: BookEvent) -> None:
        self.time_us = max(self.time_us, event.time_us)
        if isinstance(event, BookStatus):
            if not event.is_valid:
                self.lose(event.reason)
            return
        try:
            if isinstance(event, BookSnapshot):
                self.book.replace(event.yes, event.no)
                self._snapshot, self._seq, self.broken = event, event.seq, ""
            elif isinstance(event, BookDelta) and not self.broken:
                self.book.apply(event.side, event.price_cc, event.delta_cx)
                self._seq = event.seq or self._seq
        except NegativeLevel as exc:
            self.lose(f"not the exchange's book any more: {exc}")

    def why_invalid(self, now_s: float) -> str:
        """Return why the book must not be traded on at `now_s`, or an empty string."""
        if self._feed is None:
            return "waiting for the feed"
        age_s = now_s - self._feed_at_s
        if age_s >= FEED_ENTRY_MAX_S:
            return "the feed is silent: the gateway or Redis is gone"
        return self.broken or self._why_feed_distrusted(self._feed, age_s)

    def _why_feed_distrusted(self, feed: FeedState, age_s: float) -> str:
        snapshot = self._snapshot
        assert snapshot is not None, "a book that is not broken had a snapshot"
        if snapshot.conn != feed.conn or feed.generations.get(snapshot.sid) != snapshot.generation:
            return f"the book is of an older connection or subscription (feed: {feed.reason or feed.state})"
        if feed.frame_age_ms / 1_000 + age_s >= CONNECTION_SILENT_MAX_S:
            return f"the connection has been silent for {CONNECTION_SILENT_MAX_S:.0f} s"
        if feed.lag_ms is not None and feed.lag_ms >= LAG_MAX_MS:
            return f"messages are {feed.lag_ms / 1_000:.0f} s late"
        return ""


class Batch(msgspec.Struct, frozen=True):
    """What one read brought: newest feed state, market events in order, commands, and whether entries were lost."""

    feed: FeedState | None
    events: tuple[BookEvent, ...]
    controls: tuple[Control, ...]
    lost: bool = False


class StreamReader:
    """Reads the three streams of one trader.

    Every method raises what the pipe raises, and MsgspecError on an entry that is not of our version.

    Args:
        pipe: Its own: a read may hold it for a while.
        control_id: Last command entry that was answered, `0-0` for none.
    """

    def __init__(self, pipe: Pipe, *, trader: int, ticker: str, control_id: str) -> None:
        self._pipe = pipe
        self._book = book_stream(ticker).encode()
        self._control = control_stream(str(trader)).encode()
        self._ids: dict[bytes, bytes] = {self._control: control_id.encode()}
        self._read_at_s: float | None = None

    @property
    def control_id(self) -> str:
        return self._ids[self._control].decode()

    async def locate(self) -> Batch:
        """Start anew: the events since the newest snapshot, and reading on from their end.

        Feed entries already there count for nothing: nobody knows how old they are.
        """
        newest = await self._pipe.ask("XREVRANGE", FEED, "+", "-", "COUNT", 1)
        self._ids[FEED.encode()] = newest[0][0] if newest else b"0-0"
        entries = await self._walk_back()
        self._ids[self._book] = entries[-1][0] if entries else b"0-0"
        self._read_at_s = None
        return Batch(None, tuple(_since_snapshot([event for _, events in entries for event in events])), ())

    async def _walk_back(self) -> list[tuple[bytes, list[BookEvent]]]:
        """Return entries from the newest that holds a snapshot on; without one, only the newest."""
        found: list[tuple[bytes, list[BookEvent]]] = []
        end = b"+"
        while True:
            page = await self._pipe.ask("XREVRANGE", self._book, end, "-", "COUNT", WALK_BACK_ENTRIES)
            for entry_id, (_, value) in page:
                events = _events(value)
                found.append((entry_id, events))
                if any(isinstance(event, BookSnapshot) for event in events):
                    return found[::-1]
            if len(page) < WALK_BACK_ENTRIES:
                return found[:1]
            end = b"(" + page[-1][0]

    async def read(self, *, block_ms: int, now_s: float) -> Batch:
        """Return what came since the last read, up to the end of the streams, waiting up to `block_ms` for something.

        After a pause of our own nobody knows how old the newest feed entry is: it counts for nothing (A4).
        `lost` says that book entries may have been trimmed before we read them: start anew with `locate`.
        """
        before = self._ids[self._book]
        has_paused = self._read_at_s is not None and now_s - self._read_at_s > READER_PAUSE_MAX_S
        self._read_at_s = now_s
        options = ("COUNT", READ_ENTRIES, "BLOCK", block_ms, "STREAMS")
        batch, is_more = await self._read_once(options, block_s=block_ms / 1_000)
        is_behind = is_more
        while is_more:
            rest, is_more = await self._read_once(("COUNT", READ_ENTRIES, "STREAMS"))
            batch = Batch(rest.feed or batch.feed, batch.events + rest.events, batch.controls + rest.controls)
        if has_paused or is_behind:
            lost = await self._is_cut(before)
            return Batch(None if has_paused else batch.feed, batch.events, batch.controls, lost)
        return batch

    async def _read_once(self, options: tuple[str | int, ...], *, block_s: float = 0.0) -> tuple[Batch, bool]:
        """Return what one answer brings, and whether the book's stream holds more."""
        streams = (*self._ids, *self._ids.values())
        answer = await self._pipe.ask("XREAD", *options, *streams, block_s=block_s) or ()
        is_more = any(stream == self._book and len(entries) >= READ_ENTRIES for stream, entries in answer)
        return self._decode(answer), is_more

    def _decode(self, answer: Sequence[tuple[bytes, list[Entry]]]) -> Batch:
        feed: FeedState | None = None
        events: list[BookEvent] = []
        controls: list[Control] = []
        for stream, entries in answer:
            self._ids[stream] = entries[-1][0]
            values = [value for _, (_, value) in entries]
            if stream == self._book:
                events += [event for value in values for event in _events(value)]
            elif stream == self._control:
                controls += [decode_control(value) for value in values]
            else:
                feed = _feed(values[-1])
        return Batch(feed, tuple(events), tuple(controls))

    async def _is_cut(self, entry_id: bytes) -> bool:
        oldest = await self._pipe.ask("XRANGE", self._book, "-", "+", "COUNT", 1)
        return bool(oldest) and entry_id != b"0-0" and _order(oldest[0][0]) > _order(entry_id)


def _origin(snapshot: BookSnapshot | None) -> tuple[int, int, int] | None:
    """Return what sequence numbers count in: connection, subscription, generation."""
    return _origin_of(snapshot) if snapshot else None


def _origin_of(snapshot: BookSnapshot) -> tuple[int, int, int]:
    return snapshot.conn, snapshot.sid, snapshot.generation


def _events(value: bytes) -> list[BookEvent]:
    entry = decode_book(value)
    if entry.version != VERSION:
        raise msgspec.ValidationError(f"book entry of version {entry.version}, expected {VERSION}")
    return entry.events


def _feed(value: bytes) -> FeedState:
    state = decode_feed(value)
    if state.version != VERSION:
        raise msgspec.ValidationError(f"feed entry of version {state.version}, expected {VERSION}")
    return state


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)


def _since_snapshot(events: list[BookEvent]) -> list[BookEvent]:
    """Return the events from the last snapshot on; all of them when there is none."""
    for at in range(len(events) - 1, -1, -1):
        if isinstance(events[at], BookSnapshot):
            return events[at:]
    return events
