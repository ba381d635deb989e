"""When the venue pauses for its weekly maintenance: Thursdays 03:00–05:00 in New York, whatever the season.

Source: facts.md section 13.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
FROM_HOUR, TO_HOUR = 3, 5

HOUR_US = 3_600_000_000
WEEK_US = 7 * 24 * HOUR_US
A_THURSDAY = datetime(1970, 1, 1, tzinfo=UTC)  # so weeks since 1970 begin on Thursdays
# In UTC it begins at 07:00 in summer and ends at 10:00 in winter: outside of that there is nothing to look up.
EARLIEST_US, LATEST_US = 7 * HOUR_US, 10 * HOUR_US


def maintenance_left_us(time_us: int, lead_us: int) -> int | None:
    """Return how long the maintenance that runs, or begins within `lead_us`, still goes on; None without one.

    Args:
        lead_us: At most a day.
    """
    if (time_us - EARLIEST_US + lead_us) % WEEK_US >= LATEST_US - EARLIEST_US + lead_us:
        return None
    start_us, end_us = _window_us((time_us - LATEST_US) // WEEK_US + 1)
    return end_us - time_us if start_us - lead_us <= time_us < end_us else None


@lru_cache(maxsize=4)
def _window_us(week: int) -> tuple[int, int]:
    """Return begin and end of the maintenance on the Thursday that is `week` weeks after the first of 1970."""
    day = A_THURSDAY + timedelta(weeks=week)
    begin, end = (
        datetime(day.year, day.month, day.day, hour, tzinfo=NEW_YORK).timestamp() for hour in (FROM_HOUR, TO_HOUR)
    )
    return int(begin) * 1_000_000, int(end) * 1_000_000
