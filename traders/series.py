"""Which markets of a series should have a trader now by its rule, and what that trader is called."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec

from traders.core.riskbook import EXCHANGE_ZONE

# A market that has just opened may still be written down as not yet open; its own times decide.
TRADABLE = frozenset({"initialized", "active"})
NAME_MOST = 64


class RollingMarket(msgspec.Struct, frozen=True):
    """One market of a series, as the catalogue has it; times in microseconds since 1970.

    Attributes:
        title: All that people read of it: its event's title, and which outcome it is.
        has_program: Whether a liquidity program pays in it now, or will.
    """

    ticker: str
    status: str
    open_time_us: int
    close_time_us: int
    title: str = ""
    has_program: bool = False


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """Which markets a rule means, and when.

    Attributes:
        most: So many markets at once.
        lead_us: A trader is made so long before its market opens.
        close_buffer_us: In the last so long of a market nobody trades it.
        title_has: Only markets with this in their title, whatever the case.
        from_minute, until_minute: Of the exchange's day (0 to 1,439), within which a trader may be made; over midnight
            where the first is the later one. None for always.
    """

    most: int = 1
    lead_us: int = 0
    close_buffer_us: int = 0
    needs_program: bool = False
    title_has: str = ""
    from_minute: int | None = None
    until_minute: int | None = None

    def means(self, market: RollingMarket) -> bool:
        if self.needs_program and not market.has_program:
            return False
        return self.title_has.casefold() in market.title.casefold()

    def may_begin(self, minute: int) -> bool:
        """Return whether traders may be made in this minute of the exchange's day."""
        if self.from_minute is None or self.until_minute is None:
            return True
        if self.from_minute <= self.until_minute:
            return self.from_minute <= minute < self.until_minute
        return minute >= self.from_minute or minute < self.until_minute

    def is_over(self, close_time_us: int, now_us: int) -> bool:
        """Return whether a market is in its last stretch, in which nobody trades it, or past that."""
        return now_us >= close_time_us - self.close_buffer_us


def markets_to_trade(markets: Iterable[RollingMarket], terms: Terms, *, now_us: int) -> tuple[RollingMarket, ...]:
    """Return the markets to trade, the ones that close first; at most as many as the terms say."""
    due = [
        market
        for market in markets
        if market.status in TRADABLE
        and market.open_time_us - terms.lead_us <= now_us
        and not terms.is_over(market.close_time_us, now_us)
        and terms.means(market)
    ]
    return tuple(sorted(due, key=lambda market: (market.close_time_us, market.ticker))[: terms.most])


def minute_of_day(now_us: int) -> int:
    """Return the minute of the exchange's day."""
    local = datetime.fromtimestamp(now_us / 1_000_000, UTC).astimezone(EXCHANGE_ZONE)
    return 60 * local.hour + local.minute


def trader_name(series_ticker: str, close_time_us: int, taken: Collection[str]) -> str:
    """Return a free name such as `kxbtc15m-1122-1015`: the series and the UTC date and time of the close."""
    closes = datetime.fromtimestamp(close_time_us // 1_000_000, UTC)
    return free_name(f"{_plain(series_ticker)[: NAME_MOST - 16]}-{closes:%m%d-%H%M}", taken)


def free_name(wish: str, taken: Collection[str]) -> str:
    """Return a trader name like `wish`: small letters, digits, dots and dashes, numbered when it is taken."""
    stem = _plain(wish)[: NAME_MOST - 4]
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c == ".") else "-" for c in text.lower()).strip("-.")
