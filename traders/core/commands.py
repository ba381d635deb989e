"""What the engine tells a broker to do. Prices are on the order's own ladder, times microseconds since 1970."""

from __future__ import annotations

import msgspec

from markets.core.units import Side


class CancelOrder(msgspec.Struct, frozen=True):
    client_order_id: str
    reason: str


class DecreaseOrder(msgspec.Struct, frozen=True):
    """Let `remaining_cx` of the order stand; it keeps its place in the queue."""

    client_order_id: str
    remaining_cx: int


class RenewOrder(msgspec.Struct, frozen=True):
    """Let the order stand until `expires_us`; it keeps its place in the queue."""

    client_order_id: str
    expires_us: int


class PlaceOrder(msgspec.Struct, frozen=True):
    """Let an order rest: post-only, so it never trades on arrival. `expires_us` None lets it stand without end."""

    side: Side
    price_cc: int
    count_cx: int
    expires_us: int | None = None


class TakeOrder(msgspec.Struct, frozen=True):
    """Trade at once what can be had at `limit_cc` or better; nothing rests (immediate or cancel)."""

    side: Side
    limit_cc: int
    count_cx: int


Command = CancelOrder | DecreaseOrder | RenewOrder | PlaceOrder | TakeOrder
