"""What the core tells the outside, in the order in which it happened.

Each value holds what its message needs and nothing that may change later, so it may be encoded at leisure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from markets.core.units import Side


class BookChanged(msgspec.Struct, frozen=True):
    """One level changed by a signed count.

    `owner` and `client_order_id` name the account order whose request caused it, empty for everybody else's;
    `subaccount` is its subaccount where the owner uses them.
    """

    ticker: str
    market_id: str
    side: Side
    price_cc: int
    delta_cx: int
    at_us: int
    owner: str = ""
    client_order_id: str = ""
    subaccount: int | None = None


class BookCleared(msgspec.Struct, frozen=True):
    """The market closed and its book is gone: the venue sends one more snapshot without ladders."""

    ticker: str


class Traded(msgspec.Struct, frozen=True):
    """A public print; the taker's direction is `taker_side`."""

    trade_id: str
    ticker: str
    yes_price_cc: int
    count_cx: int
    taker_side: Side
    at_us: int


class TickerChanged(msgspec.Struct, frozen=True):
    """The quote line of a market, already in wire form."""

    ticker: str
    body: dict[str, Any]


class Announced(msgspec.Struct, frozen=True):
    """A message of the life-cycle channel: its type and body in wire form."""

    type: str
    body: dict[str, Any]


class Private(msgspec.Struct, frozen=True):
    """A message for one account, about one of its subaccounts.

    `channel` is fill, user_orders, market_positions or order_group_updates.
    """

    channel: str
    account: str
    ticker: str
    body: dict[str, Any]
    subaccount: int = 0


class Halted(msgspec.Struct, frozen=True):
    """A pause of trading, or of everything, begins or ends; no channel of the venue tells of it.

    `scope`: a shard, a market, or None for everywhere.
    """

    halt: str
    scope: int | str | None
    is_on: bool


Happening = BookChanged | BookCleared | Traded | TickerChanged | Announced | Private | Halted
