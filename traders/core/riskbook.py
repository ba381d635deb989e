"""What a trader remembers for its limits: a day's result, how often it asked and was refused, and a latch.

A day is one of the exchange: it begins at midnight in New York, also when the clocks change there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from traders.core.limits import Denied, Latch, Limits, RiskState
from traders.core.risk import latched, new_breaches

EXCHANGE_ZONE = ZoneInfo("America/New_York")
MINUTE_US = 60_000_000
MID_UPDATE_US = 250_000  # a book that looks so for longer is not merely between two messages


class RiskMemory(msgspec.Struct, frozen=True):
    """What has to outlive a restart; money in micro-dollars, None is unknown.

    Attributes:
        day: The exchange's day that the rest is of, such as `2026-11-26`.
        start_ud: The trader's result when the day began, or when it was first known in it.
        high_ud: The best that the day's result was.
    """

    day: str = ""
    start_ud: int | None = None
    high_ud: int | None = None
    latch: Latch | None = None

    def released(self) -> RiskMemory:
        """Return the memory once a person has released the latch: the day begins anew."""
        return RiskMemory(self.day)

    def on_day(self, day: str) -> RiskMemory:
        """Return the memory of that day: a latch of another stands, what was made and lost in it does not."""
        return self if day == self.day else RiskMemory(day, latch=self.latch)

    def with_result(self, trading_ud: int | None) -> RiskMemory:
        """Return the memory after a look at the trader's result so far; an unknown one changes nothing."""
        if trading_ud is None:
            return self
        start_ud = trading_ud if self.start_ud is None else self.start_ud
        high_ud = max(trading_ud - start_ud, self.high_ud or 0)
        if start_ud == self.start_ud and high_ud == self.high_ud:
            return self
        return msgspec.structs.replace(self, start_ud=start_ud, high_ud=high_ud)


class RiskBook:
    """Gathers what limits are compared with. Times in microseconds since 1970.

    `memory` is to be kept over restarts.
    """

    def __init__(self, memory: RiskMemory) -> None:
        self.memory = memory
        self._creates: deque[int] = deque()
        self._refusals: deque[int] = deque()
        self._refused: Sequence[Denied] = ()
        self._over_since_us: int | None = None
        self._day_ends_us = 0

    def look(self, now_us: int, trading_ud: int | None) -> None:
        """Note the time, and the trader's result so far."""
        if now_us >= self._day_ends_us or not self.memory.day:
            day, self._day_ends_us = exchange_day(now_us)
            self.memory = self.memory.on_day(day)
        self.memory = self.memory.with_result(trading_ud)
        self._heed_step_back(now_us)
        gone_us = now_us - MINUTE_US
        while self._creates and self._creates[0] <= gone_us:
            self._creates.popleft()
        while self._refusals and self._refusals[0] <= gone_us:
            self._refusals.popleft()

    def _heed_step_back(self, now_us: int) -> None:
        """Let nothing lie ahead of a clock that was set back: it would count for so long, or hold a latch up."""
        for moments in (self._creates, self._refusals):
            for place in range(len(moments) - 1, -1, -1):
                if moments[place] <= now_us:
                    break
                moments[place] = now_us
        if self._over_since_us is not None:
            self._over_since_us = min(self._over_since_us, now_us)

    def state(self, base: RiskState, trading_ud: int | None) -> RiskState:
        """Return `base` with what is remembered."""
        start_ud = self.memory.start_ud
        return msgspec.structs.replace(
            base,
            created_in_minute=len(self._creates),
            refused_in_minute=len(self._refusals),
            result_ud=None if trading_ud is None or start_ud is None else trading_ud - start_ud,
            high_water_ud=self.memory.high_ud,
            latch=self.memory.latch,
        )

    def created(self, now_us: int) -> None:
        """Note that a new order leaves."""
        self._creates.append(now_us)

    def refused(self, denied: Sequence[Denied], now_us: int) -> None:
        """Note what a decision was refused."""
        if denied:
            self._refusals.extend([now_us] * new_breaches(denied, self._refused))
        self._refused = denied

    def latch(self, limits: Limits, risk: RiskState, now_us: int) -> Latch | None:
        """Return a latch that has just closed, None when none has.

        What is over a limit for a moment, as between two messages of one step of the exchange, closes none.
        """
        if self.memory.latch is not None:
            return None
        latch = latched(limits, risk, now_us, self.memory.day)
        if latch is None:
            self._over_since_us = None
            return None
        if self._over_since_us is None:
            self._over_since_us = now_us
        if now_us - self._over_since_us < MID_UPDATE_US:
            return None  # meanwhile the limit itself refuses what would grow
        self.memory = msgspec.structs.replace(self.memory, latch=latch)
        return latch

    def release(self) -> None:
        """Take the latch off, and let the day begin anew: what was lost before was looked at by a person."""
        self.memory = self.memory.released()
        self._refusals.clear()


def exchange_day(now_us: int) -> tuple[str, int]:
    """Return the exchange's day, and when it ends."""
    day = datetime.fromtimestamp(now_us / 1_000_000, UTC).astimezone(EXCHANGE_ZONE).date()
    ends = datetime.combine(day + timedelta(days=1), datetime.min.time(), EXCHANGE_ZONE)
    return day.isoformat(), int(ends.timestamp()) * 1_000_000
