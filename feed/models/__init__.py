"""What the feed stores besides the books: where history came from, and what is true of each account."""

from __future__ import annotations

from feed.models.account import (
    AccountBalance,
    AccountDifference,
    AccountState,
    OrderGroup,
    Position,
    QueuePosition,
    Settlement,
)
from feed.models.history import Connection, FeedGap, MalformedFrame, Watermark
from feed.models.keys import ExchangeKey

__all__ = [
    "AccountBalance",
    "AccountDifference",
    "AccountState",
    "Connection",
    "ExchangeKey",
    "FeedGap",
    "MalformedFrame",
    "OrderGroup",
    "Position",
    "QueuePosition",
    "Settlement",
    "Watermark",
]
