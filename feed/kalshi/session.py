"""The venue's WebSocket as pure decisions: frames in, events out, commands as bytes. No socket, no clock.

A subscription (sid) has one sequence over all its markets and its `ok` replies:

    seq = last + 1   in order
    seq = last       the same message again: dropped
    anything else    a gap: every market of the sid is suspect until its own fresh snapshot; with a new generation

What `receive` returns is drawn in events.py; which channels there are, in channels.py. Only what the venue confirmed
counts as subscribed.

Source: facts.md sections 12.2 to 12.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from feed.kalshi import channels, commanderrors, reading
from feed.kalshi.awaited import Awaited, Command
from feed.kalshi.convert import SIDES, count_of, own_price_cc
from feed.kalshi.events import (
    BookDelta,
    Confirmed,
    Event,
    Gap,
    Ignored,
    Listed,
    Malformed,
    Refused,
    Removed,
)
from feed.kalshi.wire import commands, frames

MOST_TICKERS_A_COMMAND = 500
BOOK_FRAMES = frozenset({"orderbook_snapshot", "orderbook_delta"})


class Subscription(msgspec.Struct):
    """One confirmed sid; `seq` is the last number seen, None before the first."""

    sid: int
    channel: str
    generation: int = 1
    seq: int | None = None
    markets: set[str] = msgspec.field(default_factory=set)


class Session:
    """One connection's subscriptions and sequences.

    Args:
        use_yes_price: Asked for in every book subscription; NO levels then come at YES prices.
        adopt: Take a sid nobody subscribed for subscribed: for recordings that begin later.
        skip_ticker_ack: Let the venue's `ok` leave out the whole list of markets: each then confirms what was asked.
    """

    def __init__(self, *, use_yes_price: bool = False, adopt: bool = False, skip_ticker_ack: bool = False) -> None:
        self.use_yes_price = use_yes_price
        self.skip_ticker_ack = skip_ticker_ack
        self.subscriptions: dict[int, Subscription] = {}
        self.duplicates = 0
        self.strays = 0
        self._adopt = adopt
        self._awaited = Awaited()
        self._is_in_doubt = False  # something is there, or no more, and the venue did not say what

    # ---- commands -----------------------------------------------------------------------------------------------

    def subscribe(self, channel: str, tickers: Sequence[str] = ()) -> list[bytes]:
        """Return the frame that subscribes `channel` for the first MOST_TICKERS_A_COMMAND of `tickers`.

        The rest is for `add_markets`, once the subscription is confirmed.
        """
        first = tuple(tickers[:MOST_TICKERS_A_COMMAND])
        command_id = self._awaited.add(Command(channel, first, "subscribe"))
        return [
            commands.subscribe(
                command_id,
                channel,
                first,
                use_yes_price=self.use_yes_price,
                skip_ticker_ack=self.skip_ticker_ack,
            )
        ]

    def unsubscribe(self, sids: Iterable[int]) -> list[bytes]:
        """Return the frame that ends subscriptions; each counts until the venue says that it is over."""
        ending = sorted(sids)
        if not ending:
            return []
        command_id = self._awaited.add(Command("", (), "unsubscribe"))
        return [commands.unsubscribe(command_id, ending)]

    def list_subscriptions(self) -> list[bytes]:
        """Return the frame that asks which subscriptions the venue holds; its answer corrects ours."""
        return [commands.list_subscriptions(self._awaited.add(Command("", (), "list_subscriptions")))]

    def add_markets(self, sid: int, tickers: Sequence[str]) -> list[bytes]:
        return self._update(sid, "add_markets", tickers)

    def delete_markets(self, sid: int, tickers: Sequence[str]) -> list[bytes]:
        return self._update(sid, "delete_markets", tickers)

    def get_snapshot(self, sid: int, tickers: Iterable[str]) -> list[bytes]:
        """Return the frames that ask for fresh snapshots of markets of a book subscription."""
        return self._update(sid, "get_snapshot", sorted(tickers))

    def is_pending(self, channel: str, action: str) -> bool:
        """Whether a command of this kind still awaits its answer."""
        return self._awaited.has(channel, action)

    @property
    def is_in_doubt(self) -> bool:
        """Whether nobody knows what is subscribed; only a new connection helps."""
        return self._is_in_doubt

    def give_up(self, age: int) -> bool:
        """Forget updates that `age` calls of this have not seen answered: their answers are lost.

        Return whether the connection is no good: a subscribe is among the unanswered, or timed out at the venue, and
        must not be sent again (the first may yet be done, and be a second subscription); or a subscription has died
        that the venue did not name.
        """
        return self._awaited.give_up(age) or self._is_in_doubt

    def of_channel(self, channel: str) -> Subscription | None:
        for subscription in self.subscriptions.values():  # asked each turn: a generator would cost more than the search
            if subscription.channel == channel:
                return subscription
        return None

    def _update(self, sid: int, action: str, tickers: Sequence[str]) -> list[bytes]:
        channel = self.subscriptions[sid].channel
        result = []
        for start in range(0, len(tickers), MOST_TICKERS_A_COMMAND):
            batch = tuple(tickers[start : start + MOST_TICKERS_A_COMMAND])
            command_id = self._awaited.add(Command(channel, batch, action, sid))
            result.append(commands.update(command_id, sid, action, batch))
        return result

    # ---- frames -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes | memoryview) -> tuple[Event, ...]:
        """Return what one text frame means. Never raises for anything the venue may send."""
        try:
            frame = frames.decode_frame(data)
        except (msgspec.MsgspecError, RecursionError) as exc:
            with_texts = _with_texts(data)
            if with_texts is None:
                return self._undecodable(bytes(data), str(exc))
            frame = with_texts
        except UnicodeDecodeError as exc:
            return (*self._any_book(), Malformed("", f"not UTF-8: {exc.reason}", bytes(data)))
        return self.read(frame, data)

    def read(self, frame: frames.KnownFrame, data: bytes | memoryview) -> tuple[Event, ...]:
        """Return what a decoded frame means; `data` is what it was decoded from."""
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

    def _any_book(self) -> tuple[Gap, ...]:
        """Return the gaps of a frame of which nothing can be told: it may have been of any book."""
        books = [one for one in self.subscriptions.values() if one.channel == channels.BOOK]
        return tuple(self._gap(one, one.seq or 0, one.seq or 0) for one in books)

    def _delta(self, frame: frames.Delta, data: bytes | memoryview) -> tuple[Event, ...]:
        verdict = self._sequence(frame.sid, frame.seq, channels.BOOK)
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        msg = frame.msg
        side = SIDES[msg.side]
        try:
            price_cc = own_price_cc(side, msg.price_dollars, use_yes_price=self.use_yes_price)
            delta_cx = count_of(msg.delta_fp)
        except ValueError as exc:
            return (*before, Malformed(msg.market_ticker, str(exc), bytes(data)))
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
        pending = self._awaited.look(frame.id)  # one command, a snapshot for each of its markets
        verdict = self._sequence(frame.sid, frame.seq, channels.BOOK)
        # Whether the answer to get_snapshot takes a number is not documented: without one it is no duplicate.
        if verdict is False and (pending is None or frame.sid not in self.subscriptions):
            return ()
        before = () if isinstance(verdict, bool) else (verdict,)
        ticker = frame.msg.market_ticker
        try:
            event: Event = reading.snapshot(frame, use_yes_price=self.use_yes_price)
        except ValueError as exc:
            event = Malformed(ticker, str(exc), bytes(data))
        self.subscriptions[frame.sid].markets.add(ticker)
        return (*before, event)

    def _other(self, frame: frames.KnownFrame, data: bytes | memoryview) -> tuple[Event, ...]:
        match frame:
            case frames.Ticker():
                return self._ticker(frame, data)
            case frames.Trade():
                return self._trade(frame, data)
            case frames.Subscribed():
                return self._subscribed(frame)
            case frames.Ok():
                return self._ok(frame)
            case frames.Unsubscribed():
                return self._unsubscribed(frame)
            case frames.CommandError():
                return self._error(frame)
            case frames.Snapshot() | frames.Delta():
                raise AssertionError("books go first")
        return self._body(frame, data)

    def _ticker(self, frame: frames.Ticker, data: bytes | memoryview) -> tuple[Event, ...]:
        try:
            return (reading.ticker(frame),)
        except ValueError as exc:
            return (Malformed("", f"ticker of {frame.msg.market_ticker}: {exc}", bytes(data)),)

    def _trade(self, frame: frames.Trade, data: bytes | memoryview) -> tuple[Event, ...]:
        verdict = self._sequence(frame.sid, frame.seq, channels.TRADE)
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        try:
            event: Event = reading.trade(frame)
        except ValueError as exc:
            event = Malformed("", f"trade of {frame.msg.market_ticker}: {exc}", bytes(data))
        return (*before, event)

    def _body(self, frame: frames.BodyFrame, data: bytes | memoryview) -> tuple[Event, ...]:
        """Private frames, and those of the life of markets and events."""
        kind = str(type(frame).__struct_config__.tag)
        verdict = self._sequence(frame.sid, frame.seq, kind)
        if verdict is False:
            return ()
        before = () if verdict is True else (verdict,)
        try:
            event = reading.body(frame)
        except ValueError as exc:
            event = Malformed("", f"{kind}: {exc}", bytes(data))
        return (*before, event)

    # ---- answers ------------------------------------------------------------------------------------------------

    def _subscribed(self, frame: frames.Subscribed) -> tuple[Event, ...]:
        pending = self._awaited.answered(frame.id)
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
        pending = self._awaited.answered(frame.id)
        if pending is not None and pending.action == "list_subscriptions":
            return self._listed(frame)
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

    def _listed(self, frame: frames.Ok) -> tuple[Event, ...]:
        """Drop what the venue does not hold any more, and tell what it holds beyond ours."""
        try:
            listed = {entry.sid: entry.channel for entry in frames.decode_listed(frame.msg)}
        except msgspec.MsgspecError as exc:
            return (Malformed("", f"list of subscriptions: {exc}", bytes(frame.msg)),)
        lost = [event for sid in set(self.subscriptions) - set(listed) for event in self._drop(sid, "not listed")]
        unknown = tuple(sorted((sid, channel) for sid, channel in listed.items() if sid not in self.subscriptions))
        return (*lost, Listed(frozenset(self.subscriptions), unknown))

    def _unsubscribed(self, frame: frames.Unsubscribed) -> tuple[Event, ...]:
        self._awaited.answered(frame.id)
        return self._drop(frame.sid, "")

    def _drop(self, sid: int, reason: str) -> tuple[Event, ...]:
        subscription = self.subscriptions.pop(sid, None)
        if subscription is None:
            return ()
        return (Removed(sid, subscription.channel, frozenset(subscription.markets), reason),)

    def _error(self, frame: frames.CommandError) -> tuple[Event, ...]:
        pending = self._awaited.answered(frame.id)
        msg = frame.msg
        known = self.subscriptions.get(frame.sid)
        channel = pending.channel if pending else known.channel if known else ""
        named = (*(msg.market_tickers or ()), *([msg.market_ticker] if msg.market_ticker else []))
        tickers = named or (pending.tickers if pending else ())
        sid = frame.sid or (pending.sid if pending else 0)
        action = pending.action if pending else ""
        is_whole = pending is None or set(tickers) >= set(pending.tickers)
        remedy = commanderrors.remedy(msg.code)
        if remedy is commanderrors.Remedy.ASK_AGAIN and action == "subscribe":
            self._is_in_doubt = True
        refused = Refused(action, msg.code, msg.msg or "", sid, channel, tuple(tickers), is_whole, remedy)
        if msg.code in commanderrors.TERMINAL:
            # One that names nothing may mean any of them: none counts any more.
            self._is_in_doubt |= not sid and pending is None
            dead = list(self.subscriptions) if self._is_in_doubt else [sid]
            return (refused, *(gone for one in dead for gone in self._drop(one, f"error {msg.code}: {msg.msg or '?'}")))
        if known is not None and frame.seq is not None:
            verdict = self._sequence(frame.sid, frame.seq, known.channel)
            return (refused,) if isinstance(verdict, bool) else (verdict, refused)
        return (refused,)

    def _undecodable(self, data: bytes, reason: str) -> tuple[Event, ...]:
        """A frame of no known shape: a new type is ignored, damage is kept; either may carry a sequence number."""
        try:
            envelope = frames.decode_envelope(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return (*self._any_book(), Malformed("", reason, data))
        before: tuple[Event, ...] = ()
        if envelope.seq is not None and envelope.sid in self.subscriptions:
            verdict = self._sequence(envelope.sid, envelope.seq, "")
            if verdict is False:
                return ()
            before = () if verdict is True else (verdict,)
        if envelope.type not in frames.KNOWN_TYPES:
            return (*before, Ignored(envelope.type, data))
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


def _with_texts(data: bytes | memoryview) -> frames.KnownFrame | None:
    """Return the frame read with its numbers as the strings they should be, or None when that does not help."""
    try:
        frame: frames.KnownFrame = frames.decode_frame(frames.numbers_as_texts(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return frame
