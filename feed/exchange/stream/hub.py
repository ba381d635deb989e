"""Who wants what, and what happened as frames: each body is encoded once, each subscriber adds its envelope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from feed.exchange.happenings import Announced, BookChanged, BookCleared, Happening, Private, TickerChanged, Traded
from feed.exchange.stream.bodies import delta_body, encode, snapshot_body
from feed.exchange.stream.channels import PRIVATE_TYPES
from feed.exchange.stream.subscriptions import Session, Subscription
from feed.exchange.trading.accounts import PRIMARY
from feed.exchange.wire import public as wire

if TYPE_CHECKING:
    from feed.exchange.world import World


class Hub:
    """All sessions of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sessions: set[Session] = set()
        self.awake: set[Session] = set()  # those with frames to write
        self._by_market: dict[tuple[str, str], dict[Subscription, None]] = {}
        self._to_all: dict[str, dict[Subscription, None]] = {}
        self._stamp = b',"sending_ts_ms":0'

    def open(self, account: str, subaccount: int | None = None) -> Session:
        """Begin a connection of an account, or of that one subaccount of it."""
        session = Session(self, account, subaccount)
        self.sessions.add(session)
        return session

    def close(self, session: Session) -> None:
        for subscription in list(session.subscriptions.values()):
            session.remove(subscription)
        self.sessions.discard(session)
        self.awake.discard(session)

    # --- who wants what -------------------------------------------------------------------------------------------

    def index(self, subscription: Subscription) -> None:
        if subscription.tickers is None:
            self._to_all.setdefault(subscription.channel, {})[subscription] = None
            return
        self.add_tickers(subscription, subscription.tickers)

    def add_tickers(self, subscription: Subscription, tickers: Iterable[str]) -> None:
        for ticker in tickers:
            self._by_market.setdefault((subscription.channel, ticker), {})[subscription] = None

    def drop_tickers(self, subscription: Subscription, tickers: Iterable[str]) -> None:
        for ticker in tickers:
            wanted = self._by_market.get((subscription.channel, ticker), {})
            wanted.pop(subscription, None)
            if not wanted:
                self._by_market.pop((subscription.channel, ticker), None)

    def forget(self, subscription: Subscription) -> None:
        if subscription.tickers is None:
            self._to_all[subscription.channel].pop(subscription, None)
        else:
            self.drop_tickers(subscription, subscription.tickers)

    def _wanting(self, channel: str, ticker: str) -> Sequence[Subscription]:
        """Return a copy: sending may end a subscription."""
        named, everyone = self._by_market.get((channel, ticker)), self._to_all.get(channel)
        return (*(named or ()), *(everyone or ()))

    # --- envelopes ------------------------------------------------------------------------------------------------

    def stamp(self) -> bytes:
        return self._stamp

    def tail(self, body: bytes) -> bytes:
        """Return the end of a frame, the same for every subscriber: when it was sent, and the encoded `msg`."""
        return b'%b,"msg":%b}' % (self._stamp, body)

    # --- what happened, as frames -----------------------------------------------------------------------------------

    def publish(self, happenings: list[Happening], *, wall_ms: int) -> None:
        """Queue what happened for everybody who wants it."""
        self._stamp = b',"sending_ts_ms":%d' % wall_ms
        for happening in happenings:
            match happening:
                case BookChanged():
                    self._book_changed(happening)
                case Traded():
                    self._spread("trade", happening.ticker, "trade", wire.trade_message(happening))
                case TickerChanged():
                    self._spread("ticker", happening.ticker, "ticker", happening.body)
                case Private():
                    self._private(happening)
                case Announced():
                    self._spread("market_lifecycle_v2", "", happening.type, happening.body)
                case BookCleared():
                    self._book_cleared(happening)

    def _spread(self, channel: str, ticker: str, kind: str, message: dict[str, Any]) -> None:
        subscriptions = self._wanting(channel, ticker)
        if not subscriptions:
            return
        tail = self.tail(encode(message))
        for subscription in subscriptions:
            subscription.send(kind, tail)

    def _private(self, happening: Private) -> None:
        tail: bytes | None = None
        for subscription in self._wanting(happening.channel, happening.ticker):
            if not subscription.session.owns(happening.account, happening.subaccount):
                continue
            tail = tail or self.tail(encode(happening.body))
            subscription.send(PRIVATE_TYPES[happening.channel], tail)

    def _book_changed(self, change: BookChanged) -> None:
        tails: dict[tuple[bool, bool], bytes] = {}
        owner, subaccount = change.owner, change.subaccount or PRIMARY
        for subscription in self._wanting("orderbook_delta", change.ticker):
            form = (subscription.use_yes_price, bool(owner) and subscription.session.owns(owner, subaccount))
            tail = tails.get(form)
            if tail is None:
                tail = tails[form] = self.tail(delta_body(change, use_yes_price=form[0], is_own=form[1]))
            subscription.send("orderbook_delta", tail)

    def _book_cleared(self, happening: BookCleared) -> None:
        for subscription in self._wanting("orderbook_delta", happening.ticker):
            self.send_snapshot(subscription, happening.ticker)

    def send_snapshot(self, subscription: Subscription, ticker: str) -> None:
        subscription.send("orderbook_snapshot", self._snapshot(subscription, ticker))

    def answer_snapshot(self, subscription: Subscription, ticker: str, *, command_id: int) -> None:
        """Answer a get_snapshot; whether that takes a number of the sid is a switch."""
        subscription.answer(
            "orderbook_snapshot",
            self._snapshot(subscription, ticker),
            command_id=command_id,
            takes_seq=self._world.switches.snapshot_reply_takes_seq,
        )

    def _snapshot(self, subscription: Subscription, ticker: str) -> bytes:
        market = self._world.markets.get(ticker)
        return self.tail(snapshot_body(ticker, market, use_yes_price=subscription.use_yes_price))
