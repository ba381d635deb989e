"""Which refusal an error body means, whichever of the venue's shapes it has.

    {"error": {"code", "message", "details"?}}    engine, authentication
    {"code", "message", "details"?}               JSON decoding; items of a batch
    {"msg"}                                       validation of parameters
    {"error": "too many requests"}                rate limit

The code decides before the status: some codes have come under several. Source: facts.md section 8.1.
"""

from __future__ import annotations

from typing import Any

import msgspec

from feed.kalshi.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrderRejected,
    Paused,
    RateLimited,
    RequestRefused,
    Retired,
    Unauthorized,
)
from feed.kalshi.wire.bodies import decode

TEXT_SHOWN = 200  # characters of a body that is no JSON

BY_CODE: dict[str, type[RequestRefused]] = {
    "order_already_exists": AlreadyExists,
    "trading_is_paused": Paused,
    "exchange_is_paused": Paused,
    "not_found": NotFound,
    "deprecated_v1_order_endpoint": Retired,
    "invalid_price": OrderRejected,
    "invalid_order": OrderRejected,
    "invalid_order_size": OrderRejected,
    "insufficient_balance": OrderRejected,
    "available_balance_too_low": OrderRejected,
    "order_side_mismatch": OrderRejected,
    "order_ticker_mismatch": OrderRejected,
    "order_id_and_client_order_id_mismatch": OrderRejected,
    "fill_or_kill_insufficient_resting_volume": OrderRejected,
    "immediate_or_cancel_insufficient_resting_volume": OrderRejected,
}
BY_STATUS: dict[int, type[RequestRefused]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Retired,
    429: RateLimited,
}
FAILURES = ("internal", "unavailable", "timeout", "timed_out")  # in a code: it failed, which is no refusal


def refusal(status: int | None, body: bytes) -> RequestRefused:
    """Return the typed refusal of an answer."""
    try:
        error = decode(body)
    except (ValueError, msgspec.DecodeError):
        return refusal_of(status, body[:TEXT_SHOWN].decode(errors="replace"))
    return refusal_of(status, error)


def refusal_of(status: int | None, error: Any) -> RequestRefused:
    """Return the typed refusal of a decoded error: a whole body, or the `error` of one item of a batch."""
    code, message = _code_and_message(error)
    by_status = RequestRefused if status is None else BY_STATUS.get(status, RequestRefused)
    return BY_CODE.get(code, by_status)(status, code, message)


def is_failure(code: str) -> bool:
    """Return whether an item's error code says that the venue broke, not that it declined."""
    return any(word in code.lower() for word in FAILURES)


def _code_and_message(error: Any) -> tuple[str, str]:
    if isinstance(error, dict) and error.get("error"):
        return _code_and_message(error["error"])
    if not isinstance(error, dict):
        return "", str(error)[:TEXT_SHOWN]
    code, message, details = (str(error.get(key) or "") for key in ("code", "message", "details"))
    text = message or str(error.get("msg") or "")
    if details and details != text:
        text = f"{text}: {details}" if text else details
    return code, text[:TEXT_SHOWN]
