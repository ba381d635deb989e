"""WebSocket commands: subscribe, unsubscribe, update_subscription, list_subscriptions.

What the facts leave open is decided by the recordings, or is a switch: a second subscribe to a channel joins the
first one's sid and is answered `ok` with the whole list, then the snapshots of what is new (or gets a sid of its
own); each channel of a command is answered for itself, unknown ones with error 8; a market nobody knows gets a
snapshot without ladders.
"""

from __future__ import annotations

from typing import Any

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.script import Refuse
from feed.exchange.stream import parameters
from feed.exchange.stream.bodies import encode
from feed.exchange.stream.channels import CHANNELS, INDEX_CHANNELS, SILENT, UNFILTERED
from feed.exchange.stream.hub import Hub
from feed.exchange.stream.parameters import CommandFailed
from feed.exchange.stream.subscriptions import Session, Subscription
from feed.exchange.wire import public as wire
from feed.exchange.world import World

MARKET_ACTIONS = frozenset({"add_markets", "delete_markets", "get_snapshot"})
# Actions of the index channels: the parameter each needs, and the error for one that names nothing.
INDEX_ACTIONS = {
    "subscribe_indices": ("index_ids", 24),
    "unsubscribe_indices": ("index_ids", 24),
    "subscribe_underlyings": ("underlying_tickers", 28),
    "unsubscribe_underlyings": ("underlying_tickers", 28),
}
# Actions that ask what an index channel has, and the type of the answer; here it has nothing.
LISTING_ACTIONS = {
    "indexlist": ("index_ids", "cfbenchmarks_value_indexlist"),
    "underlying_list": ("underlying_tickers", "pyth_value_underlying_list"),
}


