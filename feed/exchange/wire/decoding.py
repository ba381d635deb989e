"""Decode a request body the way the venue does: JSON types first, then the validator's tags.

A wrong JSON type is refused with the decoder's flat error [recorded]; a missing field or an unknown word with the
validator's bare one. Unknown fields are ignored. Sources: facts.md sections 4 and 8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from feed.exchange.wire.answers import BadBody, BadParameter
from markets.core.units import parse_count, parse_price

INT64 = range(-(2**63), 2**63)
JSON_WORDS = {int: "number", float: "number", str: "string", bool: "bool", list: "array", dict: "object"}
TIME_MAX_S = 253_402_300_799  # the last second of the year 9999


class Kind(msgspec.Struct, frozen=True):
    """One of the venue's request bodies: the names of its operation and struct, and its fields by type."""

    operation: str
    struct: str
    texts: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    wholes: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    def word(self, name: str) -> str:
        """Return the decoder's word for the type of a field, or "" for a field it does not know."""
        if name in self.texts:
            return "string"
        if name in self.flags:
            return "bool"
        if name in self.wholes:
            return "int64"
        return "slice" if name in self.lists else ""


class Body:
    """One decoded object; `within` is the path to it in a batch."""

    def __init__(self, kind: Kind, values: Any, *, within: str = "") -> None:
        self.kind = kind
        self._within = within
        if not isinstance(values, dict):
            raise BadBody(_cannot(values, kind.struct, kind.struct))
        self._values: dict[str, Any] = values
        for name, value in values.items():
            word = kind.word(name)
            if word and not _fits(value, word):
                raise BadBody(_cannot(value, f"field {kind.struct}.{name}", word))

    # --- fields ---------------------------------------------------------------------------------------------------

    def text(self, name: str) -> str:
        return self._values.get(name) or ""

    def flag(self, name: str) -> bool:
        return bool(self._values.get(name))

    def whole(self, name: str) -> int | None:
        value: int | None = self._values.get(name)
        return value

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def items(self, name: str, kind: Kind) -> Iterator[Body]:
        """Yield the objects of a list, each decoded."""
        for number, item in enumerate(self._values.get(name) or ()):
            yield Body(kind, item, within=f"{name.capitalize()}[{number}].")

    # --- validation -----------------------------------------------------------------------------------------------

    def require(self, *names: str) -> None:
        for name in names:
            if not self._values.get(name):
                raise self.failed(name, "required")

    def one_of(self, name: str, *options: str) -> str:
        value = self.text(name)
        if value not in options:
            raise self.failed(name, "oneof")
        return value

    def within(self, name: str, *, low: int, high: int) -> int | None:
        """Return a whole number that must lie in `low` … `high` where it is given."""
        value = self.whole(name)
        if value is not None and value < low:
            raise self.failed(name, "gte")
        if value is not None and value > high:
            raise self.failed(name, "lte")
        return value

    def count_cx(self, name: str) -> int:
        return self._decimal(parse_count, name)

    def price_cc(self, name: str) -> int:
        return self._decimal(parse_price, name)

    def _decimal(self, parse: Callable[[str], int], name: str) -> int:
        try:
            return parse(self.text(name))
        except ValueError as exc:
            raise BadBody(f"invalid {name}: {exc}") from exc

    def failed(self, name: str, tag: str) -> BadParameter:
        field = "".join(part.capitalize() for part in name.split("_"))
        key = f"{self.kind.struct}.{self._within}{field}"
        return BadParameter(
            self.kind.operation, f"Key: '{key}' Error:Field validation for '{field}' failed on the '{tag}' tag"
        )


def decode(raw: bytes, content_type: str, kind: Kind) -> Body:
    """Return the object in a request.

    Raises:
        BadBody: Not JSON, or a field of the wrong JSON type.
    """
    if content_type != "application/json":
        raise BadBody("invalid content type: expected application/json")
    try:
        values = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadBody(f"invalid request body: {exc}") from exc
    return Body(kind, values)


def _fits(value: Any, word: str) -> bool:
    if value is None:  # the decoder leaves the field as it was
        return True
    match word:
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int64":
            return isinstance(value, int) and not isinstance(value, bool) and value in INT64
    return isinstance(value, list)


def _cannot(value: Any, where: str, word: str) -> str:
    found = JSON_WORDS.get(type(value), "null")
    if word == "int64" and found == "number":
        found = f"number {value}"
    return f"json: cannot unmarshal {found} into Go struct {where} of type {word}"
