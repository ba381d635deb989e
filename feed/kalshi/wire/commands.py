"""Commands of the venue's WebSocket. `action` sits inside params; `use_yes_price` is always said.

Source: asyncapi.yaml 3.34; facts.md section 12.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def subscribe(
    command_id: int, channel: str, tickers: Sequence[str], *, use_yes_price: bool, skip_ticker_ack: bool = False
) -> bytes:
    """Subscribe one channel; no tickers means all markets, where the channel allows that.

    Args:
        skip_ticker_ack: Let `ok` replies leave out the list of markets, which grows with each.
    """
    params: dict[str, Any] = {"channels": [channel], "use_yes_price": use_yes_price}
    if tickers:
        params["market_tickers"] = list(tickers)
    if skip_ticker_ack:
        params["skip_ticker_ack"] = True
    return _encode({"id": command_id, "cmd": "subscribe", "params": params})


def update(command_id: int, sid: int, action: str, tickers: Sequence[str]) -> bytes:
    """Change one subscription: `add_markets`, `delete_markets` or `get_snapshot`."""
    params = {"sids": [sid], "action": action, "market_tickers": list(tickers)}
    return _encode({"id": command_id, "cmd": "update_subscription", "params": params})


def unsubscribe(command_id: int, sids: Sequence[int]) -> bytes:
    """End subscriptions; each is answered for itself."""
    return _encode({"id": command_id, "cmd": "unsubscribe", "params": {"sids": list(sids)}})


def list_subscriptions(command_id: int) -> bytes:
    """Ask which subscriptions the venue holds for this connection."""
    return _encode({"id": command_id, "cmd": "list_subscriptions"})
