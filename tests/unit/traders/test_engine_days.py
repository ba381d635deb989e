"""A day's loss through the whole engine, over midnight and both changes of clocks in New York (faults.md E8)."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from feed.schema import BookSnapshot, BookTrade, LatchChange
from markets.core.grid import CENT_GRID
from markets.core.units import Side
from tests.unit.traders.test_engine import Desk
from traders.core.facts import MarketFacts
from traders.core.limits import Limits
from traders.engine import Now

NEW_YORK = ZoneInfo("America/New_York")
LOSS_UD = 40_000  # of 400 hundredths, when the best bid falls by a cent
LIMITS = Limits(daily_loss_ud=LOSS_UD + LOSS_UD // 2, drawdown_ud=10**9)
CHANGES = ["2026-03-08", "2026-11-01"]


def moment_us(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000


class DayDesk(Desk):
    """A desk whose clock begins where the row wants it; it holds 4 contracts that lose a cent whenever they shall."""

    def __init__(self, start: str) -> None:
        self.start_us = moment_us(start)
        self.bid_cc = 4_000
        super().__init__(limits=LIMITS)
        self.bodies += self.engine.on_facts(MarketFacts(CENT_GRID.ranges, self.start_us + 10**15), self.now)
        self.wait(0.3)
        self.event(BookTrade("t1", self.now.wall_us, 3_900, 400, int(Side.NO)))
        self.falls(by_cc=0)

    @property
    def now(self) -> Now:
        return Now(self.start_us + int(self.elapsed_s * 1_000_000), self.elapsed_s)

    def falls(self, *, by_cc: int = 100) -> None:
        """Let the best bid fall, for longer than a moment."""
        self.bid_cc -= by_cc
        snapshot = BookSnapshot(7, 2, 1, next(self.seq), self.now.wall_us, [(self.bid_cc, 50_000)], [(5_800, 200)])
        self.event(snapshot)
        self.wait(0.5)

    def until(self, moment: str) -> None:
        self.wait((moment_us(moment) - self.now.wall_us) / 1_000_000)

    def latched(self) -> list[object]:
        return [body.figures["day"] for body in self.said(LatchChange) if isinstance(body, LatchChange)]


def after(day: str, days: int) -> str:
    return (datetime.fromisoformat(day) + timedelta(days=days)).date().isoformat()


@pytest.mark.parametrize("day", [*CHANGES, after(CHANGES[0], 1), after(CHANGES[1], 1), "2026-07-04"])
def test_E8_what_was_lost_before_midnight_in_new_york_is_the_day_befores(day: str) -> None:
    desk = DayDesk(f"{after(day, -1)}T23:50")
    desk.falls()
    desk.until(f"{day}T00:00:01")
    desk.falls()
    assert desk.latched() == [], "a cent on either day is less than may be lost"
    desk.until(f"{day}T23:59")
    desk.falls()
    assert desk.latched() == [day], "a second cent on one is more, however long that day is"


@pytest.mark.parametrize("day", CHANGES)
def test_E8_a_change_of_clocks_begins_no_day(day: str) -> None:
    desk = DayDesk(f"{day}T01:30")
    desk.falls()
    desk.until(f"{day}T03:30")
    desk.falls()
    assert desk.latched() == [day]
