"""What every handler of the control port needs: bodies, numbers and times that are read or refused by their name."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from aiohttp import web

from feed.exchange.wire.answers import answer
from feed.exchange.wire.public import EPOCH

Body = TypeVar("Body")
MICROSECOND = timedelta(microseconds=1)
LAST_S = 4_102_444_800  # 2100: what comes after a time (a timer, a day) must still be one
NUMBER_DIGITS_MAX = 18


def read_body(raw: bytes, kind: type[Body]) -> Body:
    """Return a request body; an empty one is an empty object.

    Raises:
        ValueError: It is not of that form; the message names the field.
    """
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc


def number(text: str, name: str) -> int:
    """Return a whole number of a query.

    Raises:
        ValueError: It is none.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise ValueError(f"{name}: expected a number, found {text!r}")
    return int(text)


def seconds_us(at_s: int, name: str) -> int:
    """Return Unix seconds in microseconds.

    Raises:
        ValueError: They do not lie between 1970 and 2100.
    """
    if not 0 <= at_s <= LAST_S:
        raise ValueError(f"{name}: expected Unix seconds up to the year 2100, found {at_s}")
    return at_s * 1_000_000


def moment_us(moment: datetime, name: str) -> int:
    """Return a time in microseconds since 1970.

    Raises:
        ValueError: It has no zone, or does not lie between 1970 and 2100.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{name}: expected a time with a zone, such as 2026-11-25T12:00:00Z")
    at_us = (moment - EPOCH) // MICROSECOND
    seconds_us(at_us // 1_000_000, name)
    return at_us


def problem(exc: ValueError) -> web.Response:
    return answer({"problem": str(exc)}, status=400)
