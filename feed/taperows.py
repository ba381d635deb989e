"""What the venue said beside books, as the rows that the tape keeps of it. Times are (microseconds, their source)."""

from __future__ import annotations

import hashlib

from feed import schema
from feed.kalshi import events
from feed.schema import TimeSource

Time = tuple[int, int]


class RowTimes:
    """When things happened, by the order of design.md section 6: the exchange's time, its sending, our receiving.

    `last_us` is the newest exchange time and `last_received_us` when it came, 0 before the first; in microseconds.
    """

    def __init__(self) -> None:
        self.last_us = self.last_received_us = 0

    def of(self, time_ms: int | None, sending_ms: int | None, received_us: int) -> Time:
        """Return the time of a message that came at `received_us`, 0 where that is unknown."""
        if time_ms is not None:
            self.last_us = time_ms * 1_000
            if received_us:
                self.last_received_us = received_us
            return self.last_us, TimeSource.EXCHANGE
        if sending_ms is not None:
            return sending_ms * 1_000, TimeSource.SENDING
        if received_us:
            return received_us, TimeSource.RECEIVED
        return self.last_us, TimeSource.PREVIOUS

    @property
    def last_lag_ms(self) -> int | None:
        """Age, when it came, of the newest message with an exchange time; None before the first."""
        return (self.last_received_us - self.last_us) // 1_000 if self.last_received_us else None


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
