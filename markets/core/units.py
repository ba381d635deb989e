"""Exact money and counts: integers in the venue's smallest units.

    price_cc   centi-cents, $0.0001      1 .. 9_999 for a tradable price
    count_cx   hundredths of a contract  0.01 contract is the venue's minimum
    value_ud   micro-dollars             price_cc × count_cx, exactly

Strings from the wire become integers here, once; no float takes part.
"""

from __future__ import annotations

from enum import IntEnum

DOLLAR_CC = 10_000
CONTRACT_CX = 100
DOLLAR_UD = DOLLAR_CC * CONTRACT_CX


class Side(IntEnum):
    """The ladder an order rests on, and with it its direction.

    A YES order is a bid; a NO order at its own price q is the YES ask at $1 − q.
    """

    YES = 0
    NO = 1

    @property
    def other(self) -> Side:
        return NO if self is YES else YES

    @property
    def book_side(self) -> str:
        """The venue's word for it: `bid` or `ask`."""
        return "bid" if self is YES else "ask"


# A member costs 70 ns to look up by its class and 10 by name: hot paths use these, and go over SIDES instead of Side.
SIDES = YES, NO = Side.YES, Side.NO


def yes_price_cc(side: Side, price_cc: int) -> int:
    """Return the YES price of a price given on `side`'s own ladder (and the reverse: it is its own inverse)."""
    return price_cc if side is YES else DOLLAR_CC - price_cc


def _parse(text: str, decimals: int, what: str) -> int:
    body = text[1:] if text[:1] in "+-" else text
    whole, point, fraction = body.partition(".")
    if not (body.isascii() and whole.isdigit() and (fraction.isdigit() if point else True)):
        raise ValueError(f"{what} must be a decimal string, found {text!r}")
    if len(fraction) > decimals and fraction[decimals:].strip("0"):
        raise ValueError(f"{what} has more than {decimals} decimals: {text!r}")
    value = int(whole + fraction[:decimals].ljust(decimals, "0"))
    return -value if text[0] == "-" else value


def parse_price(text: str) -> int:
    """Return centi-cents of a dollar string such as `0.4200`, `0.42` or `1.0000`.

    Raises:
        ValueError: Not a plain decimal, finer than $0.0001, or outside $0 .. $1.
    """
    value = _parse(text, 4, "price")
    if not 0 <= value <= DOLLAR_CC:
        raise ValueError(f"price must lie in 0..1 dollar, found {text!r}")
    return value


def parse_count(text: str) -> int:
    """Return hundredths of a contract of a string such as `12.00` or `-2.5` (a delta may be negative).

    Raises:
        ValueError: Not a plain decimal, or finer than 0.01 contract.
    """
    return _parse(text, 2, "count")


def parse_dollars(text: str) -> int:
    """Return micro-dollars of an amount such as `17.250000` or `-0.0175`.

    Raises:
        ValueError: Not a plain decimal, or finer than $0.000001.
    """
    return _parse(text, 6, "amount")


def format_price(price_cc: int) -> str:
    """Return the wire form of a price: always four decimals."""
    sign, value = ("-", -price_cc) if price_cc < 0 else ("", price_cc)
    return f"{sign}{value // DOLLAR_CC}.{value % DOLLAR_CC:04d}"


def format_count(count_cx: int) -> str:
    """Return the wire form of a count: always two decimals."""
    sign, value = ("-", -count_cx) if count_cx < 0 else ("", count_cx)
    return f"{sign}{value // CONTRACT_CX}.{value % CONTRACT_CX:02d}"


def format_dollars(value_ud: int) -> str:
    """Return the wire form of an amount: always six decimals."""
    sign, value = ("-", -value_ud) if value_ud < 0 else ("", value_ud)
    return f"{sign}{value // DOLLAR_UD}.{value % DOLLAR_UD:06d}"
