"""Read request bodies of fixed shape; what does not decode gets the flat error, what is missing the bare one."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from feed.exchange.wire.answers import BadBody, BadParameter

T = TypeVar("T")


def read_body(raw: bytes, content_type: str, form: type[T]) -> T:
    """Return the body of a request as a struct; fields the struct does not have are ignored.

    Raises:
        BadBody: Another content type, no JSON, or a field of another JSON type.
    """
    if content_type != "application/json":
        raise BadBody("invalid content type: expected application/json")
    try:
        return msgspec.json.decode(raw, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadBody(f"invalid request body: {exc}") from exc


def failed(operation: str, field: str, tag: str) -> BadParameter:
    """Return the validator's refusal of a body's field: `tag` is the rule it broke."""
    name = "".join(part.capitalize() for part in field.split("_"))
    return BadParameter(
        operation, f"Key: '{operation}Request.{name}' Error:Field validation for '{name}' failed on the '{tag}' tag"
    )
