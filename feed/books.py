"""All books of one connection: frames in; tape rows, book events and requests for snapshots out.

The one path of market data, live and recorded: session → books → rows. No socket, no Redis, no clock.
What gathers here is taken by `take` and sent on by whoever owns the connection.

A book is invalid until its snapshot, after a gap of its subscription, after a frame of its own that cannot be used,
after a level below zero, when it is crossed past its time stamp, and when its subscription is over; only a fresh
snapshot makes it valid again. Snapshots are asked for at once, and again with growing pauses until one is good.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import msgspec

from feed import schema
from feed.kalshi import channels, events
from feed.kalshi.commanderrors import Remedy
from feed.kalshi.session import Session
from feed.schema import TimeSource
from kalshimm.runtime.backoff import delay_s
from markets.core.book import NegativeLevel, OrderBook

CROSSED_FOR_US = 250_000  # a book still crossed after this is broken, whatever the time stamps say
# Lifecycle events that say what a market is; the others say what was changed about it.
STATUS_WORDS = frozenset({"created", "activated", "deactivated", "determined", "settled"})
ASK_AGAIN_FIRST_S = 1.0
ASK_AGAIN_MOST_S = 30.0
GOOD_FOR_US = 10_000_000  # a book that was valid this long is asked for at once when it breaks


class MarketBook:
    """One market's book with what must be known to believe it. Times in microseconds."""

    __slots__ = (
        "ask_again_us",
        "asked",
        "book",
        "crossed_resynced",
        "crossed_since_us",
        "deltas_since_snapshot",
        "generation",
        "is_leased",
        "is_valid",
        "last_yes_price_cc",
        "seq",
        "sid",
        "snapshot_us",
        "status",
        "ticker",
        "time_us",
        "valid_since_us",
        "volume_cx",
    )

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.book = OrderBook()
        self.is_valid = False
        self.valid_since_us = 0
        self.is_leased = False
        self.asked = 0
        self.ask_again_us = 0
        self.sid = 0
        self.generation = 0
        self.seq = 0
        self.time_us = 0
        self.crossed_since_us: int | None = None
        self.crossed_resynced = False
        self.deltas_since_snapshot = 0
        self.snapshot_us = 0
        self.last_yes_price_cc: int | None = None
        self.volume_cx: int | None = None
        self.status = ""


class Taken(msgspec.Struct, frozen=True):
    """What gathered since the last time.

    `rows` for the tape; `events` by ticker for the book streams of leased markets; `changed` tickers whose latest
    state differs; `snapshots_wanted`, each (sid, tickers) for one request; `leased` and `gone`, the tickers whose book
    stream begins to live and whose market is over here; `is_feed_changed` when a generation moved.
    """

    rows: list[schema.TapeRow]
    events: dict[str, list[schema.BookEvent]]
    changed: set[str]
    snapshots_wanted: list[tuple[int, list[str]]]
    leased: set[str]
    gone: set[str]
    is_feed_changed: bool

    @property
    def is_empty(self) -> bool:
        gathered = (self.rows, self.events, self.changed, self.snapshots_wanted, self.leased, self.gone)
        return not (any(gathered) or self.is_feed_changed)


