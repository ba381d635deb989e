"""What the exchange lists: series, events and the terms of each market.

Prices are centi-cents, times microseconds since 1970 UTC. These are facts of the listing; what changes while a
market trades is in `market.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC

PRICE_STRUCTURES: dict[str, PriceGrid] = {
    "linear_cent": CENT_GRID,
    "tapered_deci_cent": TAPERED_DECI_CENT_GRID,
    "deci_cent": PriceGrid([PriceRange(0, DOLLAR_CC, 10)]),
}

SHARD_DEFAULT = 0
SHARD_CRYPTO = 2
SHARDS = {0: "Default", 1: "Exotics", 2: "Crypto and commodities", 3: "Tennis, baseball, basketball"}


class FeeTerms(msgspec.Struct, frozen=True):
    """How a fill is charged; the multiplier in basis points (10 000 = 1)."""

    fee_type: str
    multiplier_bps: int


class Series(msgspec.Struct, frozen=True):
    """A template of events. `fee_multiplier_bps` is the multiplier in basis points (10 000 = 1)."""

    ticker: str
    title: str
    category: str
    tags: tuple[str, ...]
    frequency: str
    source: tuple[str, str]
    fee_type: str = "quadratic"
    fee_multiplier_bps: int = 10_000
    exchange_index: int = SHARD_DEFAULT

    @property
    def fees(self) -> FeeTerms:
        return FeeTerms(self.fee_type, self.fee_multiplier_bps)


class Event(msgspec.Struct, frozen=True):
    """One occasion with its markets; `collateral_return_type` is MECNET, DIRECNET or empty.

    `fee_override` stands before the fees of the series; None is without.
    """

    ticker: str
    series_ticker: str
    title: str
    sub_title: str
    collateral_return_type: str
    strike_us: int
    created_us: int
    exchange_index: int = SHARD_DEFAULT
    fee_override: FeeTerms | None = None

    @property
    def is_mutually_exclusive(self) -> bool:
        return self.collateral_return_type == "MECNET"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a market is about and when it trades."""

    ticker: str
    market_id: str
    event_ticker: str
    title: str
    yes_sub_title: str
    no_sub_title: str
    rules_primary: str
    rules_secondary: str
    created_us: int
    open_us: int
    close_us: int
    expected_expiration_us: int
    latest_expiration_us: int
    settlement_timer_s: int
    structure: str
    strike: dict[str, Any] = {}
    exchange_index: int = SHARD_DEFAULT
    fee_waiver_until_us: int | None = None

    @property
    def grid(self) -> PriceGrid:
        return PRICE_STRUCTURES[self.structure]


class Program(msgspec.Struct, frozen=True):
    """A liquidity incentive; `period_reward_cc` is the pool of the whole period in centi-cents."""

    program_id: str
    market_id: str
    market_ticker: str
    description: str
    start_us: int
    end_us: int
    period_reward_cc: int
    target_size_cx: int
    discount_bps: int
    paid_us: int

    def status(self, now_us: int) -> str:
        if now_us < self.start_us:
            return "upcoming"
        if now_us < self.end_us:
            return "active"
        return "paid_out" if now_us >= self.paid_us else "closed"
