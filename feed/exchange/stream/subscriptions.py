"""WebSocket subscriptions: one sequence per sid, bodies encoded once for everybody. No socket is touched here.

A `Session` is one connection; the `Hub` turns what happened in the world into frames for the sessions that want it.
Facts: asyncapi.yaml and facts.md section 12.

    subscription ──frames──► session.outbox (bounded per subscription) ──► the socket's writer
                 overflow: error 25, the subscription is dead
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.happenings import Announced, BookChanged, BookCleared, Happening, Private, TickerChanged, Traded
from feed.exchange.wire import public as wire
from markets.core.units import DOLLAR_CC, Side, format_count, format_price

if TYPE_CHECKING:
    from feed.exchange.market import Market
    from feed.exchange.world import World

BUFFER_FRAMES = 20_000  # per subscription; some seconds of a full exchange for a client that does not read
SEQUENCED = frozenset({"orderbook_delta", "trade", "market_lifecycle_v2", "order_group_updates"})
MARKET_CHANNELS = frozenset({"orderbook_delta", "ticker", "trade"})
PRIVATE_CHANNELS = frozenset({"fill", "user_orders", "market_positions", "order_group_updates"})
CHANNELS = MARKET_CHANNELS | PRIVATE_CHANNELS | {"market_lifecycle_v2"}
# Channels that take no markets, whatever a subscribe names.
UNFILTERED = frozenset({"market_lifecycle_v2", "order_group_updates"})
# Channels of the venue that need other parts than this exchange has; they subscribe and stay silent.
SILENT_CHANNELS = frozenset({"multivariate_market_lifecycle", "communications"})
PRIVATE_TYPES = {
    "fill": "fill",
    "user_orders": "user_order",
    "market_positions": "market_position",
    "order_group_updates": "order_group_updates",
}

encode = msgspec.json.encode


class Subscription:
    """One sid. `tickers` is None where the subscription takes every market."""

    def __init__(
        self,
        session: Session,
        sid: int,
        channel: str,
        tickers: set[str] | None,
        *,
        use_yes_price: bool,
        lists_tickers: bool,
    ) -> None:
        self.session = session
        self.sid = sid
        self.channel = channel
        self.tickers = tickers
        self.use_yes_price = use_yes_price
        self.lists_tickers = lists_tickers
        self.is_dead = False
        self.waiting = 0  # frames in the outbox
        self._seq = 0
        self._has_seq = channel in SEQUENCED

    def wants(self, ticker: str) -> bool:
        return self.tickers is None or ticker in self.tickers

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def send(self, kind: str, body: bytes, *, command_id: int = 0) -> None:
        """Queue one message of this subscription; `body` is the encoded `msg`."""
        if self.is_dead:
            return
        if self.waiting >= BUFFER_FRAMES:
            self.session.kill(self)
            return
        head = b'{"type":"%b","sid":%d' % (kind.encode(), self.sid)
        if command_id:
            head += b',"id":%d' % command_id
        if self._has_seq:
            head += b',"seq":%d' % self.next_seq()
        self.session.queue(self, head, b',"msg":%b}' % body)


class Session:
    """One connection of one account: its subscriptions and the frames that wait to be written."""

    def __init__(self, hub: Hub, account: str) -> None:
        self.hub = hub
        self.account = account
        self.subscriptions: dict[int, Subscription] = {}
        self.outbox: deque[tuple[Subscription | None, bytes]] = deque()
        self._last_sid = 0

    def add(self, channel: str, tickers: set[str] | None, *, use_yes_price: bool, lists_tickers: bool) -> Subscription:
        self._last_sid += 1
        subscription = Subscription(
            self, self._last_sid, channel, tickers, use_yes_price=use_yes_price, lists_tickers=lists_tickers
        )
        self.subscriptions[subscription.sid] = subscription
        self.hub.index(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        del self.subscriptions[subscription.sid]
        self.hub.forget(subscription)

    def kill(self, subscription: Subscription) -> None:
        """End a subscription whose reader is too slow (error 25, terminal)."""
        subscription.is_dead = True
        self.remove(subscription)
        body = {"code": 25, "msg": "Subscription buffer overflow"}
        self.reply({"type": "error", "sid": subscription.sid, "seq": subscription.next_seq(), "msg": body})

    def queue(self, subscription: Subscription | None, head: bytes, tail: bytes) -> None:
        if subscription is not None:
            subscription.waiting += 1
        self.outbox.append((subscription, b'%b,"sending_ts_ms":%d%b' % (head, self.hub.sending_ms(), tail)))
        self.hub.wake(self)

    def reply(self, message: dict[str, Any]) -> None:
        """Queue an answer to a command."""
        self.queue(None, encode(message)[:-1], b"}")

    def take(self) -> Iterable[bytes]:
        """Yield waiting frames, oldest first, and forget them."""
        while self.outbox:
            subscription, frame = self.outbox.popleft()
            if subscription is not None:
                subscription.waiting -= 1
                if subscription.is_dead:
                    continue
            yield frame


class Hub:
    """All sessions, and who wants what."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.sessions: set[Session] = set()
        self.awake: set[Session] = set()
        self._by_market: dict[tuple[str, str], dict[Subscription, None]] = {}
        self._to_all: dict[str, dict[Subscription, None]] = {}
        self._wall_ms = 0

    def sending_ms(self) -> int:
        return self._wall_ms

    def wake(self, session: Session) -> None:
        self.awake.add(session)

    def open(self, account: str) -> Session:
        session = Session(self, account)
        self.sessions.add(session)
        return session

    def close(self, session: Session) -> None:
        for subscription in list(session.subscriptions.values()):
            session.remove(subscription)
        self.sessions.discard(session)
        self.awake.discard(session)

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

    def _wanting(self, channel: str, ticker: str) -> list[Subscription]:
        return [*self._by_market.get((channel, ticker), ()), *self._to_all.get(channel, ())]

    # --- what happened, as frames -----------------------------------------------------------------------------------

    def publish(self, happenings: list[Happening], *, wall_ms: int) -> None:
        """Queue what happened for everybody who wants it."""
        self._wall_ms = wall_ms
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
        body = encode(message)
        for subscription in subscriptions:
            subscription.send(kind, body)

    def _private(self, happening: Private) -> None:
        body: bytes | None = None
        for subscription in self._wanting(happening.channel, happening.ticker):
            if subscription.session.account != happening.account:
                continue
            body = body or encode(happening.body)
            subscription.send(PRIVATE_TYPES[happening.channel], body)

    def _book_changed(self, change: BookChanged) -> None:
        bodies: dict[tuple[bool, bool], bytes] = {}
        for subscription in self._wanting("orderbook_delta", change.ticker):
            form = (subscription.use_yes_price, bool(change.owner) and subscription.session.account == change.owner)
            if form not in bodies:
                bodies[form] = encode(delta_message(change, use_yes_price=form[0], is_own=form[1]))
            subscription.send("orderbook_delta", bodies[form])

    def _book_cleared(self, happening: BookCleared) -> None:
        for subscription in self._wanting("orderbook_delta", happening.ticker):
            self.send_snapshot(subscription, happening.ticker)

    def send_snapshot(self, subscription: Subscription, ticker: str, *, command_id: int = 0) -> None:
        market = self._world.markets.get(ticker)
        body = snapshot_message(ticker, market, use_yes_price=subscription.use_yes_price)
        subscription.send("orderbook_snapshot", encode(body), command_id=command_id)


