"""What a fill costs, exactly, in the venue's own rounding.

A reference written apart from `markets.core`, so that the two can be held against each other.

    model fee = 0.07 × m × C × P × (1 − P), for a maker times the share of the fee type
    trade fee = model fee, up to a unit
    change    = revenue − trade fee, down to the account's precision
    rounding  = (revenue − trade fee) − change, put by for the order, over all its fills
    rebate    = what the order has put by, in whole steps; at most so much that the fill costs nothing
    net fee   = trade fee + rounding − rebate

The rounding has two generations:

    generation   trade fee up to   rebates
    1e-6         $0.000001         whole steps of the account's precision
    1e-4         $0.0001           whole cents, once more than a cent is put by

Source: docs.kalshi.com "Fee Rounding", the text of October 2026 and the one it replaced; facts.md section 9.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from feed.exchange.catalog import FeeTerms
from markets.core.units import DOLLAR_CC, DOLLAR_UD

Generation = Literal["1e-6", "1e-4"]

DIRECT_UD = DOLLAR_UD // 10_000  # direct members hold $0.0001
CENT_UD = DOLLAR_UD // 100  # members through a broker hold cents
TRADE_FEE_UNIT_UD: dict[Generation, int] = {"1e-6": 1, "1e-4": 100}

TAKER_BPS = 700  # 0.07
MAKER_SHARE_BPS = {"quadratic": 0, "quadratic_with_maker_fees": 2_500, "quadratic_with_combo_maker_fees": 5_000}
BPS = 10_000


class Charge(msgspec.Struct, frozen=True):
    """The fee of one fill, and what the order has put by in rounding after it; micro-dollars."""

    fee_ud: int
    gathered_ud: int


def check(terms: FeeTerms) -> None:
    """Raise ValueError for terms nobody has published a formula for (such as `flat`), or a negative multiplier."""
    if terms.fee_type not in MAKER_SHARE_BPS:
        raise ValueError(f"fee_type: no formula is known for {terms.fee_type!r}, only for {', '.join(MAKER_SHARE_BPS)}")
    if terms.multiplier_bps < 0:
        raise ValueError(f"fee_multiplier: expected 0 or more, found {terms.multiplier_bps / BPS}")


def trade_fee_ud(
    terms: FeeTerms, *, is_taker: bool, yes_price_cc: int, count_cx: int, generation: Generation = "1e-6"
) -> int:
    """Return the model fee of a fill, rounded up to the unit of the generation; micro-dollars.

    Raises:
        ValueError: The fee type has no known formula.
    """
    check(terms)
    share_bps = BPS if is_taker else MAKER_SHARE_BPS[terms.fee_type]
    top = TAKER_BPS * terms.multiplier_bps * share_bps * count_cx * yes_price_cc * (DOLLAR_CC - yes_price_cc)
    # count_cx × price_cc is micro-dollars; the second price and the three rates are fractions.
    unit = TRADE_FEE_UNIT_UD[generation]
    return -(-top // (BPS * BPS * BPS * DOLLAR_CC * unit)) * unit


def charge(
    *,
    revenue_ud: int,
    trade_fee_ud: int,
    gathered_ud: int,
    precision_ud: int = DIRECT_UD,
    generation: Generation = "1e-6",
) -> Charge:
    """Return the net fee of a fill.

    Args:
        revenue_ud: Its cash effect before fees; negative when paying.
        gathered_ud: What the order has put by before this fill.
        precision_ud: What the account's balance is kept to.
    """
    exact = revenue_ud - trade_fee_ud
    change = exact // precision_ud * precision_ud
    rounding = exact - change
    gathered = gathered_ud + rounding
    step = precision_ud if generation == "1e-6" else CENT_UD
    rebate = min(_due_ud(gathered, step, generation), (trade_fee_ud + rounding) // step * step)
    return Charge(trade_fee_ud + rounding - rebate, gathered - rebate)


def _due_ud(gathered_ud: int, step_ud: int, generation: Generation) -> int:
    if generation == "1e-6":
        return gathered_ud // step_ud * step_ud
    # The older text pays "once the accumulated rounding exceeds $0.01": a cent exactly is kept.
    return max(0, gathered_ud - 1) // step_ud * step_ud
