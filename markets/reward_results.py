"""Scores and payouts in the words of the published worked cases.

Amounts are decimal strings of 12 places, some beside their exact fraction; what is unknown is null. Scores and sizes
are in contracts, money in dollars.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from markets.core.payouts import CENT_UD, Accrual, payout_ud
from markets.core.rewards import MarketScore, ProgramScore, ProgramTerms
from markets.core.scoring import SideScore
from markets.core.units import CONTRACT_CX, DOLLAR_UD, format_count, format_price

PLACES = 12


def static(market: MarketScore) -> dict[str, Any]:
    """Return what one book is expected to earn while it stays as it is."""
    return {
        "programs": [_program(score) for score in market.programs],
        "usd_per_hour_total": _usd(market.ud_per_hour),
        "usd_per_hour_by_order": {name: _usd(rate) for name, rate in market.order_ud_per_hour.items()},
    }


def timeline(program: ProgramTerms, watched: Iterable[tuple[int, ProgramScore]]) -> dict[str, Any]:
    """Return what a period is expected to pay; `watched` holds seconds and what each of them scores."""
    accrual = Accrual(program, denominator_max_bits=None)
    segments = []
    for seconds, score in watched:
        accrual = accrual.after(score.snapshot, seconds=seconds)
        segments.append({"seconds": seconds} | _snapshot(score) | {"usd_per_hour": _usd(score.ud_per_hour)})
    return {"segments": segments} | _period(accrual)


def _program(score: ProgramScore) -> dict[str, Any]:
    raw_ud = None if score.ud_per_hour is None else score.ud_per_hour * score.program.hours
    return {
        "program_id": score.program.program_id,
        **_snapshot(score),
        "pool_usd_per_hour": _usd(score.program.pool_ud_per_hour),
        "usd_per_hour": _usd(score.ud_per_hour),
        "usd_per_hour_fraction": _usd_fraction(score.ud_per_hour),
        "full_period_raw_usd": _usd(raw_ud),
        "full_period_payout_usd": None if raw_ud is None else _cents(payout_ud(raw_ud, cap_cc=score.program.cap_cc)),
    }


def _snapshot(score: ProgramScore) -> dict[str, Any]:
    names = ("yes", "no")  # by Side
    if score.snapshot is None:
        return dict.fromkeys(("snapshot_included", *names, "pool_share", "pool_share_fraction"))
    return {
        "snapshot_included": score.snapshot.included,
        **{name: _side(side) for name, side in zip(names, score.snapshot.sides, strict=True)},
        "pool_share": _decimal(score.snapshot.pool_share),
        "pool_share_fraction": _fraction(score.snapshot.pool_share),
    }


def _side(side: SideScore) -> dict[str, Any]:
    return {
        "side_qualifies": side.qualifies,
        "depth_fp": format_count(side.depth_cx),
        "reference_price": None if side.reference_cc is None else format_price(side.reference_cc),
        "qualifying_floor_price": None if side.floor_cc is None else format_price(side.floor_cc),
        "qualifying_size_fp": format_count(side.qualifying_cx),
        "side_score_total": _decimal(side.total_cx / CONTRACT_CX),
        "our_score": _decimal(side.our_score_cx / CONTRACT_CX),
        "our_share": _decimal(side.share),
        "our_share_fraction": _fraction(side.share),
    }


def _period(accrual: Accrual) -> dict[str, Any]:
    total_s = int(accrual.total_s)
    counts = {"snapshots_total": total_s, "snapshots_included": accrual.included_s}
    if accrual.unknown_s:  # not scorable
        names = (
            "time_period_score",
            "time_period_score_fraction",
            "raw_usd",
            "raw_usd_fraction",
            "payout_usd",
            "average_usd_per_hour",
        )
        return counts | {"snapshots_included": None} | dict.fromkeys(names)
    if accrual.observed_s < total_s:  # what follows is earned for certain; the rest is not known
        counts |= {"snapshots_unknown": total_s - accrual.observed_s}
    raw_ud, paid_ud = accrual.raw_ud, accrual.paid_ud()
    return counts | {
        "time_period_score": _decimal(accrual.time_period_score),
        "time_period_score_fraction": _fraction(accrual.time_period_score),
        "raw_usd": _usd(raw_ud),
        "raw_usd_fraction": _usd_fraction(raw_ud),
        "payout_usd": None if paid_ud is None else _cents(paid_ud),
        "average_usd_per_hour": _usd(None if raw_ud is None else raw_ud / accrual.program.hours),
    }


def _usd(value_ud: Fraction | None) -> str | None:
    return None if value_ud is None else _decimal(value_ud / DOLLAR_UD)


def _usd_fraction(value_ud: Fraction | None) -> str | None:
    return None if value_ud is None else _fraction(value_ud / DOLLAR_UD)


def _fraction(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _decimal(value: Fraction) -> str:
    """Return a value that is not negative, rounded half to even in the last place."""
    units = round(value * 10**PLACES)
    return f"{units // 10**PLACES}.{units % 10**PLACES:0{PLACES}d}"


def _cents(value_ud: int) -> str:
    cents = value_ud // CENT_UD
    return f"{cents // 100}.{cents % 100:02d}"
