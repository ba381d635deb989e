"""Read request bodies of fixed shape; what does not decode gets the flat error, what is missing the bare one."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from feed.exchange.wire.answers import BadBody, BadParameter

T = TypeVar("T")


def read_body(raw: bytes, content_type: str, form: type[T], operation: str) -> T:
    """Return the body of a request as a struct, an empty one as an empty object; unknown fields are ignored.

    Raises:
        BadBody: Another content type, no JSON, or a field of another JSON type.
        BadParameter: A field is missing or holds a word the venue does not know.
    """
    if raw and content_type != "application/json":
        raise BadBody("invalid content type: expected application/json")
    try:
        return msgspec.json.decode(raw or b"{}", type=form)
    except msgspec.ValidationError as exc:
        text = str(exc)
        if "missing required field" in text or "Invalid enum value" in text:
            raise BadParameter(operation, text) from exc
        raise BadBody(f"json: cannot unmarshal into Go struct {form.__name__}: {text}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadBody(f"invalid request body: {exc}") from exc


def failed(operation: str, field: str, tag: str) -> BadParameter:
    """Return the validator's refusal of a body's field: `tag` is the rule it broke."""
    name = "".join(part.capitalize() for part in field.split("_"))
    return BadParameter(
        operation, f"Key: '{operation}Request.{name}' Error:Field validation for '{name}' failed on the '{tag}' tag"
    )
