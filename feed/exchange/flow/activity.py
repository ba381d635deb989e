"""How unevenly activity is spread over markets, as measured (STATS.md section 2: 618 markets ranked, 2026-08-19)."""

from __future__ import annotations

import math
from bisect import bisect_right

# Rank → traded contracts a minute.
MEASURED = (
    (1, 48_940.0), (5, 18_762.0), (10, 11_771.0), (25, 4_569.0), (50, 1_850.0), (100, 675.0), (200, 204.0),
    (300, 72.0), (400, 24.0), (600, 0.5),
)  # fmt: skip
RANKS = [rank for rank, _ in MEASURED]


def share(rank: int) -> float:
    """Return the activity of the market of this rank (from 1) as a part of the busiest one's.

    Between the measured ranks the logarithms are interpolated; past the last one it stays.
    """
    at = bisect_right(RANKS, rank) - 1
    if at == len(MEASURED) - 1:
        return MEASURED[-1][1] / MEASURED[0][1]
    (low, low_rate), (high, high_rate) = MEASURED[at], MEASURED[at + 1]
    part = math.log(rank / low) / math.log(high / low)
    return float(low_rate * (high_rate / low_rate) ** part / MEASURED[0][1])


def rates(count: int, *, total_per_s: float, evenness: float = 0.0) -> list[float]:
    """Return a rate for each of `count` markets, busiest first, that sum to `total_per_s`.

    Args:
        evenness: 0 spreads them as measured, 1 all alike.
    """
    weights = [share(rank) ** (1 - evenness) for rank in range(1, count + 1)]
    return [total_per_s * weight / sum(weights) for weight in weights]
