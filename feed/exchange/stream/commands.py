"""WebSocket commands: subscribe, unsubscribe, update_subscription, list_subscriptions.

What the facts leave open is decided by the recordings: a second subscribe to a channel joins the first one's sid and
is answered `ok` with the whole list, then the snapshots of what is new; each channel of a command is answered for
itself, unknown ones with error 8; a market nobody knows gets a snapshot without ladders.
"""

from __future__ import annotations

from typing import Any

import msgspec

from feed.exchange.stream import subscriptions
from feed.exchange.stream.subscriptions import CHANNELS, SILENT_CHANNELS, UNFILTERED, Hub, Session, Subscription
from feed.exchange.wire import public as wire
from feed.exchange.world import World

ERRORS = {
    1: "Unable to process message",
    2: "Params required",
    3: "Channels required",
    4: "Subscription IDs required",
    5: "Unknown command",
    7: "Unknown subscription ID",
    8: "Unknown channel name",
    11: "Invalid parameter",
    12: "Exactly one subscription ID is required",
    13: "Unsupported action",
    14: "Market Ticker required",
    15: "Action required",
}


class CommandFailed(Exception):
    """A command the venue answers with an error; `subscription` once one was found."""

    def __init__(self, code: int, *, subscription: Subscription | None = None) -> None:
        self.code = code
        self.subscription = subscription
        super().__init__(ERRORS[code])


class Commander:
    """Carries out the commands of any session."""

    def __init__(self, world: World, hub: Hub) -> None:
        self._world = world
        self._hub = hub

    def handle(self, session: Session, text: str) -> None:
        """Carry out one frame from a client; every answer goes to the session's outbox."""
        command_id = 0
        try:
            command = _decode(text)
            command_id = _command_id(command)
            self._dispatch(session, command, command_id)
        except CommandFailed as failed:
            _reply_error(session, command_id, failed)

    def _dispatch(self, session: Session, command: dict[str, Any], command_id: int) -> None:
        match command.get("cmd"):
            case "subscribe":
                self._subscribe(session, _params(command), command_id)
            case "unsubscribe":
                self._unsubscribe(session, _params(command), command_id)
            case "update_subscription":
                self._update(session, _params(command), command_id)
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
        tickers = _tickers(params)
        added: list[tuple[Subscription, set[str] | None]] = []
        for channel in channels:
            try:
                added.append(self._subscribe_channel(session, channel, tickers, params, command_id))
            except CommandFailed as failed:
                _reply_error(session, command_id, failed)
        for subscription, new in added:
            self._send_initial(subscription, new, with_ticker=params.get("send_initial_snapshot") is True)

    def _subscribe_channel(
        self, session: Session, channel: Any, tickers: set[str] | None, params: dict[str, Any], command_id: int
    ) -> tuple[Subscription, set[str] | None]:
        if channel not in CHANNELS | SILENT_CHANNELS:
            raise CommandFailed(8)
        if channel == "orderbook_delta" and not tickers:
            raise CommandFailed(14)
        wanted = None if channel in UNFILTERED | SILENT_CHANNELS else tickers
        existing = next((s for s in session.subscriptions.values() if s.channel == channel), None)
        if existing is not None:
            return existing, self._join(existing, wanted, command_id)
        use_yes_price = _boolean(params, "use_yes_price")
        lists_tickers = not _boolean(params, "skip_ticker_ack")
        copy = None if wanted is None else set(wanted)
        subscription = session.add(channel, copy, use_yes_price=use_yes_price, lists_tickers=lists_tickers)
        session.reply(
            _with_id({"type": "subscribed", "msg": {"channel": channel, "sid": subscription.sid}}, command_id)
        )
        return subscription, wanted

    def _join(self, subscription: Subscription, tickers: set[str] | None, command_id: int) -> set[str]:
        new: set[str] = set()
        if subscription.tickers is not None and tickers is not None:
            new = self._add(subscription, tickers)
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
                    subscription.send("ticker", subscriptions.encode(message))

    # --- unsubscribe, update --------------------------------------------------------------------------------------

    def _unsubscribe(self, session: Session, params: dict[str, Any], command_id: int) -> None:
        sids = params.get("sids")
        if not isinstance(sids, list) or not sids:
            raise CommandFailed(4)
        for sid in sids:
            subscription = session.subscriptions.get(sid) if isinstance(sid, int) else None
            if subscription is None:
                _reply_error(session, command_id, CommandFailed(7))
                continue
            session.remove(subscription)
            message = {"type": "unsubscribed", "sid": subscription.sid, "seq": subscription.next_seq()}
            session.reply(_with_id(message, command_id))

    def _update(self, session: Session, params: dict[str, Any], command_id: int) -> None:
        subscription = _one_subscription(session, params)
        action = params.get("action")
        if not action:
            raise CommandFailed(15, subscription=subscription)
        if action not in ("add_markets", "delete_markets", "get_snapshot"):
            raise CommandFailed(13, subscription=subscription)
        try:
            tickers = _tickers(params)
        except CommandFailed as failed:
            raise CommandFailed(failed.code, subscription=subscription) from failed
        if not tickers or (action == "get_snapshot" and "market_tickers" not in params):
            raise CommandFailed(14, subscription=subscription)
        if action == "get_snapshot":
            self._get_snapshot(subscription, tickers, command_id)
        elif subscription.tickers is None:
            raise CommandFailed(11, subscription=subscription)
        elif action == "add_markets":
            new = self._add(subscription, tickers)
            self._ok(subscription, command_id)
            self._send_initial(subscription, new, with_ticker=params.get("send_initial_snapshot") is True)
        else:
            self._hub.drop_tickers(subscription, tickers)
            subscription.tickers -= tickers
            self._ok(subscription, command_id)

    def _get_snapshot(self, subscription: Subscription, tickers: set[str], command_id: int) -> None:
        if subscription.channel != "orderbook_delta":
            raise CommandFailed(13, subscription=subscription)
        if not tickers <= (subscription.tickers or set()):
            raise CommandFailed(11, subscription=subscription)
        for ticker in sorted(tickers):
            self._hub.send_snapshot(subscription, ticker, command_id=command_id)

    def _add(self, subscription: Subscription, tickers: set[str]) -> set[str]:
        assert subscription.tickers is not None, "checked by the callers"
        new = tickers - subscription.tickers
        subscription.tickers |= new
        self._hub.add_tickers(subscription, new)
        return new

    def _ok(self, subscription: Subscription, command_id: int) -> None:
        message: dict[str, Any] = {"type": "ok", "sid": subscription.sid, "seq": subscription.next_seq()}
        if subscription.lists_tickers:
            message["msg"] = {"market_tickers": sorted(subscription.tickers or ())}
        subscription.session.reply(_with_id(message, command_id))