def delta_message(change: BookChanged, *, use_yes_price: bool, is_own: bool) -> dict[str, Any]:
    price = DOLLAR_CC - change.price_cc if use_yes_price and change.side is Side.NO else change.price_cc
    message: dict[str, Any] = {
        "market_ticker": change.ticker,
        "market_id": change.market_id,
        "price_dollars": format_price(price),
        "delta_fp": format_count(change.delta_cx),
        "side": wire.SIDE_WORDS[change.side],
        "ts": wire.rfc3339(change.at_us),
        "ts_ms": wire.ms(change.at_us),
    }
    if is_own and change.client_order_id:
        message["client_order_id"] = change.client_order_id
    if is_own and change.subaccount is not None:
        message["subaccount"] = change.subaccount
    return message


def snapshot_message(ticker: str, market: Market | None, *, use_yes_price: bool) -> dict[str, Any]:
    """Return a snapshot body; a side without levels has no key, an unknown market no id either [recorded]."""
    message: dict[str, Any] = {"market_ticker": ticker, "market_id": market.terms.market_id if market else ""}
    if market is None:
        return message
    yes, no = market.levels(Side.YES), market.levels(Side.NO)
    if use_yes_price:
        no = {DOLLAR_CC - price: size for price, size in no.items()}
    if yes:
        message["yes_dollars_fp"] = wire.ladder(yes)
    if no:
        message["no_dollars_fp"] = wire.ladder(no)
    return message
