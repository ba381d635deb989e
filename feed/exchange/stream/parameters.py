"""Reading a command: what it says, or which error it earns. Source: facts.md 12.2 and 12.4, asyncapi.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from feed.exchange.stream.subscriptions import Session, Subscription

ERRORS = {
    1: "Unable to process message",
    2: "Params required",
    3: "Channels required",
    4: "Subscription IDs required",
    5: "Unknown command",
    7: "Unknown subscription ID",
    8: "Unknown channel name",
    9: "Authentication required",
    10: "Channel error",
    11: "Invalid parameter",
    12: "Exactly one subscription ID is required",
    13: "Unsupported action",
    14: "Market Ticker required",
    15: "Action required",
    18: "Command timeout",
    19: "shard_factor must be > 0",
    20: "shard_factor is required when shard_key is set",
    21: "shard_key must be >= 0 and < shard_factor",
    22: "shard_factor must be <= 100",
    24: "Index IDs required",
    25: "Subscription buffer overflow",
    26: "Subscription market limit exceeded",
    27: "Too many requests",
    28: "Underlying tickers required",
}
SHARD_FACTOR_MAX = 100


def error_text(code: int) -> str:
    """Return the venue's text of an error; one that only a fault script knows gets a text too."""
    return ERRORS.get(code, f"Error {code}")


class CommandFailed(Exception):
    """A command the venue answers with an error.

    Args:
        subscription: The one it meant, once found.
        tickers: Markets at fault, where that is not all of them.
    """

    def __init__(self, code: int, *, subscription: Subscription | None = None, tickers: Sequence[str] = ()) -> None:
        self.code = code
        self.subscription = subscription
        self.tickers = list(tickers)
        super().__init__(error_text(code))


def decode(text: str) -> dict[str, Any]:
    try:
        command = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise CommandFailed(1) from exc
    if not isinstance(command, dict):
        raise CommandFailed(1)
    return command


def command_id(command: dict[str, Any]) -> int:
    """Return the client's number of a command, 0 where it gave none."""
    value = command.get("id", 0)
    if not is_whole(value) or value < 0:
        raise CommandFailed(1)
    return int(value)


def params_of(command: dict[str, Any]) -> dict[str, Any]:
    params = command.get("params")
    if not isinstance(params, dict):
        raise CommandFailed(2)
    return params


def tickers_of(params: dict[str, Any]) -> set[str] | None:
    """Return the markets named by ticker, or None where none are."""
    return _names(params, "market_ticker", "market_tickers")


def market_ids_of(params: dict[str, Any]) -> set[str] | None:
    """Return the markets named by id (ticker channel only), or None where none are."""
    return _names(params, "market_id", "market_ids")


def _names(params: dict[str, Any], singular: str, plural: str) -> set[str] | None:
    one, many = params.get(singular), params.get(plural)
    if one is not None and many is not None:
        raise CommandFailed(11)
    if one is not None:
        many = [one]
    if many is None:
        return None
    if not isinstance(many, list) or not all(isinstance(name, str) and name for name in many):
        raise CommandFailed(11)
    return set(many) or None


def boolean(params: dict[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise CommandFailed(11)
    return value


def one_subscription(session: Session, params: dict[str, Any]) -> Subscription:
    """Return the subscription of `sid`, or of `sids` with one element."""
    sids = params["sids"] if "sids" in params else [params["sid"]] if "sid" in params else []
    if not isinstance(sids, list) or len(sids) != 1 or ("sid" in params and "sids" in params):
        raise CommandFailed(12)
    subscription = session.subscriptions.get(sids[0]) if is_whole(sids[0]) else None
    if subscription is None:
        raise CommandFailed(7)
    return subscription


def check_shards(params: dict[str, Any]) -> None:
    """Check how a communications subscription is split over readers."""
    factor, key = params.get("shard_factor"), params.get("shard_key")
    if any(value is not None and not is_whole(value) for value in (factor, key)):
        raise CommandFailed(11)
    if factor is not None and factor <= 0:
        raise CommandFailed(19)
    if factor is not None and factor > SHARD_FACTOR_MAX:
        raise CommandFailed(22)
    if key is not None and factor is None:
        raise CommandFailed(20)
    if key is not None and not 0 <= key < factor:
        raise CommandFailed(21)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
