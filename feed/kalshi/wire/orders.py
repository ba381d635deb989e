"""Order writes of the V2 family and order groups: what we send, and what comes back.

A bid buys YES at the YES price, an ask buys NO at one minus it; the price sent is always the YES price.
Source: openapi.yaml 3.34; facts.md sections 7.4 and 7.5.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import BookSide, CountCx, DollarsUd, MillisUs, PriceCc

GOOD_TILL_CANCELED = "good_till_canceled"
IMMEDIATE_OR_CANCEL = "immediate_or_cancel"
FILL_OR_KILL = "fill_or_kill"
TAKER_AT_CROSS = "taker_at_cross"
MAKER = "maker"


class PlaceOrder(Body, frozen=True, kw_only=True):
    """One order to place.

    Args:
        client_order_id: A new one for each wish; never sent twice.
        exchange_index: The market's shard.
        expiration_s: Unix seconds; only with `good_till_canceled`.
        self_trade_prevention_type: `taker_at_cross` cancels the rest of this order, `maker` the resting one.
    """

    ticker: str
    client_order_id: str
    side: BookSide
    count_cx: CountCx = field(name="count")
    yes_price_cc: PriceCc = field(name="price")
    exchange_index: int
    time_in_force: str = GOOD_TILL_CANCELED
    self_trade_prevention_type: str = TAKER_AT_CROSS
    expiration_s: int | None = field(default=None, name="expiration_time")
    post_only: bool | None = None
    reduce_only: bool | None = None
    cancel_order_on_pause: bool | None = None
    order_group_id: str | None = None
    subaccount: int | None = None


class CancelOrder(Body, frozen=True, kw_only=True):
    """One order to cancel. An id alone does not find its shard, so both market and shard are named."""

    order_id: str
    market_ticker: str
    exchange_index: int
    subaccount: int | None = None


class AmendOrder(Body, frozen=True, kw_only=True):
    """What an order shall become.

    Args:
        count_cx: Already filled plus what shall rest.
        expiration_s: Unix seconds; None keeps it, 0 takes it away.
    """

    ticker: str
    side: BookSide
    yes_price_cc: PriceCc = field(name="price")
    count_cx: CountCx = field(name="count")
    exchange_index: int
    client_order_id: str | None = None
    updated_client_order_id: str | None = None
    expiration_s: int | None = field(default=None, name="expiration_time")


class DecreaseOrder(Body, frozen=True, kw_only=True):
    """How far an order shall shrink: by, or to; exactly one of them."""

    reduce_by_cx: CountCx | None = field(default=None, name="reduce_by")
    reduce_to_cx: CountCx | None = field(default=None, name="reduce_to")
    market_ticker: str
    exchange_index: int


class Placed(Body, frozen=True, kw_only=True):
    """The venue took the order; whether anything rests is in `remaining_count_cx` (C16).

    The averages are per contract and come only with fills; `engine_us` is the engine's time.
    """

    order_id: str
    client_order_id: str | None = None
    fill_count_cx: CountCx = field(name="fill_count")
    remaining_count_cx: CountCx = field(name="remaining_count")
    average_fill_price_ud: DollarsUd | None = field(default=None, name="average_fill_price")
    average_fee_ud: DollarsUd | None = field(default=None, name="average_fee_paid")
    engine_us: MillisUs | None = field(default=None, name="ts_ms")


class Cancelled(Body, frozen=True, kw_only=True):
    order_id: str
    client_order_id: str | None = None
    reduced_by_cx: CountCx = field(name="reduced_by")
    engine_us: MillisUs | None = field(default=None, name="ts_ms")


class Amended(Body, frozen=True, kw_only=True):
    """`fill_count_cx` counts only what this amend itself made fill."""

    order_id: str
    client_order_id: str | None = None
    remaining_count_cx: CountCx | None = field(default=None, name="remaining_count")
    fill_count_cx: CountCx | None = field(default=None, name="fill_count")
    average_fill_price_ud: DollarsUd | None = field(default=None, name="average_fill_price")
    average_fee_ud: DollarsUd | None = field(default=None, name="average_fee_paid")
    engine_us: MillisUs | None = field(default=None, name="ts_ms")


class Decreased(Body, frozen=True, kw_only=True):
    order_id: str
    client_order_id: str | None = None
    remaining_count_cx: CountCx = field(name="remaining_count")
    engine_us: MillisUs | None = field(default=None, name="ts_ms")


class BatchEntry(Body, frozen=True, kw_only=True):
    """Head of one answer of a batch, which says of which order it speaks and whether it went wrong."""

    order_id: str | None = None
    client_order_id: str | None = None
    error: dict[str, Any] | None = None


class GroupCreated(Body, frozen=True, kw_only=True):
    order_group_id: str
    subaccount: int | None = None
    exchange_index: int | None = None


class GroupListed(Body, frozen=True, kw_only=True):
    """A group that was triggered has auto-cancel disabled until it is reset."""

    id: str
    contracts_limit_cx: CountCx | None = field(default=None, name="contracts_limit_fp")
    is_auto_cancel_enabled: bool
    exchange_index: int | None = None


class Group(Body, frozen=True, kw_only=True):
    is_auto_cancel_enabled: bool
    contracts_limit_cx: CountCx | None = field(default=None, name="contracts_limit_fp")
    order_ids: tuple[str, ...] = field(name="orders")
    exchange_index: int | None = None
