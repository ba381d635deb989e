"""What an incentive period pays: observed seconds added up, projected, and paid out once at its end.

    accrual = Accrual(program)
    accrual = accrual.after(snapshot)               one second as `rewards.score_snapshot` read it
    accrual = accrual.after(None, seconds=30)       nobody knows these thirty
    accrual.raw_ud, accrual.paid_ud()               earned so far, and what that alone would pay

Source: incentives.md section 4 and points R7 to R9 of section 7 (read 2026-11-22).
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from markets.core.rewards import HOUR_US, UD_PER_CC, ProgramTerms, Snapshot
from markets.core.units import DOLLAR_UD

CENT_UD = DOLLAR_UD // 100
FLOOR_UD = DOLLAR_UD  # exactly $1.00 is paid (R9)
SECOND_US = 1_000_000
# A lively book gives every second a share with its own denominator, and their exact sum would grow for weeks.
# Past the limit it is floored; a month of seconds then loses less than 10^-60 of the pool.
DENOMINATOR_MAX_BITS = 2_048
FLOORED_BITS = 256


class Accrual(msgspec.Struct, frozen=True):
    """One program's period as far as it was watched.

    Attributes:
        observed_s: Seconds whose snapshot is known, included or not.
        included_s: Those of them that were included.
        unknown_s: Seconds that passed unseen: what they earned is unknown, and nothing is added for them.
        share_s: Sum of the pool share over the observed seconds.
        denominator_max_bits: How large the denominator of `share_s` may grow before the sum is floored; None keeps it
            exact whatever that costs.
    """

    program: ProgramTerms
    observed_s: int = 0
    included_s: int = 0
    unknown_s: int = 0
    share_s: Fraction = Fraction(0)
    denominator_max_bits: int | None = DENOMINATOR_MAX_BITS

    def after(self, snapshot: Snapshot | None, *, seconds: int = 1) -> Accrual:
        """Return the accrual after `seconds` of one and the same snapshot; None is an unknown one."""
        if snapshot is None:
            return msgspec.structs.replace(self, unknown_s=self.unknown_s + seconds)
        return msgspec.structs.replace(
            self,
            observed_s=self.observed_s + seconds,
            included_s=self.included_s + (seconds if snapshot.included else 0),
            share_s=self._bounded(self.share_s + snapshot.pool_share * seconds),
        )

    @property
    def total_s(self) -> Fraction:
        """All seconds of the period, open or not: excluded ones stay in the denominator (R7)."""
        return Fraction(self.program.end_us - self.program.start_us, SECOND_US)

    @property
    def time_period_score(self) -> Fraction:
        """Our part of everybody's scores in the included seconds; 0 before there are any."""
        return self.share_s / self.included_s if self.included_s else Fraction(0)

    @property
    def raw_ud(self) -> Fraction | None:
        """Accrued micro-dollars, before cap, rounding and minimum; None when the pool is unknown."""
        pool_ud = self.program.pool_ud
        return None if pool_ud is None else pool_ud * self.share_s / self.total_s

    def projected_ud(self, ud_per_hour: Fraction | None, *, at_us: int) -> Fraction | None:
        """Return what is accrued by the end if the rate stays; None when either is unknown."""
        if self.raw_ud is None or ud_per_hour is None:
            return None
        left_us = self.program.end_us - max(at_us, self.program.start_us)
        return self.raw_ud + ud_per_hour * Fraction(max(0, left_us), HOUR_US)

    def paid_ud(self) -> int | None:
        """Return what the period pays if no more is earned; None when the pool is unknown."""
        return None if self.raw_ud is None else payout_ud(self.raw_ud, cap_cc=self.program.cap_cc)

    def _bounded(self, sum_s: Fraction) -> Fraction:
        if self.denominator_max_bits is None or sum_s.denominator.bit_length() <= self.denominator_max_bits:
            return sum_s
        return Fraction((sum_s.numerator << FLOORED_BITS) // sum_s.denominator, 1 << FLOORED_BITS)


def payout_ud(raw_ud: Fraction, *, cap_cc: int | None) -> int:
    """Return what the venue credits once for a program and period: capped, floored to the cent, at least $1 or 0.

    0 for a projection means that holding on pays nothing.
    """
    capped_ud = raw_ud if cap_cc is None else min(raw_ud, Fraction(cap_cc * UD_PER_CC))
    floored_ud = int(capped_ud // CENT_UD) * CENT_UD
    return floored_ud if floored_ud >= FLOOR_UD else 0
