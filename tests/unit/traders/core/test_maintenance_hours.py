from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traders.core.maintenance import maintenance_left_us

EASTERN = ZoneInfo("America/New_York")
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US


def us(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def eastern(year: int, month: int, day: int, hour: int, minute: int = 0) -> int:
    return us(datetime(year, month, day, hour, minute, tzinfo=EASTERN))


@pytest.mark.parametrize(
    ("year", "month", "day"),
    [
        (2026, 3, 5),  # the last Thursday in winter time
        (2026, 3, 12),  # the first in summer time
        (2026, 10, 29),  # the last in summer time
        (2026, 11, 5),  # the first in winter time
        (2026, 7, 2),
        (2026, 12, 31),
    ],
)
def test_F3_it_is_from_three_to_five_in_new_york_on_both_sides_of_a_change_of_clocks(
    year: int, month: int, day: int
) -> None:
    start_us = eastern(year, month, day, 3)
    assert maintenance_left_us(start_us - 1, 0) is None
    assert maintenance_left_us(start_us, 0) == 2 * HOUR_US
    assert maintenance_left_us(start_us + 2 * HOUR_US - 1, 0) == 1
    assert maintenance_left_us(start_us + 2 * HOUR_US, 0) is None


def test_E8_summer_begins_it_an_hour_earlier_in_utc() -> None:
    assert maintenance_left_us(us(datetime(2026, 3, 5, 7, 30, tzinfo=UTC)), 0) is None
    assert maintenance_left_us(us(datetime(2026, 3, 12, 7, 30, tzinfo=UTC)), 0) == 90 * MINUTE_US
    assert maintenance_left_us(us(datetime(2026, 11, 5, 9, 30, tzinfo=UTC)), 0) == 30 * MINUTE_US
    assert maintenance_left_us(us(datetime(2026, 10, 29, 9, 30, tzinfo=UTC)), 0) is None


def test_the_lead_begins_it_earlier_and_ends_it_no_later() -> None:
    start_us = eastern(2026, 11, 26, 3)
    assert maintenance_left_us(start_us - 10 * MINUTE_US - 1, 10 * MINUTE_US) is None
    assert maintenance_left_us(start_us - 10 * MINUTE_US, 10 * MINUTE_US) == 130 * MINUTE_US
    assert maintenance_left_us(start_us + 2 * HOUR_US, 10 * MINUTE_US) is None


@settings(max_examples=200)
@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2031, 1, 1)),  # noqa: DTZ001 - given its zone below
    st.integers(0, 24 * 60),
)
def test_it_is_what_a_calendar_on_the_wall_in_new_york_says(naive: datetime, lead_minutes: int) -> None:
    now_us = us(naive.replace(tzinfo=UTC))
    lead_us = lead_minutes * MINUTE_US
    around = [(naive.replace(tzinfo=UTC).astimezone(EASTERN) + timedelta(days=n)).date() for n in range(-1, 3)]
    thursdays = [day for day in around if day.strftime("%A") == "Thursday"]
    windows = [tuple(eastern(day.year, day.month, day.day, hour) for hour in (3, 5)) for day in thursdays]
    left_us = [end_us - now_us for start_us, end_us in windows if start_us - lead_us <= now_us < end_us]
    assert maintenance_left_us(now_us, lead_us) == (left_us[0] if left_us else None)
