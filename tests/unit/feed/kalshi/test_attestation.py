from __future__ import annotations

import pytest

from feed.kalshi.attestation import DAY_US, Urgency, days_left, urgency

NOW_US = 1_795_337_400_000_000


@pytest.mark.parametrize(
    ("left_us", "days", "expected"),
    [
        (90 * DAY_US, 90, Urgency.NONE),
        (30 * DAY_US, 30, Urgency.NONE),
        (30 * DAY_US - 1, 29, Urgency.NOTICE),
        (7 * DAY_US, 7, Urgency.NOTICE),
        (7 * DAY_US - 1, 6, Urgency.WARNING),
        (1, 0, Urgency.WARNING),
        (0, 0, Urgency.LAPSED),
        (-1, -1, Urgency.LAPSED),
    ],
)
def test_a_lapsing_attestation_grows_urgent(left_us: int, days: int, expected: Urgency) -> None:
    assert days_left(NOW_US + left_us, NOW_US) == days
    assert urgency(NOW_US + left_us, NOW_US) is expected


def test_a_venue_that_names_no_time_asks_for_nothing() -> None:
    assert urgency(None, NOW_US) is Urgency.NONE
