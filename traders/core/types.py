"""What strategies see and say: values only.

    book event → MarketView → placement.quotes() → (buffering, flatten, risk: later issues) → diff → broker

Prices are centi-cents on their own side's ladder, counts hundredths of a contract, times microseconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from markets.core.book import OrderBook
from markets.core.grid import PriceGrid
from markets.core.units import Side


class MarketView(msgspec.Struct, frozen=True):
    """One market at one moment, without our own orders in it."""

    ticker: str
    time_us: int
    book: OrderBook
    grid: PriceGrid
    close_time_us: int


class Quote(msgspec.Struct, frozen=True):
    """A wish: this much resting at this price on this side's ladder."""

    side: Side
    price_cc: int
    count_cx: int


class Quotes(msgspec.Struct, frozen=True):
    """Everything the strategy wants resting now (at most one quote a side), and why, in words and figures."""

    quotes: tuple[Quote, ...]
    reason: str
    figures: dict[str, Any] = {}


class TraderState(msgspec.Struct, frozen=True):
    """What the trader holds: net Yes position in hundredths of a contract (No negative)."""

    position_cx: int = 0
