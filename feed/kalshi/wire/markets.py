"""Markets, their books, trades and candles.

Source: openapi.yaml 3.34; facts.md sections 5.2, 6 and 7.2.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import (
    BookSide,
    CountCx,
    DollarsUd,
    Kind,
    Number,
    OutcomeSide,
    PriceCc,
    SecondsUs,
    TimeUs,
    as_text,
    shown,
)
from markets.core.units import format_count, format_price, parse_count, parse_price


class PriceRange(Body, frozen=True, kw_only=True):
    start_cc: PriceCc = field(name="start")
    end_cc: PriceCc = field(name="end")
    step_cc: PriceCc = field(name="step")


class ComboLeg(Body, frozen=True, kw_only=True):
    event_ticker: str | None = None
    market_ticker: str | None = None
    side: str | None = None
    yes_settlement_value_ud: DollarsUd | None = field(default=None, name="yes_settlement_value_dollars")


class Market(Body, frozen=True, kw_only=True):
    """One YES/NO question.

    Bids and asks are as sent: $0 and $1 with nothing behind them mean that nobody quotes, and the sizes tell.
    `updated_us` moves with descriptions, not with trading.
    """

    ticker: str
    event_ticker: str
    status: str
    open_us: TimeUs = field(name="open_time")
    close_us: TimeUs = field(name="close_time")
    price_ranges: tuple[PriceRange, ...]
    price_level_structure: str | None = None
    exchange_index: int | None = None
    market_type: str | None = None
    title: str = ""
    subtitle: str = ""
    yes_sub_title: str = ""
    no_sub_title: str = ""
    result: str = ""
    created_us: TimeUs | None = field(default=None, name="created_time")
    updated_us: TimeUs | None = field(default=None, name="updated_time")
    expected_expiration_us: TimeUs | None = field(default=None, name="expected_expiration_time")
    expiration_us: TimeUs | None = field(default=None, name="expiration_time")
    latest_expiration_us: TimeUs | None = field(default=None, name="latest_expiration_time")
    occurrence_us: TimeUs | None = field(default=None, name="occurrence_datetime")
    fee_waiver_expiration_us: TimeUs | None = field(default=None, name="fee_waiver_expiration_time")
    settlement_timer_s: int | None = field(default=None, name="settlement_timer_seconds")
    settlement_us: TimeUs | None = field(default=None, name="settlement_ts")
    settlement_value_ud: DollarsUd | None = field(default=None, name="settlement_value_dollars")
    settlement_bounds_type: str | None = None
    settlement_floor_ud: DollarsUd | None = field(default=None, name="settlement_floor_dollars")
    expiration_value: str = ""
    can_close_early: bool | None = None
    early_close_condition: str | None = None
    is_provisional: bool | None = None
    yes_bid_cc: PriceCc | None = field(default=None, name="yes_bid_dollars")
    yes_bid_size_cx: CountCx | None = field(default=None, name="yes_bid_size_fp")
    yes_ask_cc: PriceCc | None = field(default=None, name="yes_ask_dollars")
    yes_ask_size_cx: CountCx | None = field(default=None, name="yes_ask_size_fp")
    no_bid_cc: PriceCc | None = field(default=None, name="no_bid_dollars")
    no_ask_cc: PriceCc | None = field(default=None, name="no_ask_dollars")
    last_price_cc: PriceCc | None = field(default=None, name="last_price_dollars")
    previous_yes_bid_cc: PriceCc | None = field(default=None, name="previous_yes_bid_dollars")
    previous_yes_ask_cc: PriceCc | None = field(default=None, name="previous_yes_ask_dollars")
    previous_price_cc: PriceCc | None = field(default=None, name="previous_price_dollars")
    volume_cx: CountCx | None = field(default=None, name="volume_fp")
    volume_24h_cx: CountCx | None = field(default=None, name="volume_24h_fp")
    open_interest_cx: CountCx | None = field(default=None, name="open_interest_fp")
    notional_value_ud: DollarsUd | None = field(default=None, name="notional_value_dollars")
    strike_type: str | None = None
    floor_strike: Number | None = None
    cap_strike: Number | None = None
    functional_strike: str | None = None
    custom_strike: dict[str, Any] | None = None
    primary_participant_key: str | None = None
    rules_primary: str = ""
    rules_secondary: str = ""
    mve_collection_ticker: str | None = None
    mve_selected_legs: tuple[ComboLeg, ...] = ()


def _read_level(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"expected a price and a count, found {shown(value)}")
    return parse_price(as_text(value[0])), parse_count(as_text(value[1]))


def _write_level(level: tuple[int, int]) -> list[str]:
    return [format_price(level[0]), format_count(level[1])]


Level = Annotated[tuple[int, int], Kind(_read_level, _write_level)]


class OrderBook(Body, frozen=True, kw_only=True):
    """Bids of both sides, each at its own price: (price_cc, count_cx), in no promised order."""

    yes: tuple[Level, ...] = field(name="yes_dollars")
    no: tuple[Level, ...] = field(name="no_dollars")


class MarketOrderBook(Body, frozen=True, kw_only=True):
    ticker: str
    book: OrderBook = field(name="orderbook_fp")


class Trade(Body, frozen=True, kw_only=True):
    trade_id: str
    ticker: str
    count_cx: CountCx = field(name="count_fp")
    yes_price_cc: PriceCc = field(name="yes_price_dollars")
    no_price_cc: PriceCc | None = field(default=None, name="no_price_dollars")
    taker_outcome_side: OutcomeSide | None = None
    taker_book_side: BookSide | None = None
    created_us: TimeUs = field(name="created_time")
    is_block_trade: bool | None = None


class Quotes(Body, frozen=True, kw_only=True):
    """The way of a bid or an ask through a candle."""

    open_cc: PriceCc | None = field(default=None, name="open_dollars")
    low_cc: PriceCc | None = field(default=None, name="low_dollars")
    high_cc: PriceCc | None = field(default=None, name="high_dollars")
    close_cc: PriceCc | None = field(default=None, name="close_dollars")


class Prices(Quotes, frozen=True, kw_only=True):
    """The way of the trade price; None where nothing traded. The mean may be finer than a price."""

    mean_ud: DollarsUd | None = field(default=None, name="mean_dollars")
    previous_cc: PriceCc | None = field(default=None, name="previous_dollars")
    min_cc: PriceCc | None = field(default=None, name="min_dollars")
    max_cc: PriceCc | None = field(default=None, name="max_dollars")


class Candle(Body, frozen=True, kw_only=True):
    """One period, ending with (and including) `end_us`."""

    end_us: SecondsUs = field(name="end_period_ts")
    yes_bid: Quotes
    yes_ask: Quotes
    price: Prices
    volume_cx: CountCx | None = field(default=None, name="volume_fp")
    open_interest_cx: CountCx | None = field(default=None, name="open_interest_fp")


class MarketCandles(Body, frozen=True, kw_only=True):
    market_ticker: str
    candles: tuple[Candle, ...] = field(default=(), name="candlesticks")


class HistoricalQuotes(Body, frozen=True, kw_only=True):
    open_cc: PriceCc | None = field(default=None, name="open")
    low_cc: PriceCc | None = field(default=None, name="low")
    high_cc: PriceCc | None = field(default=None, name="high")
    close_cc: PriceCc | None = field(default=None, name="close")


class HistoricalPrices(HistoricalQuotes, frozen=True, kw_only=True):
    mean_ud: DollarsUd | None = field(default=None, name="mean")
    previous_cc: PriceCc | None = field(default=None, name="previous")


class HistoricalCandle(Body, frozen=True, kw_only=True):
    """A candle under the bare names of `/historical`."""

    end_us: SecondsUs = field(name="end_period_ts")
    yes_bid: HistoricalQuotes
    yes_ask: HistoricalQuotes
    price: HistoricalPrices
    volume_cx: CountCx | None = field(default=None, name="volume")
    open_interest_cx: CountCx | None = field(default=None, name="open_interest")


class HistoricalCutoff(Body, frozen=True, kw_only=True):
    """What is older than these stands in `/historical` alone; each moves by itself."""

    market_settled_us: TimeUs = field(name="market_settled_ts")
    trades_created_us: TimeUs = field(name="trades_created_ts")
    orders_updated_us: TimeUs = field(name="orders_updated_ts")
    positions_updated_us: TimeUs | None = field(default=None, name="market_positions_last_updated_ts")
