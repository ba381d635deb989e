"""Bodies of market-data messages as typed structs, which msgspec encodes fastest."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from feed.exchange.happenings import BookChanged
from feed.exchange.wire import public as wire
from markets.core.units import DOLLAR_CC, Side, format_count, format_price

if TYPE_CHECKING:
    from feed.exchange.market import Market

encode = msgspec.json.Encoder().encode

# The same few thousand prices and sizes are written over and over.
_price = lru_cache(maxsize=16_384)(format_price)
_count = lru_cache(maxsize=65_536)(format_count)


class DeltaBody(msgspec.Struct, omit_defaults=True):
    """The `msg` of an orderbook_delta; the owner's id and subaccount only for the owner."""

    market_ticker: str
    market_id: str
    price_dollars: str
    delta_fp: str
    side: str
    ts: str
    ts_ms: int
    client_order_id: str = ""
    subaccount: int | None = None


def delta_body(change: BookChanged, *, use_yes_price: bool, is_own: bool) -> bytes:
    """Return the encoded body; NO prices as YES prices where that was asked for."""
    price_cc = DOLLAR_CC - change.price_cc if use_yes_price and change.side is Side.NO else change.price_cc
    return encode(
        DeltaBody(
            change.ticker,
            change.market_id,
            _price(price_cc),
            _count(change.delta_cx),
            wire.SIDE_WORDS[change.side],
            wire.rfc3339(change.at_us),
            wire.ms(change.at_us),
            change.client_order_id if is_own else "",
            change.subaccount if is_own else None,
        )
    )


def snapshot_body(ticker: str, market: Market | None, *, use_yes_price: bool) -> bytes:
    """Return the encoded body; a side without levels has no key, an unknown market no id either [recorded]."""
    message: dict[str, Any] = {"market_ticker": ticker, "market_id": market.terms.market_id if market else ""}
    if market is not None:
        yes, no = market.levels(Side.YES), market.levels(Side.NO)
        if use_yes_price:
            no = {DOLLAR_CC - price: size for price, size in no.items()}
        if yes:
            message["yes_dollars_fp"] = wire.ladder(yes)
        if no:
            message["no_dollars_fp"] = wire.ladder(no)
    return encode(message)
