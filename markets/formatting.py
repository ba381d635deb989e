"""Money, prices, counts and times as an operator reads them: the screens' only formats.

A true minus sign, thin grouping of counts, commas in dollars, decimals only where they say something. Whether a
figure is missing (–) or unknown (?) is for the caller to know; here are only figures.
"""

from __future__ import annotations

from markets.core.units import CONTRACT_CX, DOLLAR_UD

MINUS = "−"
THIN = "\u202f"  # narrow no-break space between thousands
CENT_CC = 100
CENT_UD = DOLLAR_UD // 100

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


def _rounded(value: int, unit: int) -> int:
    """Return `value / unit` to the nearest whole number, halves to even, without a float."""
    whole, rest = divmod(value, unit)
    if 2 * rest > unit or (2 * rest == unit and whole % 2):
        return whole + 1
    return whole


def _sign(value: int, *, plus: bool) -> str:
    if value < 0:
        return MINUS
    return "+" if plus and value > 0 else ""


def price(price_cc: int) -> str:
    """Return `57¢`, or `57.3¢` and `57.35¢` on finer grids."""
    cents, fraction = divmod(abs(price_cc), CENT_CC)
    decimals = f".{fraction:02d}".rstrip("0") if fraction else ""
    return f"{_sign(price_cc, plus=False)}{cents}{decimals}¢"


def contracts(count_cx: int, *, plus: bool = False) -> str:
    """Return contracts as `1 240` (thin space), with decimals only if fractional."""
    whole, fraction = divmod(abs(count_cx), CONTRACT_CX)
    decimals = f".{fraction:02d}".rstrip("0") if fraction else ""
    return f"{_sign(count_cx, plus=plus)}{whole:,}".replace(",", THIN) + decimals


def amount(value_ud: int, *, plus: bool = False) -> str:
    """Return micro-dollars as `1,234.56`, rounded to the cent (halves to even)."""
    cents = _rounded(value_ud, CENT_UD)
    dollars, rest = divmod(abs(cents), 100)
    return f"{_sign(cents, plus=plus)}{dollars:,}.{rest:02d}"


def dollars(value_ud: int, *, plus: bool = False) -> str:
    """Return micro-dollars as `$1,234.56`, the sign before the dollar."""
    text = amount(value_ud, plus=plus)
    return f"{text[0]}${text[1:]}" if text[0] in f"{MINUS}+" else f"${text}"


def percent(hundredths: int) -> str:
    """Return hundredths of a percent as `54.0`, one decimal; the unit stands in the column's head."""
    tenths = _rounded(hundredths, 10)
    return f"{_sign(tenths, plus=False)}{abs(tenths) // 10}.{abs(tenths) % 10}"


def age(milliseconds: int) -> str:
    """Return how long ago: `41 ms`, `1.2 s`, `12 s`, then like `duration`. A clock that runs ahead reads `0 ms`."""
    if milliseconds < 1_000:
        return f"{max(0, milliseconds)} ms"
    if milliseconds < 10_000:
        return f"{milliseconds // 1_000}.{milliseconds % 1_000 // 100} s"
    return duration(milliseconds // 1_000)


def beat_age(milliseconds: int) -> str:
    """Return a beat's age in tenths of a second: `0.2 s`; from ten seconds on like `age`."""
    if milliseconds >= 10_000:
        return age(milliseconds)
    tenths = max(0, milliseconds) // 100
    return f"{tenths // 10}.{tenths % 10} s"


def duration(seconds: int) -> str:
    """Return the two largest units: `41 s`, `12 m 52 s`, `33 h 27 m`, `17 d 17 h`. Negative is 0 s."""
    left = max(0, seconds)
    if left < MINUTE_S:
        return f"{left} s"
    if left < HOUR_S:
        return f"{left // MINUTE_S} m {left % MINUTE_S} s"
    if left < 2 * DAY_S:
        return f"{left // HOUR_S} h {left % HOUR_S // MINUTE_S} m"
    return f"{left // DAY_S} d {left % DAY_S // HOUR_S} h"
