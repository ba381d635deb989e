"""Kinds of values on the REST wire, and the whole number that each becomes here.

    PriceCc     "0.4200"                       centi-cents, 0 .. 10_000
    CountCx     "-12.50"                       hundredths of a contract, signed
    DollarsUd   "0.017500"                     micro-dollars, signed; also averages a contract, which have six decimals
    CentsUd     9801                           cents as micro-dollars
    TimeUs      "2026-06-11T06:29:30.164956Z"  microseconds since 1970
    SecondsUs   1781159370                     the same
    MillisUs    1781159360866                  the same
    OutcomeSide "yes", "no"                    Side
    BookSide    "bid", "ask"                   Side
    Number      0.5                            Decimal, never a float
    Hidden      a secret                       Secret, which no message shows

Reading raises ValueError when a value does not fit exactly: nothing is rounded. Source: facts.md section 4.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from markets.core.units import (
    DOLLAR_UD,
    Side,
    format_count,
    format_dollars,
    format_price,
    parse_count,
    parse_dollars,
    parse_price,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CENT_UD = DOLLAR_UD // 100
CENT_CC = 100
SECOND_US = 1_000_000
MILLISECOND_US = 1_000
FRACTION_DIGITS = 6  # of a second, in a time
MAGNITUDE_MAX = 30  # powers of ten
REMEMBERED = 20_000  # texts of each kind
SHOWN = 80  # characters of a value that a message quotes


class Kind(NamedTuple):
    """How a value is read from the wire and written to it."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


class Secret:
    """A text that shows itself only when asked to."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def shown(value: Any) -> str:
    """Return a value as a message may quote it."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def remembered(parse: Callable[[str], int]) -> Callable[[Any], int]:
    """Return a reader of texts that repeat without end, such as prices: each is parsed once."""
    once = functools.lru_cache(REMEMBERED)(parse)
    return lambda value: once(value if type(value) is str else as_text(value))


def as_text(value: Any) -> str:
    """Return a decimal as text: the venue promises strings, and some saw numbers."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        number = Decimal(value)
        if _is_sane(number):
            return format(number, "f")
    raise ValueError(f"expected a decimal string, found {shown(value)}")


def _is_sane(number: Decimal) -> bool:
    """Return whether a number may be written out: 1e999999999 would fill the memory."""
    return abs(number.adjusted()) <= MAGNITUDE_MAX


def as_whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected a whole number, found {shown(value)}")


def read_time(value: Any) -> int:
    """Return microseconds since 1970 of an RFC 3339 time."""
    if not isinstance(value, str):
        raise ValueError(f"expected a time as text, found {shown(value)}")
    return _parse_time(value)


@functools.lru_cache(REMEMBERED)
def _parse_time(value: str) -> int:
    _, _, after = value.partition(".")
    digits = after[: len(after) - len(after.lstrip("0123456789"))]
    if digits[FRACTION_DIGITS:].strip("0"):
        raise ValueError(f"a time finer than a microsecond: {shown(value)}")
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {shown(value)}")
    return (moment - EPOCH) // MICROSECOND


def moment(time_us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC time."""
    return EPOCH + time_us * MICROSECOND


def write_time(time_us: int) -> str:
    return moment(time_us).isoformat().replace("+00:00", "Z")


def _scaled(unit: int) -> Kind:
    def write(value: int) -> int:
        whole, rest = divmod(value, unit)
        if rest:
            raise ValueError(f"{value} is no multiple of {unit}")
        return whole

    return Kind(lambda value: as_whole(value) * unit, write)


def _word(words: dict[str, Side]) -> Kind:
    back = {side: word for word, side in words.items()}

    def read(value: Any) -> Side:
        side = words.get(value) if isinstance(value, str) else None
        if side is None:
            raise ValueError(f"expected one of {', '.join(words)}, found {shown(value)}")
        return side

    return Kind(read, back.__getitem__)


def _read_number(value: Any) -> Decimal:
    if isinstance(value, int | Decimal) and not isinstance(value, bool) and _is_sane(Decimal(value)):
        return Decimal(value)
    raise ValueError(f"expected a number, found {shown(value)}")


def _read_secret(value: Any) -> Secret:
    if isinstance(value, str):
        return Secret(value)
    raise ValueError("expected a text")


PriceCc = Annotated[int, Kind(remembered(parse_price), format_price)]
CountCx = Annotated[int, Kind(remembered(parse_count), format_count)]
DollarsUd = Annotated[int, Kind(remembered(parse_dollars), format_dollars)]
CentsUd = Annotated[int, _scaled(CENT_UD)]
CentsCc = Annotated[int, _scaled(CENT_CC)]
TimeUs = Annotated[int, Kind(read_time, write_time)]
SecondsUs = Annotated[int, _scaled(SECOND_US)]
MillisUs = Annotated[int, _scaled(MILLISECOND_US)]
OutcomeSide = Annotated[Side, _word({"yes": Side.YES, "no": Side.NO})]
BookSide = Annotated[Side, _word({"bid": Side.YES, "ask": Side.NO})]
Number = Annotated[Decimal, Kind(_read_number, lambda value: value)]
Hidden = Annotated[Secret, Kind(_read_secret, Secret.reveal)]
