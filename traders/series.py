"""Which markets of a rolling series should have a trader now, and what that trader is called."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

import msgspec

# A market that has just opened may still be written down as not yet open; its own times decide.
TRADABLE = frozenset({"initialized", "active"})
NAME_MOST = 64


class RollingMarket(msgspec.Struct, frozen=True):
    """One market of a series, as the catalogue has it; times in microseconds since 1970."""

    ticker: str
    status: str
    open_time_us: int
    close_time_us: int


def markets_to_trade(markets: Iterable[RollingMarket], *, now_us: int, most: int) -> tuple[RollingMarket, ...]:
    """Return the open markets to trade, the ones that close first; at most `most`."""
    is_open = (m for m in markets if m.status in TRADABLE and m.open_time_us <= now_us < m.close_time_us)
    return tuple(sorted(is_open, key=lambda m: (m.close_time_us, m.ticker))[:most])


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
