"""What limits remember of a day, a minute and a moment, whatever becomes of the clocks (faults.md E2, E8)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from traders.core.limits import Limits, RiskState
from traders.core.riskbook import MID_UPDATE_US, MINUTE_US, RiskBook, RiskMemory, exchange_day

NEW_YORK = ZoneInfo("America/New_York")
HOUR_US = 60 * MINUTE_US
# Summer time begins and ends on Sundays at 02:00; the days around them are ordinary ones.
SWITCHES = [date(2026, 3, 8), date(2026, 11, 1), date(2027, 3, 14), date(2027, 11, 7)]
HOURS = {3: 23, 11: 25}
NOW_US = 1_795_337_400_000_000


def midnight_us(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).timestamp()) * 1_000_000


@pytest.mark.parametrize("day", SWITCHES)
def test_E8_a_day_begins_and_ends_at_midnight_in_new_york_also_when_the_clocks_change(day: date) -> None:
    start_us, end_us = midnight_us(day), midnight_us(day + timedelta(days=1))
    assert end_us - start_us == HOURS[day.month] * HOUR_US
    assert exchange_day(start_us - 1) == ((day - timedelta(days=1)).isoformat(), start_us)
    assert exchange_day(start_us) == exchange_day(end_us - 1) == (day.isoformat(), end_us)
    assert exchange_day(end_us)[0] == (day + timedelta(days=1)).isoformat()


@pytest.mark.parametrize("day", SWITCHES)
def test_E8_a_days_result_begins_anew_once_a_day(day: date) -> None:
    """Looked at every minute for a week around a change of clocks, by a trader that loses a dollar an hour."""
    book, begins = RiskBook(RiskMemory()), []
    first_us, last_us = (midnight_us(day + timedelta(days=n)) for n in (-3, 4))
    for now_us in range(first_us, last_us, MINUTE_US):
        before = book.memory.day
        trading_ud = -((now_us - first_us) // HOUR_US) * 1_000_000
        book.look(now_us, trading_ud)
        if book.memory.day != before:
            begins.append(now_us)
            assert book.state(RiskState(), trading_ud).result_ud == 0, "what was lost before is another day's"
    assert begins == [midnight_us(day + timedelta(days=n)) for n in range(-3, 4)]


@pytest.mark.parametrize("day", SWITCHES)
def test_E8_a_restart_in_the_hour_that_comes_twice_or_never_takes_the_same_day_on(day: date) -> None:
    book = RiskBook(RiskMemory())
    book.look(midnight_us(day), 0)
    for minutes in range(60, 240, 7):
        book = RiskBook(book.memory)  # as after a crash
        book.look(midnight_us(day) + minutes * MINUTE_US, -5_000_000)
        assert (book.memory.day, book.memory.start_ud) == (day.isoformat(), 0)


def test_E8_midnight_anywhere_else_is_no_new_day() -> None:
    book = RiskBook(RiskMemory())
    for hour in range(5, 24 + 4):  # from midnight to midnight in New York, by UTC in winter
        moment = datetime(2026, 12, 10, tzinfo=UTC) + timedelta(hours=hour)
        book.look(int(moment.timestamp()) * 1_000_000, -1_000_000 * hour)
        assert book.memory.day == "2026-12-10"


def test_E2_a_clock_that_is_set_back_an_hour_holds_no_new_order_for_an_hour() -> None:
    book = RiskBook(RiskMemory())
    book.look(NOW_US, 0)
    for _ in range(5):
        book.created(NOW_US)
    book.look(NOW_US - HOUR_US, 0)
    assert book.state(RiskState(), 0).created_in_minute == 5, "they are no older for it"
    book.look(NOW_US - HOUR_US + MINUTE_US, 0)
    assert book.state(RiskState(), 0).created_in_minute == 0


def test_E2_a_clock_that_is_set_back_holds_no_latch_up() -> None:
    book, limits = RiskBook(RiskMemory()), Limits(daily_loss_ud=1_000_000)
    lost = RiskState(result_ud=-2_000_000)
    book.look(NOW_US, -2_000_000)
    assert book.latch(limits, lost, NOW_US) is None, "for a moment a book may look like that"
    back_us = NOW_US - HOUR_US
    book.look(back_us, -2_000_000)
    assert book.latch(limits, lost, back_us) is None
    book.look(back_us + MID_UPDATE_US, -2_000_000)
    latch = book.latch(limits, lost, back_us + MID_UPDATE_US)
    assert latch is not None
    assert latch.code == "DAILY_LOSS"


def test_E2_a_clock_that_is_set_back_over_midnight_begins_no_day_again() -> None:
    book, midnight = RiskBook(RiskMemory()), midnight_us(date(2026, 12, 10))
    book.look(midnight - MINUTE_US, 0)
    book.look(midnight, 0)
    book.look(midnight + MINUTE_US, -3_000_000)
    book.look(midnight - MINUTE_US, -3_000_000)
    book.look(midnight + 2 * MINUTE_US, -3_000_000)
    assert book.state(RiskState(), -3_000_000).result_ud == -3_000_000
