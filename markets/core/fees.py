"""What the venue charges for a fill: a model fee of price and size, rounded in a way that changed over time.

    terms = FeeTerms.resolve(series, override, waived_until_us=market.fee_waiver_expiration_us)
    predicted_fee_ud(terms, is_taker=False, price_cc=4200, count_cx=1000, at_us=now_us)     for a plan
    charge = charged_fee(terms, order_rounding, is_taker=..., price_cc=..., count_cx=..., at_us=...)
    charge.fee_ud                the `fee_cost` of the fill, in micro-dollars
    charge.rounding              what the order's next fill starts from

None everywhere means that the fee is unknown (`flat` and types of tomorrow), never that it is free. What a fill
reports wins over what is computed here.

`price_cc` is the fill's price on our own side's ladder, `count_cx` hundredths of a contract.
Source: facts.md section 9 and incentives.md section 10 (fee-rounding page of October 2026).
"""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import msgspec

from markets.core.units import CONTRACT_CX, DOLLAR_CC, DOLLAR_UD

BPS = 10_000
CENT_UD = 10_000
DIRECT_PRECISION_UD = 100  # $0.0001: members who connect themselves
INDIRECT_PRECISION_UD = 10_000  # $0.01: through a broker

# (taker, maker) in hundredths of a percent of C × P × (1 − P) dollars.
COEFFICIENTS_BPS = {
    "quadratic": (700, 0),
    "quadratic_with_maker_fees": (700, 175),
    "quadratic_with_combo_maker_fees": (700, 350),
}


class FeeSchedule(msgspec.Struct, frozen=True):
    """What a series or an event says of its fees; the multiplier in hundredths of a percent (0.5 is 5000)."""

    fee_type: str
    multiplier_bps: int

    @classmethod
    def parse(cls, fee_type: str, multiplier: str) -> FeeSchedule | None:
        """Return the schedule of the venue's words; None when there is none, or its multiplier is finer than we count.

        Args:
            multiplier: A decimal, such as `1` or `0.5`.
        """
        try:
            exact_bps = Fraction(multiplier) * BPS
        except (ValueError, ZeroDivisionError):
            return None
        if not fee_type or exact_bps.denominator != 1 or exact_bps < 0:
            return None
        return cls(fee_type, int(exact_bps))


class FeeTerms(msgspec.Struct, frozen=True):
    """How a market's fills are charged; up to `waived_until_us` they are not."""

    schedule: FeeSchedule
    waived_until_us: int | None = None

    @classmethod
    def resolve(
        cls, series: FeeSchedule, override: FeeSchedule | None = None, *, waived_until_us: int | None = None
    ) -> FeeTerms:
        """Return the terms of a market: an event's override wins over its series, whole."""
        return cls(override or series, waived_until_us)

    def coefficient_bps(self, *, is_taker: bool) -> int | None:
        coefficients = COEFFICIENTS_BPS.get(self.schedule.fee_type)
        return None if coefficients is None else coefficients[0 if is_taker else 1]


class Generation(msgspec.Struct, frozen=True):
    """A generation of the rounding: what a trade fee is rounded up to, and how gathered rounding is given back."""

    name: str
    trade_fee_unit_ud: int
    rebates_whole_cents: bool

    def due_ud(self, gathered_ud: int, precision_ud: int) -> int:
        """Return what of the gathered rounding is given back, before the fee bounds it.

        Whole units of the account's precision now; whole cents before, and only out of more than a cent.
        """
        if self.rebates_whole_cents:
            return max(0, gathered_ud - 1) // CENT_UD * CENT_UD
        return gathered_ud // precision_ud * precision_ud


COARSE = Generation("1e-4", 100, rebates_whole_cents=True)
FINE = Generation("1e-6", 1, rebates_whole_cents=False)
# Nobody published the day. A fill of 2026-08-18 is rounded the coarse way, documents of October describe the fine one.
FINE_SINCE_US = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 1_000_000


def generation_at(at_us: int) -> Generation:
    """Return the rounding in force at a time."""
    return FINE if at_us >= FINE_SINCE_US else COARSE


