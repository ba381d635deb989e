"""What is halted at the moment, and why an order is refused because of it.

    trading pause    no creates or amends; cancels go on, what rests stays unless its owner said otherwise
    exchange pause   no state changes at all, not even cancels

Either holds everywhere, on one shard, or (trading only) in one market. Source: facts.md section 13, openapi.yaml
ExchangeStatus.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from feed.exchange.trading.orders import Refusal

Halt = Literal["trading", "exchange"]
Scope = int | str | None  # a shard, a market, or everything

TRADING_IS_PAUSED = Refusal(409, "trading_is_paused")
EXCHANGE_IS_PAUSED = Refusal(409, "exchange_is_paused")

EASTERN = ZoneInfo("America/New_York")
THURSDAY, WEEKLY_FROM, WEEKLY_TO = 3, time(3), time(5)
DAY = timedelta(days=1)


class Window(msgspec.Struct, frozen=True):
    """A planned halt of everything."""

    start_us: int
    end_us: int
    halt: Halt = "trading"


class Pauses:
    """The halts of one exchange."""

    def __init__(self) -> None:
        self._halted: dict[Halt, set[Scope]] = {"trading": set(), "exchange": set()}
        self.windows: list[Window] = []  # planned and running

    def set(self, halt: Halt, scope: Scope) -> None:
        self._halted[halt].add(scope)

    def lift(self, halt: Halt, scope: Scope) -> None:
        self._halted[halt].discard(scope)

    def exchange_paused(self, exchange_index: int) -> bool:
        return _covers(self._halted["exchange"], exchange_index)

    def trading_paused(self, exchange_index: int, ticker: str = "") -> bool:
        halted = self._halted["trading"]
        return self.exchange_paused(exchange_index) or _covers(halted, exchange_index) or ticker in halted

    def refusal(self, exchange_index: int, ticker: str, *, cancelling: bool) -> Refusal | None:
        """Return why an order request is refused, or None."""
        if self.exchange_paused(exchange_index):
            return EXCHANGE_IS_PAUSED
        if not cancelling and self.trading_paused(exchange_index, ticker):
            return TRADING_IS_PAUSED
        return None

    def resume_us(self, now_us: int) -> int | None:
        """Return when the window that is running ends."""
        return next((w.end_us for w in self.windows if w.start_us <= now_us < w.end_us), None)


def _covers(halted: set[Scope], exchange_index: int) -> bool:
    return None in halted or exchange_index in halted


def next_weekly_window(now_us: int) -> Window:
    """Return the Thursday window, 03:00 to 05:00 Eastern Time, that runs at `now_us` or comes next."""
    today = datetime.fromtimestamp(now_us / 1e6, UTC).astimezone(EASTERN).date()
    day = today + DAY * ((THURSDAY - today.weekday()) % 7)
    window = _window_of(day.toordinal())
    return window if now_us < window.end_us else _window_of(day.toordinal() + 7)


def _window_of(ordinal: int) -> Window:
    day = datetime.fromordinal(ordinal)
    start, end = (datetime.combine(day, at, EASTERN) for at in (WEEKLY_FROM, WEEKLY_TO))
    return Window(int(start.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000)
