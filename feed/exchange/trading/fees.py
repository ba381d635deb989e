"""What a fill costs, exactly, in the venue's own rounding.

A reference written apart from `markets.core`, so that the two can be held against each other.
Source: facts.md section 9 (docs of October 2026): model fee up to a micro-dollar, change of the balance down to
$0.0001 (direct members), what that rounds away gathers per order and comes back in whole $0.0001.
"""

from __future__ import annotations

import msgspec

from markets.core.units import DOLLAR_CC

PRECISION_UD = 100  # $0.0001: direct members
TAKER_BPS = 700  # 0.07
MAKER_SHARE_BPS = {"quadratic": 0, "quadratic_with_maker_fees": 2_500, "quadratic_with_combo_maker_fees": 5_000}
BPS = 10_000


def model_fee_ud(*, fee_type: str, multiplier_bps: int, is_taker: bool, yes_price_cc: int, count_cx: int) -> int:
    """Return 0.07 × m × C × P × (1 − P), for makers times their share, rounded up to a micro-dollar.

    Raises:
        KeyError: A fee type whose formula is not known.
    """
    share_bps = BPS if is_taker else MAKER_SHARE_BPS[fee_type]
    top = TAKER_BPS * multiplier_bps * share_bps * count_cx * yes_price_cc * (DOLLAR_CC - yes_price_cc)
    # count_cx × price_cc is micro-dollars; the second price and the three rates are fractions.
    return -(-top // (BPS * BPS * BPS * DOLLAR_CC))


class Charge(msgspec.Struct, frozen=True):
    """The fee of one fill, and what the order has gathered in rounding after it; micro-dollars."""

    fee_ud: int
    gathered_ud: int


def charge(*, revenue_ud: int, trade_fee_ud: int, gathered_ud: int) -> Charge:
    """Return the net fee of a fill whose cash effect before fees is `revenue_ud` (negative when paying)."""
    exact = revenue_ud - trade_fee_ud
    change = exact // PRECISION_UD * PRECISION_UD
    rounding = exact - change
    gathered = gathered_ud + rounding
    rebate = min(gathered, trade_fee_ud + rounding) // PRECISION_UD * PRECISION_UD
    return Charge(trade_fee_ud + rounding - rebate, gathered - rebate)
