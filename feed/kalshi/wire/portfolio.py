"""What an account has: balance, positions, orders, queue positions, fills, settlements.

Source: openapi.yaml 3.34; facts.md sections 7.3, 8 and 9.
"""

from __future__ import annotations

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import (
    BookSide,
    CentsCc,
    CentsUd,
    CountCx,
    DollarsUd,
    OutcomeSide,
    PriceCc,
    SecondsUs,
    TimeUs,
)


class ShardBalance(Body, frozen=True, kw_only=True):
    exchange_index: int
    balance_ud: DollarsUd = field(name="balance")


class Balance(Body, frozen=True, kw_only=True):
    """`balance_floor_ud` is cut to whole cents by the venue; `balance_ud` is what there is."""

    balance_ud: DollarsUd = field(name="balance_dollars")
    balance_floor_ud: CentsUd | None = field(default=None, name="balance")
    portfolio_value_ud: CentsUd | None = field(default=None, name="portfolio_value")
    updated_us: SecondsUs | None = field(default=None, name="updated_ts")
    by_shard: tuple[ShardBalance, ...] = field(default=(), name="balance_breakdown")


class RestingValue(Body, frozen=True, kw_only=True):
    """What the resting orders bind, per shard; the total is in cents at the venue."""

    total_ud: CentsUd = field(name="total_resting_order_value")
    by_shard: tuple[ShardBalance, ...] = field(default=(), name="resting_order_value_breakdown")


class MarketPosition(Body, frozen=True, kw_only=True):
    """One signed net position: positive holds YES, negative NO."""

    ticker: str
    exchange_index: int | None = None
    position_cx: CountCx = field(name="position_fp")
    exposure_ud: DollarsUd | None = field(default=None, name="market_exposure_dollars")
    total_traded_ud: DollarsUd | None = field(default=None, name="total_traded_dollars")
    realized_pnl_ud: DollarsUd | None = field(default=None, name="realized_pnl_dollars")
    fees_paid_ud: DollarsUd | None = field(default=None, name="fees_paid_dollars")
    last_updated_us: TimeUs | None = field(default=None, name="last_updated_ts")


class EventPosition(Body, frozen=True, kw_only=True):
    event_ticker: str
    total_cost_ud: DollarsUd | None = field(default=None, name="total_cost_dollars")
    total_cost_shares_cx: CountCx | None = field(default=None, name="total_cost_shares_fp")
    exposure_ud: DollarsUd | None = field(default=None, name="event_exposure_dollars")
    realized_pnl_ud: DollarsUd | None = field(default=None, name="realized_pnl_dollars")
    fees_paid_ud: DollarsUd | None = field(default=None, name="fees_paid_dollars")


class Order(Body, frozen=True, kw_only=True):
    """An order as the read model shows it, which lags the engine.

    `status` is `resting`, `canceled` or `executed`; any other word means that its state is unknown. Prices are YES
    and NO prices; costs of a NO order are NO-side costs. `side`, `action` and `type` are old words still sent.
    """

    order_id: str
    ticker: str
    status: str
    outcome_side: OutcomeSide
    book_side: BookSide | None = None
    client_order_id: str | None = None
    user_id: str | None = None
    yes_price_cc: PriceCc = field(name="yes_price_dollars")
    no_price_cc: PriceCc | None = field(default=None, name="no_price_dollars")
    initial_count_cx: CountCx = field(name="initial_count_fp")
    fill_count_cx: CountCx = field(name="fill_count_fp")
    remaining_count_cx: CountCx = field(name="remaining_count_fp")
    taker_fill_cost_ud: DollarsUd | None = field(default=None, name="taker_fill_cost_dollars")
    maker_fill_cost_ud: DollarsUd | None = field(default=None, name="maker_fill_cost_dollars")
    taker_fees_ud: DollarsUd | None = field(default=None, name="taker_fees_dollars")
    maker_fees_ud: DollarsUd | None = field(default=None, name="maker_fees_dollars")
    expiration_us: TimeUs | None = field(default=None, name="expiration_time")
    created_us: TimeUs | None = field(default=None, name="created_time")
    last_update_us: TimeUs | None = field(default=None, name="last_update_time")
    self_trade_prevention_type: str | None = None
    order_group_id: str | None = None
    cancel_order_on_pause: bool | None = None
    subaccount: int | None = field(default=None, name="subaccount_number")
    exchange_index: int | None = None
    type: str | None = None
    side: str | None = None
    action: str | None = None


class QueuePosition(Body, frozen=True, kw_only=True):
    """Contracts ahead of an order; 0 is the first in line."""

    order_id: str
    market_ticker: str
    ahead_cx: CountCx = field(name="queue_position_fp")


class OneQueuePosition(Body, frozen=True, kw_only=True):
    ahead_cx: CountCx = field(name="queue_position_fp")


class Fill(Body, frozen=True, kw_only=True):
    """One match of an order. REST fills name no client order id; `fill_id` and `trade_id` are one."""

    trade_id: str
    order_id: str
    ticker: str
    outcome_side: OutcomeSide
    count_cx: CountCx = field(name="count_fp")
    yes_price_cc: PriceCc = field(name="yes_price_dollars")
    no_price_cc: PriceCc | None = field(default=None, name="no_price_dollars")
    is_taker: bool
    fee_ud: DollarsUd = field(name="fee_cost")
    fill_id: str | None = None
    market_ticker: str | None = None
    book_side: BookSide | None = None
    exchange_index: int | None = None
    created_us: TimeUs | None = field(default=None, name="created_time")
    second_us: SecondsUs | None = field(default=None, name="ts")
    subaccount: int | None = field(default=None, name="subaccount_number")
    side: str | None = None
    action: str | None = None


class Settlement(Body, frozen=True, kw_only=True):
    """What a market paid. `value_cc` is the worth of one YES contract; revenue is in whole cents at the venue."""

    ticker: str
    event_ticker: str | None = None
    exchange_index: int | None = None
    market_result: str
    yes_count_cx: CountCx = field(name="yes_count_fp")
    yes_total_cost_ud: DollarsUd = field(name="yes_total_cost_dollars")
    no_count_cx: CountCx = field(name="no_count_fp")
    no_total_cost_ud: DollarsUd = field(name="no_total_cost_dollars")
    revenue_ud: CentsUd = field(name="revenue")
    fee_ud: DollarsUd = field(name="fee_cost")
    value_cc: CentsCc | None = field(default=None, name="value")
    settled_us: TimeUs = field(name="settled_time")
