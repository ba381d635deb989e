"""When the keys' region attestation lapses: from then on they may not trade sports, elections or entertainment.

`GET /api_keys` tells it. Source: openapi.yaml 3.34, GetApiKeysResponse; facts.md section 2.3.
"""

from __future__ import annotations

import enum

DAY_US = 86_400_000_000
NOTICE_DAYS = 30
WARNING_DAYS = 7


class Urgency(enum.Enum):
    """How much of a person's attention it wants."""

    NONE = "none"
    NOTICE = "notice"
    WARNING = "warning"
    LAPSED = "lapsed"


def days_left(expires_us: int, now_us: int) -> int:
    """Return the whole days left; negative once it has lapsed."""
    return (expires_us - now_us) // DAY_US


def urgency(expires_us: int | None, now_us: int) -> Urgency:
    """Return how urgent a renewal is; nothing is known to lapse when the venue names no time."""
    if expires_us is None:
        return Urgency.NONE
    if expires_us <= now_us:
        return Urgency.LAPSED
    left = days_left(expires_us, now_us)
    if left < WARNING_DAYS:
        return Urgency.WARNING
    return Urgency.NOTICE if left < NOTICE_DAYS else Urgency.NONE