class Commander:
    """Carries out the commands of any session."""

    def __init__(self, world: World, hub: Hub, faults: FaultPlan) -> None:
        self._world = world
        self._hub = hub
        self._faults = faults

    def handle(self, session: Session, text: str) -> None:
        """Carry out one frame from a client; every answer goes to the session's outbox."""
        command_id = 0
        try:
            command = parameters.decode(text)
            command_id = parameters.command_id(command)
            self._count(session)
            if not self._is_spoilt(session, command, command_id):
                self._dispatch(session, command, command_id)
        except CommandFailed as failed:
            _reply_error(session, command_id, failed)

    def _is_spoilt(self, session: Session, command: dict[str, Any], command_id: int) -> bool:
        """Whether a fault takes the command's place."""
        now_us, cmd = self._world.now_us, str(command.get("cmd"))
        fault = self._faults.of_command(cmd=cmd, account=session.account, now_us=now_us)
        if fault is None:
            return False
        self._faults.note(fault, at_us=now_us, account=session.account, what=encode(command).decode()[:200])
        if isinstance(fault, Refuse):
            _reply_error(session, command_id, CommandFailed(fault.code, tickers=fault.market_tickers))
            return not (fault.rest and _leave_out(command, fault.market_tickers))
        return True

    def _count(self, session: Session) -> None:
        """Take one command off what the connection may send: a bucket of one second."""
        most, now_us = self._world.switches.commands_per_s, self._world.now_us
        refill = most * (now_us - session.commanded_us) / 1_000_000
        session.commands_left = min(most, session.commands_left + refill)
        session.commanded_us = now_us
        if session.commands_left < 1:
            raise CommandFailed(27)
        session.commands_left -= 1

    def _dispatch(self, session: Session, command: dict[str, Any], command_id: int) -> None:
        match command.get("cmd"):
            case "subscribe":
                self._subscribe(session, parameters.params_of(command), command_id)
            case "unsubscribe":
                self._unsubscribe(session, parameters.params_of(command), command_id)
            case "update_subscription":
                self._update(session, parameters.params_of(command), command_id)
            case "list_subscriptions":
                listed = [{"channel": s.channel, "sid": s.sid} for s in session.subscriptions.values()]
                session.reply(_with_id({"type": "ok", "msg": listed}, command_id))
            case _:
                raise CommandFailed(5)

    # --- subscribe ------------------------------------------------------------------------------------------------

    def _subscribe(self, session: Session, params: dict[str, Any], command_id: int) -> None:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise CommandFailed(3)
        parameters.tickers_of(params)  # a malformed list fails the command as a whole
        added: list[tuple[Subscription, set[str] | None]] = []
        for channel in channels:
            try:
                added.append(self._subscribe_channel(session, channel, params, command_id))
            except CommandFailed as failed:
                _reply_error(session, command_id, failed)
        for subscription, new in added:
            self._send_initial(subscription, new, with_ticker=params.get("send_initial_snapshot") is True)

    def _subscribe_channel(
        self, session: Session, channel: Any, params: dict[str, Any], command_id: int
    ) -> tuple[Subscription, set[str] | None]:
        if not isinstance(channel, str) or channel not in CHANNELS:
            raise CommandFailed(8)
        wanted = self._wanted(channel, params)
        use_yes_price = parameters.boolean(params, "use_yes_price")
        lists_tickers = not parameters.boolean(params, "skip_ticker_ack")
        if self._world.switches.second_subscribe == "join":
            # One sid has one price convention; asked for in the other, the channel gets a sid of its own.
            alike = (s for s in session.subscriptions.values() if s.has_form(channel, use_yes_price=use_yes_price))
            existing = next(alike, None)
            if existing is not None:
                return existing, self._join(existing, wanted, command_id)
        self._check_limit(wanted or set(), None)
        copy = None if wanted is None else set(wanted)
        subscription = session.add(channel, copy, use_yes_price=use_yes_price, lists_tickers=lists_tickers)
        body = {"channel": channel, "sid": subscription.sid}
        session.reply(_with_id({"type": "subscribed", "msg": body}, command_id))
        return subscription, wanted

    def _wanted(self, channel: str, params: dict[str, Any]) -> set[str] | None:
        """Return the markets a subscription to `channel` is for; None is all of them."""
        tickers = parameters.tickers_of(params)
        ids = parameters.market_ids_of(params)
        if channel == "communications":
            parameters.check_shards(params)
        if channel in UNFILTERED | SILENT:
            return None
        if ids is not None and (channel != "ticker" or tickers is not None):
            raise CommandFailed(14 if channel == "orderbook_delta" else 11)
        if ids is not None:
            return {ticker for ticker, market in self._world.markets.items() if market.terms.market_id in ids}
        if channel == "orderbook_delta" and not tickers:
            raise CommandFailed(14)
        return tickers

    def _check_limit(self, tickers: set[str], subscription: Subscription | None) -> None:
        most = self._world.switches.markets_per_subscription
        if most is not None and len(tickers) > most:
            raise CommandFailed(26, subscription=subscription)

    def _join(self, subscription: Subscription, tickers: set[str] | None, command_id: int) -> set[str]:
        new: set[str] = set()
        if subscription.tickers is not None and tickers is not None:
            new = self._add(subscription, tickers)
        elif subscription.tickers is not None:
            self._hub.forget(subscription)
            subscription.tickers = None  # asked for without a filter: from now on all markets
            self._hub.index(subscription)
        self._ok(subscription, command_id)
        return new

    def _send_initial(self, subscription: Subscription, tickers: set[str] | None, *, with_ticker: bool) -> None:
        if subscription.channel == "orderbook_delta":
            for ticker in sorted(tickers or ()):
                self._hub.send_snapshot(subscription, ticker)
        if subscription.channel == "ticker" and with_ticker:
            for ticker in sorted(tickers or ()):
                market = self._world.markets.get(ticker)
                if market is not None:
                    message = {**wire.ticker_line(market), **wire.ticker_times(self._world.now_us)}
                    subscription.send("ticker", self._hub.tail(encode(message)))

    # --- unsubscribe, update --------------------------------------------------------------------------------------

    def _unsubscribe(self, session: Session, params: dict[str, Any], command_id: int) -> None:
        sids = params.get("sids")
        if not isinstance(sids, list) or not sids:
            raise CommandFailed(4)
        for sid in sids:
            subscription = session.subscriptions.get(sid) if parameters.is_whole(sid) else None
            if subscription is None:
                _reply_error(session, command_id, CommandFailed(7))
                continue
            session.remove(subscription)
            message = {"type": "unsubscribed", "sid": subscription.sid, "seq": subscription.next_seq()}
            session.reply(_with_id(message, command_id))

    def _update(self, session: Session, params: dict[str, Any], command_id: int) -> None:
        subscription = parameters.one_subscription(session, params)
        try:
            self._update_one(subscription, params, command_id)
        except CommandFailed as failed:
            raise CommandFailed(failed.code, subscription=subscription) from failed

    def _update_one(self, subscription: Subscription, params: dict[str, Any], command_id: int) -> None:
        action = params.get("action")
        if not action:
            raise CommandFailed(15)
        if not isinstance(action, str):
            raise CommandFailed(13)
        named = INDEX_CHANNELS.get(subscription.channel)
        if action in INDEX_ACTIONS and INDEX_ACTIONS[action][0] == named:
            if not params.get(named):
                raise CommandFailed(INDEX_ACTIONS[action][1])
            self._ok(subscription, command_id)
            return
        if action in LISTING_ACTIONS and LISTING_ACTIONS[action][0] == named:
            tail = self._hub.tail(encode({named: []}))
            subscription.answer(LISTING_ACTIONS[action][1], tail, command_id=command_id)
            return
        if action not in MARKET_ACTIONS:
            raise CommandFailed(13)
        if action == "get_snapshot":
            self._get_snapshot(subscription, params, command_id)
            return
        tickers = self._wanted(subscription.channel, params)
        if not tickers:
            raise CommandFailed(14)
        if subscription.tickers is None:
            raise CommandFailed(11)
        if action == "add_markets":
            new = self._add(subscription, tickers)
            self._ok(subscription, command_id)
            self._send_initial(subscription, new, with_ticker=params.get("send_initial_snapshot") is True)
        else:
            self._hub.drop_tickers(subscription, tickers)
            subscription.tickers -= tickers
            self._ok(subscription, command_id)

    def _get_snapshot(self, subscription: Subscription, params: dict[str, Any], command_id: int) -> None:
        tickers = parameters.tickers_of(params)
        if not tickers or "market_tickers" not in params:
            raise CommandFailed(14)
        if subscription.channel != "orderbook_delta":
            raise CommandFailed(13)
        if not tickers <= (subscription.tickers or set()):
            raise CommandFailed(11)
        for ticker in sorted(tickers):
            self._hub.answer_snapshot(subscription, ticker, command_id=command_id)

    def _add(self, subscription: Subscription, tickers: set[str]) -> set[str]:
        assert subscription.tickers is not None, "checked by the callers"
        self._check_limit(subscription.tickers | tickers, subscription)
        new = tickers - subscription.tickers
        subscription.tickers |= new
        self._hub.add_tickers(subscription, new)
        return new

    def _ok(self, subscription: Subscription, command_id: int) -> None:
        message: dict[str, Any] = {"type": "ok", "sid": subscription.sid, "seq": subscription.next_seq()}
        if subscription.lists_tickers:
            message["msg"] = {"market_tickers": sorted(subscription.tickers or ())}
        subscription.session.reply(_with_id(message, command_id))


def _leave_out(command: dict[str, Any], tickers: list[str]) -> bool:
    """Take markets out of a command; return whether it names others."""
    params = command.get("params")
    named = params.get("market_tickers") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(named, list):
        return False
    params["market_tickers"] = [ticker for ticker in named if ticker not in tickers]
    return bool(params["market_tickers"])


def _with_id(message: dict[str, Any], command_id: int) -> dict[str, Any]:
    return {"id": command_id, **message} if command_id else message


def _reply_error(session: Session, command_id: int, failed: CommandFailed) -> None:
    body = {"code": failed.code, "msg": str(failed)} | ({"market_tickers": failed.tickers} if failed.tickers else {})
    message: dict[str, Any] = {"type": "error", "msg": body}
    if failed.subscription is not None:
        message = {**message, "sid": failed.subscription.sid, "seq": failed.subscription.next_seq()}
    session.reply(_with_id(message, command_id))
