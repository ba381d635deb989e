"""Hold every WebSocket frame of the exchange, and every command to it, against the venue's AsyncAPI document.

The document is the vendor's of 2026-08-22 with later pages patched in (`shared/kalshi/SOURCES.md`). What it does not
name is not allowed, so that a misspelt field cannot pass as one field more.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml
from venuespec import close

DOCUMENT = Path(__file__).resolve().parents[3] / "shared" / "kalshi" / "asyncapi.yaml"

FRAMES = {
    "subscribed": "subscribedResponsePayload",
    "unsubscribed": "unsubscribedResponsePayload",
    "error": "errorResponsePayload",
    "orderbook_snapshot": "orderbookSnapshotPayload",
    "orderbook_delta": "orderbookDeltaPayload",
    "ticker": "tickerPayload",
    "trade": "tradePayload",
    "fill": "fillPayload",
    "user_order": "userOrderPayload",
    "market_position": "marketPositionPayload",
    "order_group_updates": "orderGroupUpdatesPayload",
    "market_lifecycle_v2": "marketLifecycleV2Payload",
    "event_lifecycle": "eventLifecyclePayload",
    "event_fee_update": "eventFeeUpdatePayload",
}
COMMANDS = {
    "subscribe": "subscribeCommandPayload",
    "unsubscribe": "unsubscribeCommandPayload",
    "update_subscription": "updateSubscriptionCommandPayload",
    "list_subscriptions": "listSubscriptionsCommandPayload",
}
# Real tickers hold what the document's pattern forbids (a strike of T114999.99): facts.md 5.1.
TICKER_PATTERN = "^[A-Z0-9.-]+$"


class FrameDocument:
    """The document, ready to judge frames."""

    def __init__(self, path: Path) -> None:
        document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        schemas = document["components"]["schemas"]
        schemas["marketTicker"]["pattern"] = TICKER_PATTERN
        close(schemas)
        self._schemas = schemas
        self._validators: dict[str, jsonschema_rs.Validator] = {}

    def check_frame(self, frame: dict[str, Any]) -> None:
        """Fail unless the document knows the frame, to the field."""
        kind = frame.get("type")
        if kind == "ok":
            name = "listSubscriptionsResponsePayload" if isinstance(frame.get("msg"), list) else "okResponsePayload"
        else:
            assert kind in FRAMES, f"no such frame in the document: {frame}"
            name = FRAMES[kind]
        self._check(name, frame)

    def check_command(self, command: dict[str, Any]) -> None:
        """Fail unless the document knows the command."""
        assert command.get("cmd") in COMMANDS, f"no such command in the document: {command}"
        self._check(COMMANDS[command["cmd"]], command)

    def _check(self, name: str, value: dict[str, Any]) -> None:
        found = self._validators.get(name)
        if found is None:
            root = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": self._schemas}}
            found = self._validators[name] = jsonschema_rs.Draft7Validator(root)
        problems = [f"{'.'.join(map(str, p.instance_path))}: {p.message}" for p in found.iter_errors(value)]
        if problems:
            told = "\n".join(problems)
            pytest.fail(f"{name} forbids {msgspec.json.encode(value).decode()}:\n{told}", pytrace=False)


@functools.cache
def frame_document() -> FrameDocument | None:
    """Return the document, or None where it is not beside the checkout; CI must have it."""
    if DOCUMENT.exists():
        return FrameDocument(DOCUMENT)
    assert not os.environ.get("CI"), f"the AsyncAPI document is missing: {DOCUMENT}"
    return None
