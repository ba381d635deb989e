"""How long to wait before the next attempt."""

from __future__ import annotations


def delay_s(attempt: int, *, first_s: float, most_s: float, jitter: float) -> float:
    """Return seconds to wait before attempt number `attempt` (1 = the first retry).

    Doubles from `first_s` up to `most_s`; `jitter` in 0..1 takes up to half of it away, so that
    many clients cut at once do not come back at once.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    full = min(most_s, first_s * 2.0 ** min(attempt - 1, 32))
    return full * (1.0 - jitter / 2)
