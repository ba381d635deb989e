"""Times of rows, and the rows of what the venue says beside books. A time is (microseconds, its source)."""

from __future__ import annotations

import hashlib

from feed import schema
from feed.kalshi import events
from feed.schema import TimeSource

Time = tuple[int, int]


class RowTimes:
    """When things happened, by the order of design.md section 6: the exchange's time, its sending, our receiving.

    Whoever receives measures ages, so it gives times of a clock that nobody sets; `ahead_us` is by how much the wall
    clock is ahead of that one now. All in microseconds.
    """

    def __init__(self) -> None:
        self.ahead_us = 0
        self._last_us = self._last_received_us = 0

    def of(self, time_ms: int | None, sending_ms: int | None, received_us: int) -> Time:
        """Return the time of a message that came at `received_us`, 0 where that is unknown."""
        if time_ms is not None:
            self.note(time_ms * 1_000, received_us)
            return self._last_us, TimeSource.EXCHANGE
        if sending_ms is not None:
            return sending_ms * 1_000, TimeSource.SENDING
        if received_us:
            return self.wall_us(received_us), TimeSource.RECEIVED
        return self._last_us, TimeSource.PREVIOUS

    def note(self, exchange_us: int, received_us: int) -> None:
        """Note the time of the newest message, and when it came."""
        self._last_us = exchange_us
        if received_us:
            self._last_received_us = received_us + self.ahead_us

    def wall_us(self, received_us: int) -> int:
        """Return the wall time of a moment on the receiver's clock."""
        return received_us + self.ahead_us

    @property
    def last_lag_ms(self) -> int | None:
        """Age, when it came, of the newest message with an exchange time; None before the first."""
        return (self._last_received_us - self._last_us) // 1_000 if self._last_received_us else None


def ticker_row(time: Time, event: events.TickerEvent) -> schema.TickerRow:
    figures = (
        event.last_yes_price_cc,
        event.yes_bid_cc,
        event.yes_ask_cc,
        event.yes_bid_cx,
        event.yes_ask_cx,
        event.last_count_cx,
        event.volume_cx,
        event.open_interest_cx,
    )
    return schema.TickerRow(*time, event.ticker, _digest(figures), *figures)


def trade_row(time: Time, event: events.TradeEvent) -> schema.TradeRow:
    return schema.TradeRow(
        *time,
        event.ticker,
        event.trade_id,
        event.yes_price_cc,
        event.count_cx,
        event.taker_side,
        event.is_block,
    )


def lifecycle_row(time: Time, event: events.LifecycleEvent) -> schema.LifecycleRow:
    return schema.LifecycleRow(*time, event.ticker, event.event_type, event.body)


def _digest(figures: tuple[int | None, ...]) -> int:
    """Return 63 bits over a ticker's figures: its key beside time, market and connection."""
    digest = hashlib.blake2b(repr(figures).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
