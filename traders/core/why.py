"""Why something was decided: a code to count and compare, words to read, figures to check.

    why = Why("joins", "joins best {side} {yes_price_cc}", {"yes_price_cc": 4200}, Side.YES)
    said((why,))      joins best bid 42¢
    told((why,))      [{"code": "joins", "side": "bid", "yes_price_cc": 4200}]

A figure's name ends in its unit, and with it says how it is written out. Words are made only when somebody reads them:
nearly all decisions repeat the last one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from markets.core.units import Side, format_dollars
from markets.formatting import contracts, dollars, duration, percent, price

Figures = dict[str, Any]


class Why(msgspec.Struct, frozen=True):
    """One reason.

    Attributes:
        code: Stable word, the same whatever the figures.
        text: What it says, with `{names}` of figures; `{side}` is the venue's word for `side`.
        figures: By name; None is unknown. Names end in _cc, _cx, _ud, _ud_h, _us, _s or _bps where they have that unit.
        side: The ladder that it is about, None for the whole market.
    """

    code: str
    text: str
    figures: Figures = {}
    side: Side | None = None

    @property
    def key(self) -> tuple[str, Side | None]:
        """What makes it the same reason as another: its figures may move with every message."""
        return self.code, self.side


def said(whys: Iterable[Why]) -> str:
    """Return the reasons in words. One whose words and figures do not fit, as a plug-in's may, is told all the same."""
    return "; ".join(map(_worded, whys))


def told(whys: Iterable[Why]) -> list[Figures]:
    """Return the reasons as plain values, for records."""
    return [
        {"code": why.code} | ({} if why.side is None else {"side": why.side.book_side}) | why.figures for why in whys
    ]


def _worded(why: Why) -> str:
    try:
        figures = {name: _written(name, value) for name, value in why.figures.items()}
        return why.text.format(side=_side(why.side), **figures)
    except (LookupError, ValueError, TypeError, AttributeError):
        return f"{why.code}: {why.text} {why.figures}"


def _side(side: Side | None) -> str:
    return "" if side is None else side.book_side


def _written(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if name.endswith("_cc"):
        return price(value)
    if name.endswith("_cx"):
        return contracts(value)
    if name.endswith("_ud_h"):
        return f"${format_dollars(value)}/h"
    if name.endswith("_ud"):
        return dollars(value)
    if name.endswith("_bps"):
        return f"{percent(value)} %"
    if name.endswith("_us"):
        return duration(value // 1_000_000)
    return duration(value) if name.endswith("_s") else str(value)
