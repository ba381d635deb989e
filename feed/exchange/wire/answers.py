"""Reading queries and writing answers in the venue's three error forms. Source: facts.md 8.1 and 7.8."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import web

T = TypeVar("T")
CURSOR_MARK = "v1:"
INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def answer(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def nested(status: int, code: str, details: str = "") -> web.Response:
    error = {"code": code, "message": code.replace("_", " ")}
    return answer({"error": {**error, "details": details} if details else error}, status=status)


def not_found() -> web.Response:
    return nested(404, "not_found")


class BadParameter(Exception):
    """A query or body the venue's validation refuses with its bare form."""

    def __init__(self, operation: str, problem: str) -> None:
        self.operation = operation
        super().__init__(f"Parameter validation failed for {operation}: {problem}")

    def response(self) -> web.Response:
        return answer({"msg": str(self)}, status=400)


class BadBody(Exception):
    """A body that cannot be decoded: the flat form."""

    def response(self) -> web.Response:
        return answer({"code": "bad_request", "message": "bad request", "details": str(self)}, status=400)


class Query:
    """The query of one request, with the venue's validation."""

    def __init__(self, operation: str, values: Mapping[str, str]) -> None:
        self._operation = operation
        self._values = values

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def flag(self, name: str) -> bool:
        return self._values.get(name, "").lower() == "true"

    def words(self, name: str) -> set[str]:
        return {word for word in self._values.get(name, "").split(",") if word}

    def integer(self, name: str) -> int | None:
        raw = self._values.get(name, "")
        if not raw:
            return None
        if not INTEGER.fullmatch(raw):
            raise BadParameter(self._operation, f"Invalid format for parameter {name}: expected an integer")
        return int(raw)

    def required(self, name: str) -> int:
        value = self.integer(name)
        if value is None:
            raise self.failed(_field(name), "required")
        return value

    def between(self, name: str, low: int, high: int) -> int | None:
        value = self.integer(name)
        if value is not None and not low <= value <= high:
            raise self.failed(_field(name), "lte" if value > high else "gte")
        return value

    def after_us(self, name: str) -> int | None:
        """Return a `*_ts` parameter (Unix seconds) in microseconds."""
        value = self.integer(name)
        return None if value is None else value * 1_000_000

    def moment_us(self, name: str) -> int | None:
        """Return an RFC3339 parameter in microseconds."""
        raw = self._values.get(name, "")
        if not raw:
            return None
        try:
            moment = msgspec.convert(raw, datetime)
        except msgspec.ValidationError as exc:
            raise BadParameter(self._operation, f"Invalid format for parameter {name}: expected RFC3339") from exc
        if moment.tzinfo is None:
            raise BadParameter(self._operation, f"Invalid format for parameter {name}: expected a time zone")
        return (moment - EPOCH) // timedelta(microseconds=1)

    def limit(self, *, default: int, maximum: int, name: str = "limit") -> int:
        """Return how many rows a page has; above the maximum is an error, not a clamp [recorded]."""
        return self.between(name, 0, maximum) or default

    def required_limit(self, *, maximum: int) -> int:
        """Return the limit of the few lists that have no default."""
        self.required("limit")
        value = self.between("limit", 1, maximum)
        assert value is not None, "it is required"
        return value

    def choice(self, name: str, options: tuple[str, ...]) -> str:
        value = self.text(name)
        if value and value not in options:
            raise self.failed(_field(name), "oneof")
        return value

    def failed(self, field: str, tag: str) -> BadParameter:
        key = f"{self._operation}Params.{field}"
        return BadParameter(
            self._operation, f"Key: '{key}' Error:Field validation for '{field}' failed on the '{tag}' tag"
        )


def _field(name: str) -> str:
    """Return a parameter's name as the venue's validator says it: `event_ticker` is `EventTicker`."""
    return "".join(part.capitalize() for part in name.split("_"))


def newest_first(at_us: int, name: str) -> str:
    """Return a sort key that puts later times first, then names in order."""
    return f"{10**18 - at_us:019d}|{name}"


def page(items: list[T], key: Callable[[T], str], *, limit: int, cursor: str) -> tuple[list[T], str]:
    """Return one page of items in the order of their keys, and the cursor after it ("" on the last page).

    A cursor nobody issued counts as none, as at the venue.
    """
    after = _read_cursor(cursor)
    ordered = sorted((item for item in items if key(item) > after), key=key)
    taken = ordered[:limit]
    more = len(ordered) > limit
    return taken, base64.urlsafe_b64encode((CURSOR_MARK + key(taken[-1])).encode()).decode().rstrip("=") if more else ""


def _read_cursor(cursor: str) -> str:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:  # not base64, not ASCII, not UTF-8
        return ""
    return text.removeprefix(CURSOR_MARK) if text.startswith(CURSOR_MARK) else ""
