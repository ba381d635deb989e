"""Understand an order request's body the way the venue's decoder does: strict types, then required fields.

JSON numbers for `count` and `price` are refused with the decoder's flat error [recorded]; missing or unknown words
with the validator's bare one. Sources: facts.md sections 4, 7.4 and 8.
"""

from __future__ import annotations

from typing import Any

import msgspec

from feed.exchange.trading.orders import FOK, GTC, IOC, STP_MAKER, STP_TAKER, NewOrder
from feed.exchange.wire.answers import BadBody, BadParameter
from markets.core.units import Side, parse_count, parse_price

OPERATION = "CreateOrderV2"
STRUCT = "CreateOrderV2Request"
CLIENT_ID_MAX = 64
TEXTS = (
    "ticker", "side", "count", "price", "time_in_force", "self_trade_prevention_type",
    "client_order_id", "order_group_id",
)  # fmt: skip
FLAGS = ("post_only", "reduce_only", "cancel_order_on_pause")
WHOLE = ("expiration_time", "subaccount", "exchange_index")
REQUIRED = TEXTS[:6]
JSON_WORDS = {int: "number", float: "number", str: "string", bool: "bool", list: "array", dict: "object"}


def read_create(raw: bytes, content_type: str) -> NewOrder:
    """Return the create request in a body.

    Raises:
        BadBody: Not JSON, or a field of the wrong JSON type or not a decimal.
        BadParameter: A field is missing or holds a word the venue does not know.
    """
    if content_type != "application/json":
        raise BadBody("invalid content type: expected application/json")
    body = _decode(raw)
    _check_types(body)
    for name in REQUIRED:
        if not body.get(name):
            raise _failed(name, "required")
    _one_of(body, "side", ("bid", "ask"))
    _one_of(body, "time_in_force", (GTC, IOC, FOK))
    _one_of(body, "self_trade_prevention_type", (STP_TAKER, STP_MAKER))
    if body.get("subaccount"):
        raise _failed("subaccount", "oneof")  # numbered subaccounts do not exist here
    client_id = body.get("client_order_id") or ""
    if len(client_id) > CLIENT_ID_MAX or "." in client_id:
        raise _failed("client_order_id", "max" if len(client_id) > CLIENT_ID_MAX else "excludes")
    expires_s = body.get("expiration_time")
    return NewOrder(
        ticker=body["ticker"],
        side=Side.YES if body["side"] == "bid" else Side.NO,
        count_cx=_decimal(parse_count, body["count"], "count"),
        yes_price_cc=_decimal(parse_price, body["price"], "price"),
        time_in_force=body["time_in_force"],
        self_trade_prevention=body["self_trade_prevention_type"],
        client_order_id=client_id,
        expires_us=None if expires_s is None else expires_s * 1_000_000,
        post_only=bool(body.get("post_only")),
        reduce_only=bool(body.get("reduce_only")),
        cancel_on_pause=bool(body.get("cancel_order_on_pause")),
        order_group_id=body.get("order_group_id") or "",
        exchange_index=-1 if body.get("exchange_index") is None else body["exchange_index"],
    )


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadBody(f"invalid request body: {exc}") from exc
    if not isinstance(body, dict):
        raise BadBody(_cannot(body, STRUCT, STRUCT))
    return body


def _check_types(body: dict[str, Any]) -> None:
    for names, kind, word in ((TEXTS, str, "string"), (FLAGS, bool, "bool"), (WHOLE, int, "int64")):
        for name in names:
            value = body.get(name)
            if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
                raise BadBody(_cannot(value, f"field {STRUCT}.{name}", word))


def _cannot(value: Any, where: str, word: str) -> str:
    return f"json: cannot unmarshal {JSON_WORDS.get(type(value), 'null')} into Go struct {where} of type {word}"


def _one_of(body: dict[str, Any], name: str, options: tuple[str, ...]) -> None:
    if body[name] not in options:
        raise _failed(name, "oneof")


def _decimal(parse: Any, text: str, name: str) -> int:
    try:
        value: int = parse(text)
    except ValueError as exc:
        raise BadBody(f"invalid {name}: {exc}") from exc
    return value


def _failed(name: str, tag: str) -> BadParameter:
    field = "".join(part.capitalize() for part in name.split("_"))
    return BadParameter(
        OPERATION, f"Key: '{STRUCT}.{field}' Error:Field validation for '{field}' failed on the '{tag}' tag"
    )
