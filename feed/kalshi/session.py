"""The venue's WebSocket as pure decisions: frames in, events out, commands as bytes. No socket, no clock.

A subscription (sid) has one sequence over all its markets and its `ok` replies:

    seq = last + 1   in order
    seq = last       the same message again: dropped
    anything else    a gap: every market of the sid is suspect until its own fresh snapshot; with a new generation

Events of `receive`, in order of their use:

    Confirmed, Removed        the set of markets that count as subscribed
    BookSnapshot, BookDelta   in sequence, at own-side prices
    Gap                       before the event of the same frame, if that one can still be used
    TickerEvent, TradeEvent, LifecycleEvent
    Refused                   the venue's error reply
    Malformed                 a frame kept as it came, with the reason
    Ignored                   a type we do not know

Source: facts.md sections 12.2 to 12.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from feed.kalshi.convert import (
    COUNTS,
    PRICES,
    SIDES,
    levels,
    optional_count_cx,
    optional_price_cc,
)
from feed.kalshi.wire import commands, frames
from markets.core.units import DOLLAR_CC, Side

BOOK_CHANNEL = "orderbook_delta"
MOST_TICKERS_A_COMMAND = 500
BOOK_FRAMES = frozenset({"orderbook_snapshot", "orderbook_delta"})
TERMINAL_ERRORS = {10, 25}  # channel error, subscription buffer overflow: that sid is dead


class Subscription(msgspec.Struct):
    """One confirmed sid; `seq` is the last number seen, None before the first."""

    sid: int
    channel: str
    generation: int = 1
    seq: int | None = None
    markets: set[str] = msgspec.field(default_factory=set)


class BookSnapshot(msgspec.Struct, frozen=True):
    """The whole book of one market: (own-side price_cc, count_cx) pairs."""

    sid: int
    seq: int
    ticker: str
    yes: list[tuple[int, int]]
    no: list[tuple[int, int]]
    sending_ms: int | None


class BookDelta(msgspec.Struct, frozen=True):
    """A signed change of one level. `time_ms` is exchange time, None where the venue sent none."""

    sid: int
    seq: int
    ticker: str
    side: int
    price_cc: int
    delta_cx: int
    time_ms: int | None
    sending_ms: int | None
    client_order_id: str | None


class TickerEvent(msgspec.Struct, frozen=True):
    """None is a field the venue did not send, or a side without a quote."""

    ticker: str
    time_ms: int | None
    sending_ms: int | None
    last_yes_price_cc: int | None
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    yes_bid_cx: int | None
    yes_ask_cx: int | None
    last_count_cx: int | None
    volume_cx: int | None
    open_interest_cx: int | None


class TradeEvent(msgspec.Struct, frozen=True):
    ticker: str
    trade_id: str
    yes_price_cc: int
    count_cx: int
    taker_side: Side
    is_block: bool
    time_ms: int | None
    sending_ms: int | None


class LifecycleEvent(msgspec.Struct, frozen=True):
    ticker: str
    event_type: str
    body: bytes
    sending_ms: int | None


class Confirmed(msgspec.Struct, frozen=True):
    """A subscription exists, or holds exactly these markets now."""

    sid: int
    channel: str
    markets: frozenset[str]


class Removed(msgspec.Struct, frozen=True):
    """A subscription is over; `reason` is empty when we asked for it."""

    sid: int
    channel: str
    markets: frozenset[str]
    reason: str


class Gap(msgspec.Struct, frozen=True):
    """Messages of a subscription are missing, doubled backwards or out of order."""

    sid: int
    channel: str
    expected: int
    received: int
    markets: frozenset[str]


class Refused(msgspec.Struct, frozen=True):
    """The venue refused a command (`action`); `tickers` are those that were meant, as far as known.

    `is_whole` is False when the venue names some of those that were sent: the rest was not at fault.
    """

    action: str
    code: int
    message: str
    sid: int
    channel: str
    tickers: tuple[str, ...]
    is_whole: bool


class Malformed(msgspec.Struct, frozen=True):
    """A frame that cannot be used; `ticker` names the market whose book it spoils, if that can be told."""

    ticker: str
    reason: str
    frame: bytes


class Ignored(msgspec.Struct, frozen=True):
    type: str


Event = (
    BookSnapshot
    | BookDelta
    | TickerEvent
    | TradeEvent
    | LifecycleEvent
    | Confirmed
    | Removed
    | Gap
    | Refused
    | Malformed
    | Ignored
)


class _Pending(msgspec.Struct):
    """A command without its answer yet."""

    channel: str
    tickers: tuple[str, ...]
    action: str
    sid: int = 0
    waited: int = 0


class Session:
    """One connection's subscriptions and sequences.

    Args:
        use_yes_price: Asked for in every book subscription; NO levels then come at YES prices.
        adopt: Take a sid nobody subscribed for subscribed: for recordings that begin later.
    """

    def __init__(self, *, use_yes_price: bool = False, adopt: bool = False) -> None:
        self.use_yes_price = use_yes_price
        self.subscriptions: dict[int, Subscription] = {}
        self.duplicates = 0
        self.strays = 0
        self._adopt = adopt
        self._pending: dict[int, _Pending] = {}
        self._next_id = 1

    # ---- commands -----------------------------------------------------------------------------------------------

    def subscribe(self, channel: str, tickers: Sequence[str] = ()) -> list[bytes]:
        """Return the frame that subscribes `channel` for the first MOST_TICKERS_A_COMMAND of `tickers`.

        The rest is for `add_markets`, once the subscription is confirmed.
        """
        first = tuple(tickers[:MOST_TICKERS_A_COMMAND])
        command_id = self._remember(_Pending(channel, first, "subscribe"))
        return [commands.subscribe(command_id, channel, first, use_yes_price=self.use_yes_price)]

    def add_markets(self, sid: int, tickers: Sequence[str]) -> list[bytes]:
        return self._update(sid, "add_markets", tickers)

    def delete_markets(self, sid: int, tickers: Sequence[str]) -> list[bytes]:
        return self._update(sid, "delete_markets", tickers)

    def get_snapshot(self, sid: int, tickers: Iterable[str]) -> list[bytes]:
        """Return the frames that ask for fresh snapshots of markets of a book subscription."""
        return self._update(sid, "get_snapshot", sorted(tickers))

    def is_pending(self, channel: str, action: str) -> bool:
        """Whether a command of this kind still awaits its answer."""
        return any(p.channel == channel and p.action == action for p in self._pending.values())

    def give_up(self, age: int) -> bool:
        """Forget updates that `age` calls of this have not seen answered: their answers are lost.

        Return whether a subscribe is among the unanswered. That one must not be sent again (a late answer would be a
        second subscription): the connection is no good.
        """
        is_lost = False
        for command_id, pending in list(self._pending.items()):
            pending.waited += 1
            if pending.waited <= age:
                continue
            if pending.action == "subscribe":
                is_lost = True
            else:
                del self._pending[command_id]
        return is_lost

    def of_channel(self, channel: str) -> Subscription | None:
        return next((s for s in self.subscriptions.values() if s.channel == channel), None)

    def _update(self, sid: int, action: str, tickers: Sequence[str]) -> list[bytes]:
        channel = self.subscriptions[sid].channel
        result = []
        for start in range(0, len(tickers), MOST_TICKERS_A_COMMAND):
            batch = tuple(tickers[start : start + MOST_TICKERS_A_COMMAND])
            command_id = self._remember(_Pending(channel, batch, action, sid))
            result.append(commands.update(command_id, sid, action, batch))
        return result

    def _remember(self, pending: _Pending) -> int:
        command_id = self._next_id
        self._next_id += 1
        self._pending[command_id] = pending
        return command_id

    # ---- frames -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview) -> tuple[Event, ...]:
        """Return what one text frame means. Never raises for anything the venue may send."""
        try:
            frame = frames.decode_frame(data)
        except msgspec.MsgspecError as exc:
            return self._undecodable(bytes(data), str(exc))
        except UnicodeDecodeError as exc:
            return (Malformed("", f"not UTF-8: {exc.reason}", bytes(data)),)
        if type(frame) is frames.Delta:
            return self._delta(frame, data)
        if type(frame) is frames.Snapshot:
            return self._snapshot(frame, data)
        return self._other(frame, data)

    def _sequence(self, sid: int, seq: int | None, channel: str) -> Gap | bool:
        """Note a frame's number: True in order, False for a frame to drop, else the gap it shows."""
        subscription = self.subscriptions.get(sid)
        if subscription is None:
            if not self._adopt:
                self.strays += 1  # still under way when the subscription ended
                return False
            subscription = self.subscriptions[sid] = Subscription(sid, channel)
        if seq is None or subscription.seq is None or seq == subscription.seq + 1:
            first_is_late = seq is not None and subscription.seq is None and seq != 1 and not self._adopt
            subscription.seq = subscription.seq if seq is None else seq
            return self._gap(subscription, 1, seq or 0) if first_is_late else True
        if seq == subscription.seq:
            self.duplicates += 1
            return False
        expected = subscription.seq + 1
        subscription.seq = seq
        return self._gap(subscription, expected, seq)

    def _gap(self, subscription: Subscription, expected: int, received: int) -> Gap:
        subscription.generation += 1
        markets = frozenset(subscription.markets)
        return Gap(subscription.sid, subscription.channel, expected, received, markets)

    def _delta(self, frame: frames.Delta, data: bytes | memoryview) -> tuple[Event, ...]:
        verdict = self._sequence(frame.sid, frame.seq, BOOK_CHANNEL)
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        msg = frame.msg
        side = SIDES[msg.side]
        try:
            price_cc = PRICES[msg.price_dollars]
            delta_cx = COUNTS[msg.delta_fp]
        except ValueError as exc:
            return (*before, Malformed(msg.market_ticker, str(exc), bytes(data)))
        if self.use_yes_price and side is Side.NO:
            price_cc = DOLLAR_CC - price_cc
        return (
            *before,
            BookDelta(
                frame.sid,
                frame.seq or 0,
                msg.market_ticker,
                side,
                price_cc,
                delta_cx,
                msg.ts_ms,
                frame.sending_ts_ms,
                msg.client_order_id,
            ),
        )

    def _snapshot(self, frame: frames.Snapshot, data: bytes | memoryview) -> tuple[Event, ...]:
        pending = self._pending.get(frame.id)  # one command, a snapshot for each of its markets
        verdict = self._sequence(frame.sid, frame.seq, BOOK_CHANNEL)
        # Whether the answer to get_snapshot takes a number is not documented: without one it is no duplicate.
        if verdict is False and (pending is None or frame.sid not in self.subscriptions):
            return ()
        before = () if isinstance(verdict, bool) else (verdict,)
        msg = frame.msg
        try:
            event: Event = BookSnapshot(
                frame.sid,
                frame.seq or 0,
                msg.market_ticker,
                levels(Side.YES, msg.yes_dollars_fp, use_yes_price=self.use_yes_price),
                levels(Side.NO, msg.no_dollars_fp, use_yes_price=self.use_yes_price),
                frame.sending_ts_ms,
            )
        except ValueError as exc:
            event = Malformed(msg.market_ticker, str(exc), bytes(data))
        self.subscriptions[frame.sid].markets.add(msg.market_ticker)
        return (*before, event)

    def _other(self, frame: frames.KnownFrame, data: bytes | memoryview) -> tuple[Event, ...]:
        match frame:
            case frames.Ticker():
                return self._ticker(frame, data)
            case frames.Trade():
                return self._trade(frame, data)
            case frames.Lifecycle():
                return self._lifecycle(frame, data)
            case frames.Subscribed():
                return self._subscribed(frame)
            case frames.Ok():
                return self._ok(frame)
            case frames.Unsubscribed():
                return self._unsubscribed(frame)
            case frames.CommandError():
                return self._error(frame)
        return ()

    def _ticker(self, frame: frames.Ticker, data: bytes | memoryview) -> tuple[Event, ...]:
        msg = frame.msg
        try:
            return (
                TickerEvent(
                    ticker=msg.market_ticker,
                    time_ms=msg.ts_ms,
                    sending_ms=frame.sending_ts_ms,
                    last_yes_price_cc=optional_price_cc(msg.price_dollars),
                    yes_bid_cc=optional_price_cc(msg.yes_bid_dollars),
                    yes_ask_cc=optional_price_cc(msg.yes_ask_dollars),
                    yes_bid_cx=optional_count_cx(msg.yes_bid_size_fp),
                    yes_ask_cx=optional_count_cx(msg.yes_ask_size_fp),
                    last_count_cx=optional_count_cx(msg.last_trade_size_fp),
                    volume_cx=optional_count_cx(msg.volume_fp),
                    open_interest_cx=optional_count_cx(msg.open_interest_fp),
                ),
            )
        except ValueError as exc:
            return (Malformed("", f"ticker of {msg.market_ticker}: {exc}", bytes(data)),)

    def _trade(self, frame: frames.Trade, data: bytes | memoryview) -> tuple[Event, ...]:
        verdict = self._sequence(frame.sid, frame.seq, "trade")
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        msg = frame.msg
        try:
            event: Event = TradeEvent(
                ticker=msg.market_ticker,
                trade_id=msg.trade_id,
                yes_price_cc=PRICES[msg.yes_price_dollars],
                count_cx=COUNTS[msg.count_fp],
                taker_side=SIDES[msg.taker_outcome_side],
                is_block=msg.is_block_trade,
                time_ms=msg.ts_ms,
                sending_ms=frame.sending_ts_ms,
            )
        except ValueError as exc:
            event = Malformed("", f"trade of {msg.market_ticker}: {exc}", bytes(data))
        return (*before, event)

    def _lifecycle(self, frame: frames.Lifecycle, data: bytes | memoryview) -> tuple[Event, ...]:
        verdict = self._sequence(frame.sid, frame.seq, "market_lifecycle_v2")
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        try:
            head = frames.decode_lifecycle_head(frame.msg)
        except msgspec.MsgspecError as exc:
            return (*before, Malformed("", f"lifecycle: {exc}", bytes(data)))
        return (*before, LifecycleEvent(head.market_ticker, head.event_type, bytes(frame.msg), frame.sending_ts_ms))

    def _subscribed(self, frame: frames.Subscribed) -> tuple[Event, ...]:
        pending = self._pending.pop(frame.id, None)
        sid, channel = frame.msg.sid, frame.msg.channel
        markets = set(pending.tickers) if pending else set()
        self.subscriptions[sid] = Subscription(sid, channel, markets=markets)
        return (Confirmed(sid, channel, frozenset(markets)),)

    def _ok(self, frame: frames.Ok) -> tuple[Event, ...]:
        verdict: Gap | bool = True
        subscription = self.subscriptions.get(frame.sid)
        if subscription is not None:
            verdict = self._sequence(frame.sid, frame.seq, subscription.channel)
        before = () if isinstance(verdict, bool) else (verdict,)
        pending = self._pending.pop(frame.id, None)
        if subscription is None:
            return before
        told = _told_markets(frame.msg)
        if told is not None:
            subscription.markets = told
        elif pending is None:
            return before
        elif pending.action == "add_markets":  # `skip_ticker_ack` leaves the list out
            subscription.markets |= set(pending.tickers)
        elif pending.action == "delete_markets":
            subscription.markets -= set(pending.tickers)
        return (*before, Confirmed(frame.sid, subscription.channel, frozenset(subscription.markets)))

    def _unsubscribed(self, frame: frames.Unsubscribed) -> tuple[Event, ...]:
        self._pending.pop(frame.id, None)
        return self._drop(frame.sid, "")

    def _drop(self, sid: int, reason: str) -> tuple[Event, ...]:
        subscription = self.subscriptions.pop(sid, None)
        if subscription is None:
            return ()
        return (Removed(sid, subscription.channel, frozenset(subscription.markets), reason),)

    def _error(self, frame: frames.CommandError) -> tuple[Event, ...]:
        pending = self._pending.pop(frame.id, None)
        msg = frame.msg
        known = self.subscriptions.get(frame.sid)
        channel = pending.channel if pending else known.channel if known else ""
        named = (*msg.market_tickers, *([msg.market_ticker] if msg.market_ticker else []))
        tickers = named or (pending.tickers if pending else ())
        sid = frame.sid or (pending.sid if pending else 0)
        action = pending.action if pending else ""
        is_whole = pending is None or set(tickers) >= set(pending.tickers)
        refused = Refused(action, msg.code, msg.msg, sid, channel, tuple(tickers), is_whole)
        if msg.code in TERMINAL_ERRORS:
            return (refused, *self._drop(sid, f"error {msg.code}: {msg.msg}"))
        if known is not None and frame.seq is not None:
            verdict = self._sequence(frame.sid, frame.seq, known.channel)
            return (refused,) if isinstance(verdict, bool) else (verdict, refused)
        return (refused,)

    def _undecodable(self, data: bytes, reason: str) -> tuple[Event, ...]:
        """A frame of no known shape: a new type is ignored, damage is kept; either may carry a sequence number."""
        try:
            envelope = frames.decode_envelope(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return (Malformed("", reason, data),)
        before: tuple[Event, ...] = ()
        if envelope.seq is not None and envelope.sid in self.subscriptions:
            verdict = self._sequence(envelope.sid, envelope.seq, "")
            if verdict is False:
                return ()
            before = () if verdict is True else (verdict,)
        if envelope.type not in frames.KNOWN_TYPES:
            return (*before, Ignored(envelope.type))
        try:
            ticker = frames.decode_any_msg(envelope.msg).market_ticker
        except msgspec.MsgspecError:
            ticker = ""
        if envelope.type not in BOOK_FRAMES:
            return (*before, Malformed("", reason, data))
        if not ticker and not before and envelope.sid in self.subscriptions:
            # Whose book it was cannot be told, so it may be any of them.
            seq = envelope.seq or 0
            before = (self._gap(self.subscriptions[envelope.sid], seq, seq),)
        return (*before, Malformed(ticker, reason, data))


def _told_markets(msg: msgspec.Raw) -> set[str] | None:
    """Return the full list that an `ok` confirms, or None when it carries none."""
    try:
        told = frames.decode_ok_msg(msg).market_tickers
    except msgspec.MsgspecError:
        return None
    return None if told is None else set(told)
