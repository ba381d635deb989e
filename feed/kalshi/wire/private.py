"""Bodies of private frames and of an event's life, typed as they come; read on demand from a frame's raw `msg`.

Only what a reader cannot do without is required. Source: asyncapi.yaml 3.34; facts.md section 12.7.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from feed.kalshi.wire.frames import MarketTicker, Millis, TradeId

OutcomeSide = Literal["yes", "no"]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Small = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]  # shards, subaccounts


class FillMsg(msgspec.Struct, frozen=True):
    trade_id: TradeId
    order_id: Id
    market_ticker: MarketTicker
    outcome_side: OutcomeSide
    yes_price_dollars: str
    count_fp: str
    is_taker: bool
    fee_cost: str | None = None
    post_position_fp: str | None = None
    client_order_id: str | None = None
    exchange_index: Small | None = None
    subaccount: Small | None = None
    ts_ms: Millis | None = None


class OrderMsg(msgspec.Struct, frozen=True):
    """`ticker` and `subaccount_number` here, `market_ticker` and `subaccount` on fills."""

    order_id: Id
    ticker: MarketTicker
    status: str
    outcome_side: OutcomeSide
    yes_price_dollars: str
    initial_count_fp: str
    fill_count_fp: str
    remaining_count_fp: str
    taker_fees_dollars: str | None = None
    maker_fees_dollars: str | None = None
    client_order_id: str | None = None
    order_group_id: str | None = None
    last_update_reason: str | None = None
    exchange_index: Small | None = None
    subaccount_number: Small | None = None
    created_ts_ms: Millis | None = None
    last_updated_ts_ms: Millis | None = None
    expiration_ts_ms: Millis | None = None


class PositionMsg(msgspec.Struct, frozen=True):
    market_ticker: MarketTicker
    position_fp: str
    position_cost_dollars: str | None = None
    realized_pnl_dollars: str | None = None
    fees_paid_dollars: str | None = None
    volume_fp: str | None = None
    subaccount: Small | None = None


class GroupMsg(msgspec.Struct, frozen=True):
    order_group_id: Id
    event_type: str
    contracts_limit_fp: str | None = None
    ts_ms: Millis | None = None


class EventMsg(msgspec.Struct, frozen=True):
    event_ticker: Id
    series_ticker: str = ""
    exchange_index: Small | None = None


class EventFeeMsg(msgspec.Struct, frozen=True):
    """The multiplier is a JSON number: kept as its text."""

    event_ticker: Id
    fee_type_override: str | None = None
    fee_multiplier_override: msgspec.Raw = msgspec.Raw(b"null")


decode_fill = msgspec.json.Decoder(FillMsg).decode
decode_order = msgspec.json.Decoder(OrderMsg).decode
decode_position = msgspec.json.Decoder(PositionMsg).decode
decode_group = msgspec.json.Decoder(GroupMsg).decode
decode_event = msgspec.json.Decoder(EventMsg).decode
decode_event_fee = msgspec.json.Decoder(EventFeeMsg).decode