class Books:
    """Every market of one connection.

    Args:
        conn: 63-bit identity of the connection.
        session: Its sequences and subscriptions.
    """

    def __init__(self, conn: int, session: Session) -> None:
        self.conn = conn
        self.session = session
        self.markets: dict[str, MarketBook] = {}
        self.counters: Counter[str] = Counter()
        self.last_lag_ms: int | None = None
        # By channel and ticker; the ticker is "" where a whole subscription was refused.
        self.refusals: Counter[tuple[str, str]] = Counter()
        self._last_us = 0
        self._crossed: dict[str, MarketBook] = {}
        self._asking: dict[str, MarketBook] = {}
        self._reset()

    def _reset(self) -> None:
        self._rows: list[schema.TapeRow] = []
        self._events: dict[str, list[schema.BookEvent]] = {}
        self._changed: set[str] = set()
        self._wanted: list[str] = []
        self._wanted_again: list[str] = []
        self._leased: set[str] = set()
        self._gone: set[str] = set()
        self._feed_changed = False

    def take(self) -> Taken:
        """Return what has gathered, and begin anew."""
        taken = Taken(
            self._rows, self._events, self._changed, self._requests(), self._leased, self._gone, self._feed_changed
        )
        self._reset()
        return taken

    def _requests(self) -> list[tuple[int, list[str]]]:
        """Return the requests for snapshots as (sid, tickers)."""
        subscription = self.session.of_channel(channels.BOOK)
        if subscription is None:
            return []
        first = sorted(ticker for ticker in set(self._wanted) if ticker in subscription.markets)
        again = sorted(ticker for ticker in set(self._wanted_again) if ticker in subscription.markets)
        return [(subscription.sid, tickers) for tickers in (first, *([ticker] for ticker in again)) if tickers]

    def generations(self) -> dict[int, int]:
        """Return the generation that each book subscription's books must carry to be valid."""
        subscriptions = self.session.subscriptions.values()
        return {s.sid: s.generation for s in subscriptions if s.channel == channels.BOOK}

    def market(self, ticker: str) -> MarketBook:
        found = self.markets.get(ticker)
        if found is None:
            found = self.markets[ticker] = MarketBook(ticker)
        return found

    # ---- frames -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview, received_us: int) -> None:
        """Take in one text frame. `received_us` is when it came, by the receiver's wall clock."""
        self.counters["frames"] += 1
        for event in self.session.receive(data):
            if type(event) is events.BookDelta:
                self._delta(event, received_us)
            else:
                self._other(event, received_us)

    def _other(self, event: events.Event, received_us: int) -> None:
        match event:
            case events.BookSnapshot():
                self._snapshot(event, received_us)
            case events.TickerEvent():
                self._ticker(event, received_us)
            case events.TradeEvent():
                self._trade(event, received_us)
            case events.LifecycleEvent():
                self._lifecycle(event, received_us)
            case events.Gap():
                self._gap(event, received_us)
            case events.Removed():
                self._removed(event, received_us)
            case events.Malformed():
                self._malformed(event, received_us)
            case events.Refused():
                self.counters["refused"] += 1
                self._refused(event, received_us)
            case events.Confirmed():
                self._confirmed(event, received_us)
            case events.EventCreated() | events.EventFeeUpdate():
                self.counters["event_news"] += 1  # the catalogue reads them from the venue
            case _:
                self.counters["ignored"] += 1

    def _time(self, time_ms: int | None, sending_ms: int | None, received_us: int) -> tuple[int, int]:
        """Return (time in microseconds, its source) by the order of design.md section 6."""
        if time_ms is not None:
            self._last_us = time_ms * 1_000
            if received_us:
                self.last_lag_ms = received_us // 1_000 - time_ms
            return self._last_us, TimeSource.EXCHANGE
        if sending_ms is not None:
            return sending_ms * 1_000, TimeSource.SENDING
        if received_us:
            return received_us, TimeSource.RECEIVED
        return self._last_us, TimeSource.PREVIOUS

    def _delta(self, event: events.BookDelta, received_us: int) -> None:
        self.counters["deltas"] += 1
        time_us, source = self._time(event.time_ms, event.sending_ms, received_us)
        ticker = event.ticker
        self._rows.append(
            schema.DeltaRow(time_us, source, ticker, event.seq, event.side, event.price_cc, event.delta_cx)
        )
        market = self.markets.get(ticker)
        if market is None or not market.is_valid or event.sid != market.sid:
            self.counters["deltas_without_book"] += 1
            return
        if market.crossed_since_us is not None and time_us != market.time_us:
            self._crossed_for_good(market, received_us)
            return
        try:
            market.book.apply(event.side, event.price_cc, event.delta_cx)
        except NegativeLevel as exc:
            self.counters["negative_levels"] += 1
            self._invalidate(market, f"negative level: {exc}", received_us, resync=True)
            return
        market.seq, market.time_us = event.seq, time_us
        if market.book.is_crossed:
            if market.crossed_since_us is None:
                market.crossed_since_us = received_us
                self._crossed[ticker] = market
        elif market.crossed_since_us is not None or market.crossed_resynced:
            self._uncross(market)
            market.crossed_resynced = False
        self._changed.add(ticker)
        if market.is_leased:
            market.deltas_since_snapshot += 1
            self._events.setdefault(ticker, []).append(
                schema.BookDelta(event.seq, time_us, event.side, event.price_cc, event.delta_cx, event.client_order_id)
            )

    def _snapshot(self, event: events.BookSnapshot, received_us: int) -> None:
        self.counters["snapshots"] += 1
        time_us, source = self._time(None, event.sending_ms, received_us)
        self._rows.append(schema.SnapshotRow(time_us, source, event.ticker, event.seq, event.yes, event.no))
        market = self.market(event.ticker)
        market.book.replace(event.yes, event.no)
        market.sid, market.seq, market.time_us = event.sid, event.seq, time_us
        market.generation = self.session.subscriptions[event.sid].generation
        market.is_valid, market.valid_since_us = True, received_us
        self._asking.pop(event.ticker, None)
        self._uncross(market)
        self._changed.add(event.ticker)
        if market.book.is_crossed:
            market.crossed_since_us = received_us
            self._crossed[event.ticker] = market
        if market.is_leased:
            self.publish_snapshot(market, received_us)

    def _ticker(self, event: events.TickerEvent, received_us: int) -> None:
        self.counters["tickers"] += 1
        time_us, source = self._time(event.time_ms, event.sending_ms, received_us)
        figures = (
            event.last_yes_price_cc,
            event.yes_bid_cc,
            event.yes_ask_cc,
            event.yes_bid_cx,
            event.yes_ask_cx,
            event.last_count_cx,
            event.volume_cx,
            event.open_interest_cx,
        )
        self._rows.append(schema.TickerRow(time_us, source, event.ticker, _digest(figures), *figures))
        market = self.markets.get(event.ticker)
        if market is not None:
            market.last_yes_price_cc, market.volume_cx = event.last_yes_price_cc, event.volume_cx
            self._changed.add(event.ticker)

    def _trade(self, event: events.TradeEvent, received_us: int) -> None:
        self.counters["trades"] += 1
        time_us, source = self._time(event.time_ms, event.sending_ms, received_us)
        self._rows.append(
            schema.TradeRow(
                time_us,
                source,
                event.ticker,
                event.trade_id,
                event.yes_price_cc,
                event.count_cx,
                event.taker_side,
                event.is_block,
            )
        )
        market = self.markets.get(event.ticker)
        if market is None:
            return
        market.last_yes_price_cc = event.yes_price_cc
        self._changed.add(event.ticker)
        if market.is_leased:
            self._events.setdefault(event.ticker, []).append(
                schema.BookTrade(event.trade_id, time_us, event.yes_price_cc, event.count_cx, event.taker_side)
            )

    def _lifecycle(self, event: events.LifecycleEvent, received_us: int) -> None:
        self.counters["lifecycle"] += 1
        time_us, source = self._time(None, event.sending_ms, received_us)
        self._rows.append(schema.LifecycleRow(time_us, source, event.ticker, event.event_type, event.body))
        market = self.markets.get(event.ticker)
        if market is not None and event.event_type in STATUS_WORDS:
            market.status = event.event_type
            self._changed.add(event.ticker)

    # ---- what makes a book invalid ------------------------------------------------------------------------------

    def _gap(self, event: events.Gap, received_us: int) -> None:
        self.counters["gaps"] += 1
        self._gap_row("sequence gap", event.sid, event.expected, event.received, received_us)
        if event.sid not in self.generations():
            return  # lost prints cannot be asked for again: the gap row is all there is
        self._feed_changed = True
        for ticker in event.markets:
            market = self.market(ticker)
            market.is_valid = False  # readers learn it from the feed's new generation
            self._uncross(market)
            self._changed.add(ticker)
            self._want(market, received_us)

    def _removed(self, event: events.Removed, received_us: int) -> None:
        self._feed_changed = True
        if event.reason:
            self.counters["subscriptions_lost"] += 1
            self._gap_row(event.reason, event.sid, 0, 0, received_us)
        if event.channel != channels.BOOK:
            return
        for ticker in event.markets:
            self._invalidate(self.market(ticker), event.reason or "unsubscribed", received_us, resync=False)

    def _confirmed(self, event: events.Confirmed, received_us: int) -> None:
        """A subscription holds exactly these markets now: the others of it are over."""
        self._feed_changed = True
        for ticker in ("", *event.markets):
            self.refusals.pop((event.channel, ticker), None)
        if event.channel != channels.BOOK:
            return
        for ticker in [t for t, m in self.markets.items() if t not in event.markets and self._is_over(m, event.sid)]:
            self._invalidate(self.markets[ticker], "unsubscribed", received_us, resync=False)
            del self.markets[ticker]
            self._changed.discard(ticker)
            self._gone.add(ticker)

    def _is_over(self, market: MarketBook, sid: int) -> bool:
        """Whether a market that `sid` does not hold is held by nobody; a leased one without a book yet will be."""
        is_elsewhere = market.sid != sid and market.sid in self.session.subscriptions
        is_awaited = not market.sid and market.is_leased
        return not is_elsewhere and not is_awaited

    def _refused(self, event: events.Refused, received_us: int) -> None:
        """Note what the venue does not give; asking again, and when, is for the owner of the connection."""
        if event.remedy is Remedy.SEND_SLOWER:
            self.counters["too_many_commands"] += 1
            return  # nobody's market is at fault: whoever sends waits, and sends the same again
        if event.action not in ("subscribe", "add_markets"):
            return  # snapshots are asked for again by `tick`, deletions by whoever compares
        whole = event.action == "subscribe" and event.is_whole
        meant = [(event.channel, ticker) for ticker in (("",) if whole else event.tickers)]
        self.refusals.update(meant)
        if event.channel != channels.BOOK or all(self.refusals[key] > 1 for key in meant):
            return
        reason = f"refused by the venue: {event.code} {event.message}"
        self._gap_row(reason, event.sid, 0, 0, received_us)
        for ticker in event.tickers:
            self._invalidate(self.market(ticker), reason, received_us, resync=False)

    def _malformed(self, event: events.Malformed, received_us: int) -> None:
        self.counters["malformed"] += 1
        time_us, source = self._time(None, None, received_us)
        self._rows.append(schema.MalformedRow(time_us, source, event.ticker, event.reason, event.frame))
        if event.ticker:
            self._invalidate(self.market(event.ticker), f"malformed frame: {event.reason}", received_us, resync=True)

    def _crossed_for_good(self, market: MarketBook, now_us: int) -> None:
        self.counters["crossed_books"] += 1
        again = market.crossed_resynced
        market.crossed_resynced = True
        reason = "crossed again after a fresh snapshot: paused" if again else "crossed past its time stamp"
        self._invalidate(market, reason, now_us, resync=not again)

    def tick(self, now_us: int) -> None:
        """Judge books that have stayed crossed too long, and ask again for those still without a good snapshot.

        Call at least each 250 ms.
        """
        for market in list(self._crossed.values()):
            if market.crossed_since_us is not None and now_us - market.crossed_since_us >= CROSSED_FOR_US:
                self._crossed_for_good(market, now_us)
        for market in self._asking.values():
            if now_us >= market.ask_again_us:
                # Once more together; after that singly, for one may spoil the others.
                self._ask(market, now_us, self._wanted if market.asked < 2 else self._wanted_again)

    def began(self, now_us: int) -> None:
        """Note that this connection's history begins here: whatever came before it is another's, or missing."""
        self._gap_row("connection began", 0, 0, 0, now_us)

    def disconnected(self, reason: str, now_us: int) -> None:
        """Every book is invalid: its connection is gone."""
        self._gap_row(reason, 0, 0, 0, now_us)
        self._feed_changed = True
        for market in self.markets.values():
            market.is_valid = False
            self._changed.add(market.ticker)

    def lost(self, reason: str, now_us: int) -> None:
        """Entries of ours never reached the streams: note the gap, and repeat every leased book whole."""
        self._gap_row(reason, 0, 0, 0, now_us)
        self._feed_changed = True
        for market in self.markets.values():
            if not market.is_leased:
                continue
            # First of all the end of what readers have: its next entries may be among the lost ones.
            self._events.setdefault(market.ticker, []).append(schema.BookStatus(now_us, False, reason))
            self._leased.add(market.ticker)
            if market.is_valid:
                self.publish_snapshot(market, now_us)

    def _invalidate(self, market: MarketBook, reason: str, now_us: int, *, resync: bool) -> None:
        market.is_valid = False
        self._uncross(market)
        self._changed.add(market.ticker)
        if market.is_leased:
            self._events.setdefault(market.ticker, []).append(schema.BookStatus(now_us, False, reason))
        if resync:
            self.counters["resyncs"] += 1
            self._want(market, now_us)
        else:
            self._asking.pop(market.ticker, None)

    def _uncross(self, market: MarketBook) -> None:
        market.crossed_since_us = None
        self._crossed.pop(market.ticker, None)

    def _want(self, market: MarketBook, now_us: int) -> None:
        """Ask for a snapshot: at once for a book that was good for a while, else when its pause is over."""
        was_good = market.valid_since_us and now_us - market.valid_since_us >= GOOD_FOR_US
        if was_good or not market.asked:
            market.asked = 0
            self._ask(market, now_us, self._wanted)
        self._asking[market.ticker] = market

    @staticmethod
    def _ask(market: MarketBook, now_us: int, queue: list[str]) -> None:
        queue.append(market.ticker)
        market.asked += 1
        pause_s = delay_s(market.asked, first_s=ASK_AGAIN_FIRST_S, most_s=ASK_AGAIN_MOST_S, jitter=0.0)
        market.ask_again_us = now_us + int(pause_s * 1_000_000)

    def _gap_row(self, reason: str, sid: int, expected: int, received: int, received_us: int) -> None:
        time_us, source = self._time(None, None, received_us)
        self._rows.append(schema.GapRow(time_us, source, "", reason, sid, expected, received))

    # ---- book streams -------------------------------------------------------------------------------------------

    def lease(self, ticker: str, *, is_leased: bool, now_us: int) -> None:
        """Start or stop the book stream of a market; a starting one begins with a snapshot."""
        market = self.market(ticker)
        if market.is_leased == is_leased:
            return
        market.is_leased = is_leased
        if not is_leased:
            # A newcomer walks back to the last snapshot: it must also find that the stream ended there.
            self._events.setdefault(ticker, []).append(schema.BookStatus(now_us, False, "no longer leased"))
            return
        self._leased.add(ticker)
        if market.is_valid:
            self.publish_snapshot(market, now_us)

    def publish_snapshot(self, market: MarketBook, now_us: int) -> None:
        """Put the whole book on its stream, so that a newcomer need not walk back far."""
        levels = market.book.levels
        market.deltas_since_snapshot = 0
        market.snapshot_us = now_us
        self._events.setdefault(market.ticker, []).append(
            schema.BookSnapshot(
                self.conn,
                market.sid,
                market.generation,
                market.seq,
                market.time_us,
                list(levels[0].items()),
                list(levels[1].items()),
            )
        )

    def refresh_streams(self, now_us: int) -> None:
        """Repeat snapshots on the book streams after enough deltas, or after some seconds of activity."""
        for market in self.markets.values():
            if not (market.is_leased and market.is_valid and market.deltas_since_snapshot):
                continue
            aged = now_us - market.snapshot_us >= schema.BOOK_SNAPSHOT_S * 1_000_000
            if aged or market.deltas_since_snapshot >= schema.BOOK_SNAPSHOT_DELTAS:
                self.publish_snapshot(market, now_us)

    def state(self, ticker: str) -> schema.MarketState:
        """Return the latest of one market, for lists."""
        market = self.markets[ticker]
        book = market.book
        yes, no = book.best_cc
        return schema.MarketState(
            version=schema.VERSION,
            time_us=market.time_us,
            is_valid=market.is_valid,
            yes_bid_cc=book.yes_bid_cc,
            yes_ask_cc=book.yes_ask_cc,
            yes_bid_cx=book.size_cx(0, yes),
            yes_ask_cx=book.size_cx(1, no),
            last_yes_price_cc=market.last_yes_price_cc,
            volume_cx=market.volume_cx,
            status=market.status,
        )


def _digest(figures: tuple[int | None, ...]) -> int:
    """Return 63 bits over a ticker's figures: its key beside time, market and connection."""
    digest = hashlib.blake2b(repr(figures).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
