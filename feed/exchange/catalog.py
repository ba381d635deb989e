"""What the exchange lists: series, events and the terms of each market.

Prices are centi-cents, times microseconds since 1970 UTC. These are facts of the listing; what changes while a
market trades is in `market.py`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from markets.core.grid import CENT_GRID, TAPERED_DECI_CENT_GRID, PriceGrid, PriceRange
from markets.core.units import DOLLAR_CC


def _tapered(edge_cc: int, centre_cc: int, *, band_cc: int = 1_000) -> PriceGrid:
    """Return a grid with steps of `edge_cc` within `band_cc` of 0 and $1, and of `centre_cc` between."""
    high = DOLLAR_CC - band_cc
    bands = ((0, band_cc, edge_cc), (band_cc, high, centre_cc), (high, DOLLAR_CC, edge_cc))
    return PriceGrid([PriceRange(*band) for band in bands])


def _even(step_cc: int) -> PriceGrid:
    return PriceGrid([PriceRange(0, DOLLAR_CC, step_cc)])


# facts.md 5.5, October 2026.
PRICE_STRUCTURES: dict[str, PriceGrid] = {
    "linear_cent": CENT_GRID,
    "deci_cent": _even(10),
    "tapered_deci_cent": TAPERED_DECI_CENT_GRID,
    "center_whole_edge_half_cent": _tapered(50, 100),
    "center_whole_edge_quint_cent": _tapered(20, 100),
    "center_half_edge_half_cent": _even(50),
    "center_half_edge_quint_cent": _tapered(20, 50),
    "center_half_edge_deci_cent": _tapered(10, 50),
    "center_quint_edge_quint_cent": _even(20),
    "center_quint_edge_deci_cent": _tapered(10, 20),
    "center_centi_edge_centi_cent": _even(1),
    "center_deci_edge_centi_cent": _tapered(1, 10, band_cc=100),  # all combo markets
}

SECOND_US = 1_000_000
LIQUIDITY = "liquidity"
INCENTIVE_TYPES = (LIQUIDITY, "volume", "margin_maker_volume", "margin_taker_volume")

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


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """An incentive; rewards in centi-cents, `period_reward_cc` being the pool of the whole period.

    A liquidity program without target or discount cannot be scored and pays nobody. A volume program has neither.

    Raises:
        ValueError: A field that no program of the venue could have; the message begins with its name.
    """

    program_id: str
    market_id: str
    market_ticker: str
    description: str
    start_us: int
    end_us: int
    paid_us: int
    period_reward_cc: int
    incentive_type: str = LIQUIDITY
    target_size_cx: int | None = None
    discount_bps: int | None = None
    max_reward_cc: int | None = None

    def __post_init__(self) -> None:
        if self.start_us % SECOND_US or self.end_us % SECOND_US:
            raise ValueError("start_date: the period begins and ends on whole seconds")
        if self.end_us <= self.start_us:
            raise ValueError("end_date: the period ends after it has begun")
        if self.paid_us < self.end_us:
            raise ValueError("paid: a program is paid after its end")
        if self.incentive_type not in INCENTIVE_TYPES:
            raise ValueError(f"incentive_type: expected one of {', '.join(INCENTIVE_TYPES)}")
        if self.period_reward_cc < 0:
            raise ValueError("period_reward: expected 0 or more centi-cents")
        if self.target_size_cx is not None and self.target_size_cx <= 0:
            raise ValueError("target_size_fp: expected more than 0")
        if self.discount_bps is not None and not 0 <= self.discount_bps <= 10_000:
            raise ValueError("discount_factor_bps: expected 0 to 10000")
        if self.max_reward_cc is not None and self.max_reward_cc < 0:
            raise ValueError("max_reward_per_account: expected 0 or more centi-cents")

    @property
    def seconds(self) -> int:
        """The snapshots of the period: one each second, whatever the market does."""
        return (self.end_us - self.start_us) // SECOND_US

    def status(self, now_us: int) -> str:
        if now_us < self.start_us:
            return "upcoming"
        if now_us < self.end_us:
            return "active"
        return "paid_out" if now_us >= self.paid_us else "closed"
