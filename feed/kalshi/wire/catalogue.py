"""What is listed: series, events, milestones, structured targets, fee changes, incentive programs.

Source: openapi.yaml 3.34; facts.md sections 5.1, 7.2 and 9.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import CountCx, Number, TimeUs
from feed.kalshi.wire.markets import Market


class SettlementSource(Body, frozen=True, kw_only=True):
    name: str | None = None
    url: str | None = None


class Series(Body, frozen=True, kw_only=True):
    """The template of events; its fees hold unless an event overrides them."""

    ticker: str
    title: str = ""
    category: str = ""
    categories: tuple[str, ...] = ()
    frequency: str = ""
    tags: tuple[str, ...] = ()
    fee_type: str | None = None
    fee_multiplier: Number | None = None
    exchange_index: int | None = None
    settlement_sources: tuple[SettlementSource, ...] = ()
    contract_url: str | None = None
    contract_terms_url: str | None = None
    product_metadata: dict[str, Any] | None = None
    additional_prohibitions: tuple[str, ...] = ()
    volume_cx: CountCx | None = field(default=None, name="volume_fp")
    last_updated_us: TimeUs | None = field(default=None, name="last_updated_ts")


class SeriesFeeChange(Body, frozen=True, kw_only=True):
    id: str
    series_ticker: str
    fee_type: str
    fee_multiplier: Number
    scheduled_us: TimeUs = field(name="scheduled_ts")


class Event(Body, frozen=True, kw_only=True):
    """`collateral_return_type` is `MECNET`, `DIRECNET` or empty; a fee override has both parts or neither."""

    event_ticker: str
    series_ticker: str
    title: str = ""
    sub_title: str = ""
    category: str | None = None
    collateral_return_type: str | None = None
    mutually_exclusive: bool | None = None
    strike_date_us: TimeUs | None = field(default=None, name="strike_date")
    strike_period: str | None = None
    markets: tuple[Market, ...] = ()
    product_metadata: dict[str, Any] | None = None
    settlement_sources: tuple[SettlementSource, ...] = ()
    fee_type_override: str | None = None
    fee_multiplier_override: Number | None = None
    exchange_index: int | None = None
    last_updated_us: TimeUs | None = field(default=None, name="last_updated_ts")


class EventFeeChange(Body, frozen=True, kw_only=True):
    """None for the multiplier and an empty type take the override away."""

    id: str
    event_ticker: str
    series_ticker: str
    fee_type_override: str | None = None
    fee_multiplier_override: Number | None = None
    scheduled_us: TimeUs = field(name="scheduled_ts")


class MarketMetadata(Body, frozen=True, kw_only=True):
    market_ticker: str
    image_url: str | None = None
    color_code: str | None = None


class EventMetadata(Body, frozen=True, kw_only=True):
    image_url: str | None = None
    featured_image_url: str | None = None
    market_details: tuple[MarketMetadata, ...] = ()
    settlement_sources: tuple[SettlementSource, ...] = ()
    competition: str | None = None
    competition_scope: str | None = None


class Milestone(Body, frozen=True, kw_only=True):
    """Something that happens in the world, such as a game, and the events that hang on it."""

    id: str
    category: str
    type: str
    start_us: TimeUs = field(name="start_date")
    end_us: TimeUs | None = field(default=None, name="end_date")
    title: str = ""
    notification_message: str = ""
    related_event_tickers: tuple[str, ...] = ()
    primary_event_tickers: tuple[str, ...] = ()
    source_id: str | None = None
    source_ids: dict[str, Any] | None = None
    details: dict[str, Any] | None = None
    last_updated_us: TimeUs | None = field(default=None, name="last_updated_ts")


class StructuredTarget(Body, frozen=True, kw_only=True):
    id: str
    name: str = ""
    type: str = ""
    details: dict[str, Any] | None = None
    source_id: str | None = None
    source_ids: dict[str, Any] | None = None
    last_updated_us: TimeUs | None = field(default=None, name="last_updated_ts")


class IncentiveProgram(Body, frozen=True, kw_only=True):
    """A pool of `period_reward_cc` for one market from start to end; money is in centi-cents as the venue has it."""

    id: str
    market_ticker: str
    market_id: str | None = None
    incentive_type: str
    incentive_description: str | None = None
    start_us: TimeUs = field(name="start_date")
    end_us: TimeUs = field(name="end_date")
    period_reward_cc: int = field(name="period_reward")
    paid_out: bool = False
    discount_factor_bps: int | None = None
    target_size_cx: CountCx | None = field(default=None, name="target_size_fp")
    max_reward_per_account_cc: int | None = field(default=None, name="max_reward_per_account")
