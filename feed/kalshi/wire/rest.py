"""REST bodies of the catalogue, typed as they come. Unknown fields are ignored, absent ones have defaults.

Source: openapi.yaml 3.34; facts.md sections 5 and 7.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class PriceRangeBody(msgspec.Struct, frozen=True):
    start: str
    end: str
    step: str


class MarketBody(msgspec.Struct, frozen=True):
    ticker: str
    event_ticker: str
    status: str
    open_time: datetime
    close_time: datetime
    price_ranges: list[PriceRangeBody]
    yes_sub_title: str = ""
    result: str = ""
    exchange_index: int = 0


class EventBody(msgspec.Struct, frozen=True):
    event_ticker: str
    series_ticker: str
    title: str = ""
    sub_title: str = ""
    mutually_exclusive: bool = False
    exchange_index: int = 0
    markets: list[MarketBody] | None = None


class EventsPage(msgspec.Struct, frozen=True):
    events: list[EventBody]
    cursor: str | None = None


class MarketsPage(msgspec.Struct, frozen=True):
    markets: list[MarketBody]
    cursor: str | None = None


class SeriesBody(msgspec.Struct, frozen=True):
    """`fee_multiplier` is a JSON number; kept as its text."""

    ticker: str
    title: str = ""
    category: str = ""
    frequency: str = ""
    fee_type: str = ""
    fee_multiplier: msgspec.Raw = msgspec.Raw(b'""')


class SeriesAnswer(msgspec.Struct, frozen=True):
    series: SeriesBody


class SeriesList(msgspec.Struct, frozen=True):
    series: list[SeriesBody]


class ProgramBody(msgspec.Struct, frozen=True):
    """`period_reward` is in centi-cents."""

    id: str
    market_ticker: str
    incentive_type: str
    start_date: datetime
    end_date: datetime
    period_reward: int
    paid_out: bool = False
    discount_factor_bps: int | None = None
    target_size_fp: str | None = None


class ProgramsPage(msgspec.Struct, frozen=True):
    """The only list whose cursor is called `next_cursor`."""

    incentive_programs: list[ProgramBody]
    next_cursor: str | None = None


class ErrorBody(msgspec.Struct, frozen=True):
    """All shapes an error takes: nested, flat, bare, and a plain string."""

    error: msgspec.Raw = msgspec.Raw(b"null")
    code: str | int | None = None
    message: str | None = None
    msg: str | None = None
    details: str | None = None


class NestedError(msgspec.Struct, frozen=True):
    code: str | int = ""
    message: str = ""
    details: str | None = None
