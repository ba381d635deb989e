"""What a market did minute by minute, from its own trades and quote line; longer periods are sums of minutes.

A period includes its end, not its start. Hours end on the hour, days at midnight Eastern Time (a recording of
January 2026 has 04:00 UTC in summer). Periods in which nothing happened have no candle.
Source: OpenAPI 3.34, GetMarketCandlesticks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from markets.core.units import format_count, format_price

SECOND_US = 1_000_000
MINUTE_S = 60
DAY_S = 86_400
PERIODS = (1, 60, 1_440)  # minutes
EASTERN = ZoneInfo("America/New_York")
MINUTES_KEPT = 4 * 1_440


class Span(msgspec.Struct):
    """Open, low, high and close of one line, in centi-cents."""

    open_cc: int
    low_cc: int
    high_cc: int
    close_cc: int

    @classmethod
    def of(cls, price_cc: int) -> Span:
        return cls(price_cc, price_cc, price_cc, price_cc)

    def add(self, price_cc: int) -> None:
        self.low_cc, self.high_cc = min(self.low_cc, price_cc), max(self.high_cc, price_cc)
        self.close_cc = price_cc

    def follow(self, later: Span) -> Span:
        return Span(self.open_cc, min(self.low_cc, later.low_cc), max(self.high_cc, later.high_cc), later.close_cc)


class Candle(msgspec.Struct, kw_only=True):
    """One period. `paid_ud` is price times count over its trades, `before_cx` the volume of all earlier periods."""

    end_s: int
    bid: Span
    ask: Span
    price: Span | None = None
    previous_cc: int | None = None
    volume_cx: int = 0
    paid_ud: int = 0
    open_interest_cx: int = 0
    before_cx: int = 0

    def follow(self, later: Candle, end_s: int) -> Candle:
        """Return the candle of two neighbouring ones."""
        price = later.price if self.price is None else self.price.follow(later.price) if later.price else self.price
        return Candle(
            end_s=end_s,
            bid=self.bid.follow(later.bid),
            ask=self.ask.follow(later.ask),
            price=price,
            previous_cc=self.previous_cc,
            volume_cx=self.volume_cx + later.volume_cx,
            paid_ud=self.paid_ud + later.paid_ud,
            open_interest_cx=later.open_interest_cx,
            before_cx=self.before_cx,
        )


class Candles:
    """The minutes of one market, oldest first."""

    def __init__(self) -> None:
        self.minutes: list[Candle] = []
        self._ends_s: list[int] = []
        self._last_cc: int | None = None

    def quote(self, at_us: int, *, bid_cc: int, ask_cc: int, open_interest_cx: int) -> None:
        """Note a change of the best prices; nobody bidding is 0, nobody offering a dollar."""
        minute = self._minute(at_us, bid_cc, ask_cc)
        minute.bid.add(bid_cc)
        minute.ask.add(ask_cc)
        minute.open_interest_cx = open_interest_cx

    def trade(self, at_us: int, *, price_cc: int, count_cx: int) -> None:
        minute = self._minute(at_us, None, None)
        if minute.price is None:
            minute.price = Span.of(price_cc)
        else:
            minute.price.add(price_cc)
        minute.volume_cx += count_cx
        minute.paid_ud += price_cc * count_cx
        self._last_cc = price_cc

    def at(self, at_s: int) -> Candle | None:
        """Return the last minute that was over at a time."""
        index = bisect_right(self._ends_s, at_s)
        return self.minutes[index - 1] if index else None

    def volume_since_cx(self, since_s: int) -> int:
        """Return what was traded after a time, to the minute."""
        if not self.minutes:
            return 0
        last, start = self.minutes[-1], self.at(since_s)
        until_cx = start.before_cx + start.volume_cx if start else self.minutes[0].before_cx
        return last.before_cx + last.volume_cx - until_cx

    def between(self, start_s: int, end_s: int, period_min: int) -> list[Candle]:
        """Return the candles that end from `start_s` to `end_s`, oldest first."""
        found: list[Candle] = []
        first = bisect_right(self._ends_s, start_s - period_min * MINUTE_S * 2)
        for minute in self.minutes[first:]:
            period_end_s = end_of(minute.end_s, period_min)
            if period_end_s > end_s:
                break
            if period_end_s < start_s:
                continue
            if found and found[-1].end_s == period_end_s:
                found[-1] = found[-1].follow(minute, period_end_s)
            else:
                found.append(msgspec.structs.replace(minute, end_s=period_end_s))
        return found

    def carried(self, start_s: int, period_min: int) -> Candle | None:
        """Return the state before `start_s` as a candle without trades at the first boundary after it."""
        before = self.at(start_s - 1)
        if before is None:
            return None
        return Candle(
            end_s=end_of(start_s + 1, period_min),
            bid=Span.of(before.bid.close_cc),
            ask=Span.of(before.ask.close_cc),
            previous_cc=before.price.close_cc if before.price else before.previous_cc,
            open_interest_cx=before.open_interest_cx,
        )

    def _minute(self, at_us: int, bid_cc: int | None, ask_cc: int | None) -> Candle:
        """Return the minute of a time; what comes late belongs to the last one."""
        end_s = -(-at_us // (MINUTE_S * SECOND_US)) * MINUTE_S
        last = self.minutes[-1] if self.minutes else None
        if last is not None and last.end_s >= end_s:
            return last
        bid = last.bid.close_cc if last else bid_cc if bid_cc is not None else 0
        ask = last.ask.close_cc if last else ask_cc if ask_cc is not None else 10_000
        minute = Candle(
            end_s=end_s,
            bid=Span.of(bid),
            ask=Span.of(ask),
            previous_cc=self._last_cc,
            open_interest_cx=last.open_interest_cx if last else 0,
            before_cx=last.before_cx + last.volume_cx if last else 0,
        )
        self.minutes.append(minute)
        self._ends_s.append(end_s)
        if len(self.minutes) > MINUTES_KEPT * 2:  # by halves, so that forgetting costs nothing each minute
            del self.minutes[:MINUTES_KEPT], self._ends_s[:MINUTES_KEPT]
        return minute


def end_of(end_s: int, period_min: int) -> int:
    """Return the end of the period that holds the minute ending at `end_s`."""
    if period_min != PERIODS[-1]:
        return -(-end_s // (period_min * MINUTE_S)) * period_min * MINUTE_S
    # The minute that ends at midnight is the day's last.
    day = datetime.fromtimestamp(end_s - 1, UTC).astimezone(EASTERN).date() + timedelta(days=1)
    return int(datetime(day.year, day.month, day.day, tzinfo=EASTERN).timestamp())


def rows(candles: Iterable[Candle]) -> list[dict[str, Any]]:
    """Return candles as the live tier serves them."""
    return [_row(candle, "_dollars", "_fp") for candle in candles]


def historical_rows(candles: Iterable[Candle]) -> list[dict[str, Any]]:
    """Return candles as the history serves them: the same values under bare names."""
    return [_row(candle, "", "") for candle in candles]


def _row(candle: Candle, money: str, count: str) -> dict[str, Any]:
    mean = candle.paid_ud // candle.volume_cx if candle.volume_cx else None
    prices = {
        **_span(candle.price, money),
        f"mean{money}": _price(mean),
        f"previous{money}": _price(candle.previous_cc),
    }
    return {
        "end_period_ts": candle.end_s,
        "yes_bid": _span(candle.bid, money),
        "yes_ask": _span(candle.ask, money),
        "price": prices,
        f"volume{count}": format_count(candle.volume_cx),
        f"open_interest{count}": format_count(candle.open_interest_cx),
    }


def _span(span: Span | None, money: str) -> dict[str, str | None]:
    values = (None,) * 4 if span is None else (span.open_cc, span.low_cc, span.high_cc, span.close_cc)
    return {
        f"{name}{money}": _price(value) for name, value in zip(("open", "low", "high", "close"), values, strict=True)
    }


def _price(price_cc: int | None) -> str | None:
    return None if price_cc is None else format_price(price_cc)
