"""Time as a value: whoever decides by time is handed a clock."""

from __future__ import annotations

import time
from typing import Protocol

# A machine that slept must notice: a book is stale, a lease may be over. Linux has a clock of its own that counts that;
# on macOS this one does, and Python's `monotonic` does not.
ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Wall time for stamps and signatures, monotonic time for ages and timeouts."""

    def wall_us(self) -> int:
        """Return microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back, those asleep counted; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.clock_gettime(ELAPSED)


class SteadyClock:
    """Wall time that nobody sets: as of the clock when this was made, and from then on by its monotonic time.

    For ages of things whose times are also written down: a difference of two of these is one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_us = clock.wall_us() - self._monotonic_us()

    def now_us(self) -> int:
        return self._start_us + self._monotonic_us()

    def wall_ahead_us(self) -> int:
        """Return by how much the wall clock is ahead now: it was set meanwhile, or drifts."""
        return self._clock.wall_us() - self.now_us()

    def _monotonic_us(self) -> int:
        return int(self._clock.monotonic() * 1_000_000)


class ManualClock:
    """A clock that moves only when told to: for tests and for recorded time."""

    def __init__(self, wall_us: int = 0) -> None:
        self._wall_us = wall_us
        self._monotonic_us = 0

    def wall_us(self) -> int:
        return self._wall_us

    def monotonic(self) -> float:
        return self._monotonic_us / 1_000_000

    def set_wall_us(self, microseconds: int) -> None:
        """Set the wall clock, as an operator or a time service does."""
        self._wall_us = microseconds

    def advance_us(self, microseconds: int) -> None:
        self._wall_us += microseconds
        self._monotonic_us += microseconds