def _decode(text: str) -> dict[str, Any]:
    try:
        command = msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise CommandFailed(1) from exc
    if not isinstance(command, dict):
        raise CommandFailed(1)
    return command


def _command_id(command: dict[str, Any]) -> int:
    command_id = command.get("id", 0)
    if not isinstance(command_id, int) or isinstance(command_id, bool) or command_id < 0:
        raise CommandFailed(1)
    return command_id


def _params(command: dict[str, Any]) -> dict[str, Any]:
    params = command.get("params")
    if not isinstance(params, dict):
        raise CommandFailed(2)
    return params


def _tickers(params: dict[str, Any]) -> set[str] | None:
    one, many = params.get("market_ticker"), params.get("market_tickers")
    if one is not None and many is not None:
        raise CommandFailed(11)
    if one is not None:
        many = [one]
    if many is None:
        return None
    if not isinstance(many, list) or not all(isinstance(ticker, str) and ticker for ticker in many):
        raise CommandFailed(11)
    return set(many) or None


def _boolean(params: dict[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise CommandFailed(11)
    return value


def _one_subscription(session: Session, params: dict[str, Any]) -> Subscription:
    sids = params["sids"] if "sids" in params else [params["sid"]] if "sid" in params else []
    if not isinstance(sids, list) or len(sids) != 1 or ("sid" in params and "sids" in params):
        raise CommandFailed(12)
    subscription = session.subscriptions.get(sids[0]) if isinstance(sids[0], int) else None
    if subscription is None:
        raise CommandFailed(7)
    return subscription


def _with_id(message: dict[str, Any], command_id: int) -> dict[str, Any]:
    return {"id": command_id, **message} if command_id else message


def _reply_error(session: Session, command_id: int, failed: CommandFailed) -> None:
    message: dict[str, Any] = {"type": "error", "msg": {"code": failed.code, "msg": ERRORS[failed.code]}}
    if failed.subscription is not None:
        message = {**message, "sid": failed.subscription.sid, "seq": failed.subscription.next_seq()}
    session.reply(_with_id(message, command_id))
