"""What is traded, and its history."""

from markets.models.catalog import Event, IncentiveProgram, Market, Series
from markets.models.tape import BookDelta, BookSnapshot, MarketKey, Ticker, Trade

__all__ = [
    "BookDelta",
    "BookSnapshot",
    "Event",
    "IncentiveProgram",
    "Market",
    "MarketKey",
    "Series",
    "Ticker",
    "Trade",
]
