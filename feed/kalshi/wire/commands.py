"""Commands of the venue's WebSocket. `action` sits inside params; `use_yes_price` is always said.

Source: asyncapi.yaml 3.34; facts.md section 12.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def subscribe(command_id: int, channel: str, tickers: Sequence[str], *, use_yes_price: bool) -> bytes:
    """Subscribe one channel; no tickers means all markets, where the channel allows that."""
    params: dict[str, Any] = {"channels": [channel], "use_yes_price": use_yes_price}
    if tickers:
        params["market_tickers"] = list(tickers)
    return _encode({"id": command_id, "cmd": "subscribe", "params": params})


def update(command_id: int, sid: int, action: str, tickers: Sequence[str]) -> bytes:
    """Change one subscription: `add_markets`, `delete_markets` or `get_snapshot`."""
    params = {"sids": [sid], "action": action, "market_tickers": list(tickers)}
    return _encode({"id": command_id, "cmd": "update_subscription", "params": params})
