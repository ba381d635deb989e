"""All books of one connection: frames in; tape rows, book events and requests for snapshots out.

The one path of market data, live and recorded: session → books → rows. No socket, no Redis, no clock.
What gathers here is taken by `take` and sent on by whoever owns the connection.

A book is invalid until its snapshot, after a gap of its subscription, after a frame of its own that cannot be used,
after a level below zero, when it is crossed past its time stamp, and when its subscription is over; only a fresh
snapshot makes it valid again. Snapshots are asked for at once, and again with growing pauses until one is good.

Nearly every frame is a delta, in order, of a book about which nothing is unusual: `receive_turn` applies those itself.
Everything else goes the long way, through the session's events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import length_hint
from typing import Any

import msgspec

from feed import schema
from feed.asking import Asking
from feed.kalshi import channels, events
from feed.kalshi.commanderrors import Remedy
from feed.kalshi.convert import COUNTS, PRICES, count_of, price_of
from feed.kalshi.session import Session, Subscription
from feed.kalshi.wire.frames import Frame, decode_frame, decode_frames
from feed.marketbook import NEVER_TOLD, MarketBook
from feed.outbox import Outbox, Taken
from feed.schema import TimeSource
from feed.taperows import RowTimes, lifecycle_row, ticker_row, trade_row
from markets.core import tape
from markets.core.book import NO_PRICE, NegativeLevel
from markets.core.units import DOLLAR_CC

DAMAGE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NOT_USUAL = (KeyError, ValueError, TypeError, AttributeError)  # of what a usual delta has and knows
UNUSUAL = NEVER = -1  # neither a level's size nor a number of the venue's
DAMAGED = Frame()  # in the place of a frame that could not be decoded
FRAMES_TOGETHER = 500  # decoded at once: thousands, as a saturated gateway's turns hold, leave the processor's cache
EXCHANGE = int(TimeSource.EXCHANGE)
OWN_SNAPSHOT_US = 60_000_000  # no moment is rebuilt from more deltas than this
SHARED_DUE_US = 1_000_000  # so much sooner is early enough for a snapshot of ours
# Lifecycle events that say what a market is; the others say what was changed about it.
STATUS_WORDS = frozenset({"created", "activated", "deactivated", "determined", "settled"})


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
        # Of the followed subscription, about which nothing is unusual: valid, not crossed, not healing from that.
        self._usual: dict[str, MarketBook] = {}
        # By channel and ticker; the ticker is "" where a whole subscription was refused.
        self.refusals: Counter[tuple[str, str]] = Counter()
        self._counters: Counter[str] = Counter()
        self._deltas_followed = 0  # that `receive_turn` applied itself
        self._times = RowTimes()
        self._own_due_us = 0  # the newest time at which a market's own snapshot is due
        self._crossed: dict[str, MarketBook] = {}
        self._paused: list[str] = []
        self._asking = Asking()
        self._out = Outbox(conn)

    def wall_ahead(self, ahead_us: int) -> None:
        """Note by how much the wall clock is ahead of the clock that all times given to us are of.

        That one measures ages, so nobody may set it (E2); rows without an exchange time get the wall's.
        """
        self._times.ahead_us = ahead_us

    def take(self) -> Taken:
        """Return what has gathered, and begin anew."""
        return self._out.take(self._asking.take(self._followed()) if self._asking.is_due else [])

    def take_changed(self) -> dict[str, schema.MarketState]:
        """Return the latest of each market that changed since the last time, for lists."""
        changed = {}
        for ticker, market in self.markets.items():
            if market.told_seq != market.seq:
                market.told_seq = market.seq
                changed[ticker] = market.state()
        return changed

    @property
    def counters(self) -> Counter[str]:
        """What came, and what was wrong with it, by kind."""
        return self._counters + Counter(frames=self._deltas_followed, deltas=self._deltas_followed)

    @property
    def last_lag_ms(self) -> int | None:
        """Age, when it came, of the newest message with an exchange time; None before the first."""
        return self._times.last_lag_ms

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

    def receive(self, data: bytes, received_us: int) -> None:
        """Take in one text frame. `received_us` is when it came, by the receiver's clock (see `wall_ahead`)."""
        self.receive_turn((data,), received_us)

    def receive_turn(self, turn: Sequence[bytes], received_us: int) -> None:
        """Take in the text frames of one turn, that is of one read, in order; `received_us` is as of `receive`."""
        if len(turn) <= FRAMES_TOGETHER:
            self._receive_some(turn, received_us)
            return
        for at in range(0, len(turn), FRAMES_TOGETHER):
            self._receive_some(turn[at : at + FRAMES_TOGETHER], received_us)

    def _receive_some(self, turn: Sequence[bytes], received_us: int) -> None:
        """Take in a part of a turn.

        Most of a busy gateway's time is spent in this loop. A usual delta is applied and written down right here: a
        call more, or an attribute of ours looked up once more, is felt.
        """
        usual, rows, prices, counts = self._usual, self._out.rows, PRICES, COUNTS
        kind, exchange, time_ms, time_us = schema.DELTA, EXCHANGE, 0, 0
        followed, sid, due = self._due()
        frames = iter(_decoded(turn))
        for frame in frames:
            if frame.seq == due and frame.sid == sid:
                try:
                    msg = frame.msg
                    market = usual[msg.market_ticker]
                    side = 0 if msg.side == "yes" else 1
                    levels = market.levels[side]
                    try:
                        price_cc, delta_cx = prices[msg.price_dollars], counts[msg.delta_fp]
                    except KeyError:  # seen for the first time
                        price_cc, delta_cx = price_of(msg.price_dollars), count_of(msg.delta_fp)
                    was_cx = levels.get(price_cc, 0)
                    size_cx = was_cx + delta_cx
                    if msg.ts_ms != time_ms:  # a burst shares its milliseconds
                        time_us, time_ms = msg.ts_ms * 1_000, msg.ts_ms
                except NOT_USUAL:
                    size_cx = UNUSUAL
                else:
                    if time_us >= market.look_us and size_cx >= 0:
                        self._keep_rebuildable(market, time_us)
                        if market.events is not None:
                            self._out.say(
                                market, schema.BookDelta(due, time_us, side, price_cc, delta_cx, msg.client_order_id)
                            )
            else:
                size_cx = UNUSUAL
            if size_cx > 0:
                levels[price_cc] = size_cx
                if not was_cx:  # only a new level can be better than all others
                    best_cc = market.best_cc
                    if price_cc > best_cc[side]:
                        best_cc[side] = price_cc
                        if best_cc[0] + best_cc[1] >= DOLLAR_CC:
                            self._crosses(market, received_us)
            elif not size_cx:
                levels.pop(price_cc, None)
                best_cc = market.best_cc
                if price_cc == best_cc[side]:
                    best_cc[side] = max(levels, default=NO_PRICE)
            else:
                self._followed_to(followed, due, time_us, received_us)
                self._take_in(turn[-1 - length_hint(frames)], frame, received_us)
                followed, sid, due = self._due()
                continue
            market.seq, market.time_us = due, time_us
            rows.append((kind, time_us, exchange, market.ticker, due, side, price_cc, delta_cx))
            due += 1
        self._followed_to(followed, due, time_us, received_us)

    def _followed(self) -> Subscription | None:
        """Return the subscription whose deltas `receive_turn` applies itself."""
        return self.session.of_channel(channels.BOOK)

    def _due(self) -> tuple[Subscription | None, int, int]:
        """Return the followed subscription, its sid and next number; of nothing that can come where there is none."""
        followed = self._followed()
        if followed is None or followed.seq is None:
            return followed, 0, NEVER
        return followed, followed.sid, followed.seq + 1

    def _followed_to(self, followed: Subscription | None, due: int, time_us: int, received_us: int) -> None:
        """Note that the followed subscription's next number is `due`; `time_us` is of the newest usual delta."""
        if followed is not None and followed.seq is not None and followed.seq < due - 1:
            self._deltas_followed += due - 1 - followed.seq
            followed.seq = due - 1
            self._times.note(time_us, received_us)

    def _keep_rebuildable(self, market: MarketBook, time_us: int) -> None:
        """Before a delta at `time_us`: put the book on the tape if the deltas since its last snapshot span a minute."""
        if time_us < market.own_due_us:
            return
        if market.own_due_us:
            self._out.rows.append(market.tape_snapshot())
        due_us = time_us + OWN_SNAPSHOT_US
        if due_us - self._own_due_us >= SHARED_DUE_US or due_us < self._own_due_us:
            self._own_due_us = due_us
        market.owe_snapshot(self._own_due_us)  # one number for many markets: all deltas are compared with it

    def _crosses(self, market: MarketBook, received_us: int) -> None:
        self._usual.pop(market.ticker, None)
        market.crossed_since_us = received_us
        self._crossed[market.ticker] = market

    def _take_in(self, data: bytes, frame: Any, received_us: int) -> None:
        """Take in a frame by the session's events, decoded or DAMAGED."""
        self._counters["frames"] += 1
        session = self.session
        for event in session.receive(data) if frame is DAMAGED else session.read(frame, data):
            self._other(event, received_us)

    def _other(self, event: events.Event, received_us: int) -> None:
        match event:
            case events.BookDelta():
                self._delta(event, received_us)
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
                self._counters["refused"] += 1
                self._refused(event, received_us)
            case events.Confirmed():
                self._confirmed(event, received_us)
            case events.EventCreated() | events.EventFeeUpdate():
                self._counters["event_news"] += 1  # the catalogue reads them from the venue
            case _:
                self._counters["ignored"] += 1

    def _delta(self, event: events.BookDelta, received_us: int) -> None:
        self._counters["deltas"] += 1
        time_us, source = self._times.of(event.time_ms, event.sending_ms, received_us)
        ticker = event.ticker
        market = self.markets.get(ticker)
        row = (schema.DELTA, time_us, source, ticker, event.seq, int(event.side), event.price_cc, event.delta_cx)
        if market is None or not market.is_valid or event.sid != market.sid:
            self._out.rows.append(row)
            self._counters["deltas_without_book"] += 1
            return
        self._keep_rebuildable(market, time_us)
        self._out.rows.append(row)
        if market.crossed_since_us is not None and time_us != market.time_us:
            self._crossed_for_good(market, received_us)
            return
        try:
            market.apply(event.side, event.price_cc, event.delta_cx)
        except NegativeLevel as exc:
            self._counters["negative_levels"] += 1
            self._invalidate(market, f"negative level: {exc}", received_us, resync=True)
            return
        market.seq, market.time_us = event.seq, time_us
        if not market.is_crossed:
            self._uncross(market)
            market.crossed_resynced = False
        elif market.crossed_since_us is None:
            self._crosses(market, received_us)
        self._follow_on(market)
        self._out.say(
            market,
            schema.BookDelta(event.seq, time_us, event.side, event.price_cc, event.delta_cx, event.client_order_id),
        )

    def _follow_on(self, market: MarketBook) -> None:
        """Let `receive_turn` apply the next delta by itself, if nothing about the book is unusual any more."""
        followed = self._followed()
        is_followed = followed is not None and followed.sid == market.sid and not self.session.use_yes_price
        if is_followed and market.is_valid and market.crossed_since_us is None and not market.crossed_resynced:
            self._usual[market.ticker] = market
        else:
            self._usual.pop(market.ticker, None)

    def _snapshot(self, event: events.BookSnapshot, received_us: int) -> None:
        self._counters["snapshots"] += 1
        time_us, source = self._times.of(None, event.sending_ms, received_us)
        self._out.rows.append(schema.SnapshotRow(time_us, source, event.ticker, event.seq, event.yes, event.no))
        market = self.market(event.ticker)
        market.replace(event.yes, event.no)
        market.sid, market.seq, market.time_us = event.sid, event.seq, time_us
        market.generation = self.session.subscriptions[event.sid].generation
        market.is_valid, market.valid_since_us = True, received_us
        market.owe_snapshot(0)
        market.told_seq = NEVER_TOLD
        self._asking.leave(market)
        self._uncross(market)
        if market.is_crossed:
            self._crosses(market, received_us)
        self._follow_on(market)
        self._out.say_whole(market, received_us)

    def _ticker(self, event: events.TickerEvent, received_us: int) -> None:
        self._counters["tickers"] += 1
        self._out.rows.append(ticker_row(self._times.of(event.time_ms, event.sending_ms, received_us), event))
        market = self.markets.get(event.ticker)
        if market is not None:
            market.last_yes_price_cc, market.volume_cx = event.last_yes_price_cc, event.volume_cx
            market.told_seq = NEVER_TOLD

    def _trade(self, event: events.TradeEvent, received_us: int) -> None:
        self._counters["trades"] += 1
        time = self._times.of(event.time_ms, event.sending_ms, received_us)
        self._out.rows.append(trade_row(time, event))
        market = self.markets.get(event.ticker)
        if market is None:
            return
        market.last_yes_price_cc = event.yes_price_cc
        market.told_seq = NEVER_TOLD
        if event.is_block:
            return  # agreed off the book: it met nobody's order there
        trade = schema.BookTrade(event.trade_id, time[0], event.yes_price_cc, event.count_cx, event.taker_side)
        self._out.say(market, trade)

    def _lifecycle(self, event: events.LifecycleEvent, received_us: int) -> None:
        self._counters["lifecycle"] += 1
        time = self._times.of(None, event.sending_ms, received_us)
        self._out.rows.append(lifecycle_row(time, event))
        market = self.markets.get(event.ticker)
        if market is not None and event.event_type in STATUS_WORDS:
            market.status = event.event_type
            market.told_seq = NEVER_TOLD
            self._out.say(market, schema.BookStatus(time[0], True, event.event_type))

    # ---- what makes a book invalid ------------------------------------------------------------------------------

    def _gap(self, event: events.Gap, received_us: int) -> None:
        self._counters["gaps"] += 1
        is_book = event.channel == channels.BOOK
        reason = "sequence gap" if is_book else f"{tape.SEQUENCE_GAP_OF}{event.channel}"
        self._gap_row(reason, event.sid, event.expected, event.received, received_us)
        if not is_book:
            return  # lost prints cannot be asked for again: the gap row is all there is
        self._out.is_feed_changed = True
        for ticker in event.markets:
            market = self.market(ticker)
            self._distrust(market)  # readers learn it from the feed's new generation
            self._asking.want(market, received_us)

    def _removed(self, event: events.Removed, received_us: int) -> None:
        self._out.is_feed_changed = True
        is_book = event.channel == channels.BOOK
        if event.reason:
            self._counters["subscriptions_lost"] += 1
            reason = event.reason if is_book else f"{tape.NO_MORE_OF}{event.channel}: {event.reason}"
            self._gap_row(reason, event.sid, 0, 0, received_us)
        if not is_book:
            return
        for ticker in event.markets:
            market = self.market(ticker)
            if not event.reason and market.sid:  # else the row of the whole subscription tells it
                self._market_gap(market, "unsubscribed", received_us)
            self._invalidate(market, event.reason or "unsubscribed", received_us, resync=False)
            market.sid = 0  # nobody holds it until somebody does again

    def _confirmed(self, event: events.Confirmed, received_us: int) -> None:
        """A subscription holds exactly these markets now: the others of it are over."""
        self._out.is_feed_changed = True
        for ticker in ("", *event.markets):
            self.refusals.pop((event.channel, ticker), None)
        if event.channel != channels.BOOK:
            return
        for ticker in [t for t, m in self.markets.items() if t not in event.markets and self._is_over(m, event.sid)]:
            market = self.markets.pop(ticker)
            if market.sid:  # else it never had a book
                self._market_gap(market, "unsubscribed", received_us)
            self._invalidate(market, "unsubscribed", received_us, resync=False)
            self._out.gone.add(ticker)

    def _is_over(self, market: MarketBook, sid: int) -> bool:
        """Whether a market that `sid` does not hold is held by nobody; a leased one without a book yet will be."""
        is_elsewhere = market.sid != sid and market.sid in self.session.subscriptions
        is_awaited = not market.sid and market.is_leased
        return not is_elsewhere and not is_awaited

    def _refused(self, event: events.Refused, received_us: int) -> None:
        """Note what the venue does not give; asking again, and when, is for the owner of the connection."""
        if event.remedy is Remedy.SEND_SLOWER:
            self._counters["too_many_commands"] += 1
            return  # nobody's market is at fault: whoever sends waits, and sends the same again
        if event.action not in ("subscribe", "add_markets"):
            return  # snapshots are asked for again by `tick`, deletions by whoever compares
        whole = event.action == "subscribe" and event.is_whole
        meant = [(event.channel, ticker) for ticker in (("",) if whole else event.tickers)]
        self.refusals.update(meant)
        if event.channel != channels.BOOK or all(self.refusals[key] > 1 for key in meant):
            return
        reason = f"{tape.REFUSED}: {event.code} {event.message}"
        for ticker in ("",) if whole else event.tickers:
            self._gap_row(reason, event.sid, 0, 0, received_us, ticker=ticker)
        for ticker in event.tickers:
            self._invalidate(self.market(ticker), reason, received_us, resync=False)

    def _malformed(self, event: events.Malformed, received_us: int) -> None:
        self._counters["malformed"] += 1
        time_us, source = self._times.of(None, None, received_us)
        self._out.rows.append(schema.MalformedRow(time_us, source, event.ticker, event.reason, event.frame))
        if self._holds(event.ticker):
            self._invalidate(self.market(event.ticker), f"malformed frame: {event.reason}", received_us, resync=True)

    def _holds(self, ticker: str) -> bool:
        """Whether a ticker is a market of ours; a damaged frame may name anything."""
        subscription = self._followed()
        return ticker in self.markets or (subscription is not None and ticker in subscription.markets)

    def _crossed_for_good(self, market: MarketBook, now_us: int) -> None:
        self._counters["crossed_books"] += 1
        again = market.crossed_resynced
        market.crossed_resynced = True
        if again:
            reason = "crossed again after a fresh snapshot: paused"
            self._market_gap(market, reason, now_us)
            self._paused.append(market.ticker)
            self._invalidate(market, reason, now_us, resync=False)
        else:
            self._invalidate(market, tape.CROSSED, now_us, resync=True)

    def take_paused(self) -> list[str]:
        """Return the markets that were crossed again after a fresh snapshot, since the last time."""
        paused, self._paused = self._paused, []
        return paused

    def tick(self, now_us: int) -> None:
        """Judge books that have stayed crossed too long, and ask again for those still without a good snapshot.

        Call at least each 250 ms.
        """
        for market in list(self._crossed.values()):
            if market.crossed_since_us is not None and now_us - market.crossed_since_us >= tape.CROSSED_FOR_US:
                self._crossed_for_good(market, now_us)
        self._asking.tick(now_us)
        self._repeat_aged(now_us)

    def began(self, now_us: int) -> None:
        """Note that this connection's history begins here: whatever came before it is another's, or missing."""
        self._gap_row(tape.CONNECTION_BEGAN, 0, 0, 0, now_us)

    def disconnected(self, reason: str, now_us: int) -> None:
        """Every book is invalid: its connection is gone."""
        self._gap_row(reason, 0, 0, 0, now_us)
        self._out.is_feed_changed = True
        for market in self.markets.values():
            self._distrust(market)

    def lost(self, reason: str, now_us: int, *, since_us: int) -> None:
        """What we wrote since `since_us` is not all there: note the gap, and put every book whole behind it."""
        self._gap_row(reason, 0, 0, 0, since_us)
        for market in self.markets.values():
            if market.is_valid:
                self._out.rows.append(market.tape_snapshot(self._times.wall_us(now_us)))
                market.owe_snapshot(0)
        self.tell_anew(reason, now_us)

    def tell_anew(self, reason: str, now_us: int) -> None:
        """Tell every state and every leased book as if nobody knew of them."""
        self._out.is_feed_changed = True
        for market in self.markets.values():
            market.told_seq = NEVER_TOLD
            if market.events is None:
                continue
            self._out.leased.add(market.ticker)
            # First of all the end of what readers have: what came next may not have reached them.
            happened, market.events = market.events, []
            self._out.say(market, schema.BookStatus(self._times.wall_us(now_us), False, reason))
            market.events += happened
            if market.is_valid:
                self._out.say_whole(market, now_us)

    def _invalidate(self, market: MarketBook, reason: str, now_us: int, *, resync: bool) -> None:
        self._distrust(market)
        self._out.say(market, schema.BookStatus(self._times.wall_us(now_us), False, reason))
        if not resync:
            self._asking.leave(market)
            return
        self._counters["resyncs"] += 1
        self._market_gap(market, reason, now_us)
        self._asking.want(market, now_us)

    def _distrust(self, market: MarketBook) -> None:
        market.is_valid = False
        self._usual.pop(market.ticker, None)
        market.told_seq = NEVER_TOLD
        self._uncross(market)

    def _uncross(self, market: MarketBook) -> None:
        market.crossed_since_us = None
        self._crossed.pop(market.ticker, None)

    def _market_gap(self, market: MarketBook, reason: str, now_us: int) -> None:
        """Note that one market's history stops here, at the newest number of its subscription."""
        subscription = self.session.subscriptions.get(market.sid)
        seq = subscription.seq or 0 if subscription is not None else 0
        self._gap_row(reason, market.sid, seq, seq, now_us, ticker=market.ticker)

    def _gap_row(
        self, reason: str, sid: int, expected: int, received: int, received_us: int, *, ticker: str = ""
    ) -> None:
        time_us, source = self._times.of(None, None, received_us)
        self._out.rows.append(schema.GapRow(time_us, source, ticker, reason, sid, expected, received))

    # ---- book streams -------------------------------------------------------------------------------------------

    def lease(self, ticker: str, *, is_leased: bool, now_us: int) -> None:
        """Start or stop the book stream of a market; a starting one begins with a snapshot."""
        market = self.market(ticker)
        if market.is_leased == is_leased:
            return
        if is_leased:
            market.lease(is_leased=True)
            self._out.leased.add(ticker)
            if market.is_valid:
                self._out.say_whole(market, now_us)
            return
        # A newcomer walks back to the last snapshot: it must also find that the stream ended there.
        self._out.say_last(market, schema.BookStatus(self._times.wall_us(now_us), False, "no longer leased"))

    def _repeat_aged(self, now_us: int) -> None:
        """Repeat the whole book on streams where something happened since a snapshot that is some seconds old."""
        for market in self.markets.values():
            has_news = market.streamed + len(market.events or ()) > 0
            if has_news and market.is_valid and now_us - market.streamed_us >= schema.BOOK_SNAPSHOT_S * 1_000_000:
                self._out.say_whole(market, now_us)


def _decoded(turn: Sequence[bytes]) -> list[Any]:
    """Return the frames of one turn typed, DAMAGED for what is none.

    All at once, which is quicker; one after the other when one of them is no frame by itself.
    """
    try:
        frames: list[Any] = decode_frames(b"\n".join(turn))
    except DAMAGE:
        return [_decoded_one(data) for data in turn]
    return frames if len(frames) == len(turn) else [_decoded_one(data) for data in turn]


def _decoded_one(data: bytes) -> Any:
    try:
        return decode_frame(data)
    except DAMAGE:
        return DAMAGED