class OrderRounding(msgspec.Struct, frozen=True):
    """Rounding an order has paid and not had back yet, over all its fills, taker and maker."""

    gathered_ud: int = 0


class Charge(msgspec.Struct, frozen=True):
    """One fill's fee, in micro-dollars, and how it came about.

    Attributes:
        fee_ud: What is paid: trade fee + rounding fee − rebate, never negative.
        trade_fee_ud: The model's fee, rounded up.
        rounding_fee_ud: What brings the change of balance down to the account's precision.
        rebate_ud: Gathered rounding given back, in whole units of that precision (before October 2026, whole cents).
        rounding: The state after this fill.
    """

    fee_ud: int
    trade_fee_ud: int
    rounding_fee_ud: int
    rebate_ud: int
    rounding: OrderRounding


def model_fee_ud(terms: FeeTerms, *, is_taker: bool, price_cc: int, count_cx: int, at_us: int) -> Fraction | None:
    """Return the fee before any rounding, exactly; None when it is unknown."""
    coefficient_bps = terms.coefficient_bps(is_taker=is_taker)
    if coefficient_bps is None:
        return None
    if terms.waived_until_us is not None and at_us < terms.waived_until_us:
        return Fraction(0)
    rate = Fraction(coefficient_bps * terms.schedule.multiplier_bps, BPS * BPS)
    variance = Fraction(price_cc * (DOLLAR_CC - price_cc), DOLLAR_CC * DOLLAR_CC)
    return rate * variance * count_cx * DOLLAR_UD / CONTRACT_CX


def charged_fee(
    terms: FeeTerms,
    rounding: OrderRounding,
    *,
    is_taker: bool,
    price_cc: int,
    count_cx: int,
    at_us: int,
    precision_ud: int = DIRECT_PRECISION_UD,
    generation: Generation | None = None,
) -> Charge | None:
    """Return what a fill is charged; None when the fee is unknown.

    Args:
        rounding: That of the order so far; `OrderRounding()` for its first fill.
        at_us: When it filled: decides about a waiver, and about the generation unless one is given.
        precision_ud: The account's: DIRECT_PRECISION_UD or INDIRECT_PRECISION_UD.
    """
    model_ud = model_fee_ud(terms, is_taker=is_taker, price_cc=price_cc, count_cx=count_cx, at_us=at_us)
    if model_ud is None:
        return None
    rule = generation or generation_at(at_us)
    unit_ud = rule.trade_fee_unit_ud
    trade_fee_ud = -int(-model_ud // unit_ud) * unit_ud
    # A fill that closes has $1 a contract more of revenue: whole cents, which no precision sees.
    revenue_ud = -price_cc * count_cx
    rounding_fee_ud = (revenue_ud - trade_fee_ud) % precision_ud
    gathered_ud = rounding.gathered_ud + rounding_fee_ud
    due_ud = trade_fee_ud + rounding_fee_ud
    step_ud = CENT_UD if rule.rebates_whole_cents else precision_ud
    rebate_ud = min(rule.due_ud(gathered_ud, precision_ud), due_ud // step_ud * step_ud)
    return Charge(
        fee_ud=due_ud - rebate_ud,
        trade_fee_ud=trade_fee_ud,
        rounding_fee_ud=rounding_fee_ud,
        rebate_ud=rebate_ud,
        rounding=OrderRounding(gathered_ud - rebate_ud),
    )


def predicted_fee_ud(
    terms: FeeTerms,
    *,
    is_taker: bool,
    price_cc: int,
    count_cx: int,
    at_us: int,
    precision_ud: int = DIRECT_PRECISION_UD,
) -> int | None:
    """Return what an order would be charged that fills whole in one match; None when it is unknown.

    Several matches may cost up to one unit of the trade fee more each: their rounding to the account's precision
    comes back through the rebate, that of the model's fee does not.
    """
    charge = charged_fee(
        terms,
        OrderRounding(),
        is_taker=is_taker,
        price_cc=price_cc,
        count_cx=count_cx,
        at_us=at_us,
        precision_ud=precision_ud,
    )
    return None if charge is None else charge.fee_ud
