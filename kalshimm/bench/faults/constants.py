"""Bars that are settings: what the product's own code has, read from where it goes by it."""

from __future__ import annotations

from feed import schema
from feed.account.polls import Periods
from feed.kalshi import clock, limiter
from traders.core import settling

SECOND_US = 1_000_000


def settings() -> dict[str, float]:
    """Return the values by the names of their bars, in their units."""
    return {
        "feed_entry_age": schema.FEED_ENTRY_MAX_S,
        "connection_silence": schema.CONNECTION_SILENT_MAX_S,
        "first_look": settling.FIRST_LOOK_US / SECOND_US,
        "looks": settling.QUICK_LOOKS,
        "order_comparison": Periods().orders,
        "position_comparison": Periods().positions,
        "cancel_share": limiter.CANCELS_ALONE_PERCENT,
        "clock_warn": clock.WARN_US / SECOND_US,
        "clock_stop": clock.STOP_US / SECOND_US,
    }
