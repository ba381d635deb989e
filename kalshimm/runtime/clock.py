"""Time as a value: whoever decides by time is handed a clock."""

from __future__ import annotations

import time
from typing import Protocol

STEP_S = 0.1  # between two looks: no slewed clock drifts so far, no pause between its two readings is so long


class Clock(Protocol):
    """Wall time for stamps and signatures, monotonic time for ages and timeouts."""

    def wall_us(self) -> int:
        """Return microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()


class StepWatch:
    """Notices when a clock's wall time was set, against its time that never steps. Not for threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_s = self._offset()

    def take_step_s(self) -> float:
        """Return by how many seconds the wall clock was set since the last time; 0 while it only drifts."""
        before_s, self._offset_s = self._offset_s, self._offset()
        step_s = self._offset_s - before_s
        return step_s if abs(step_s) >= STEP_S else 0.0

    def _offset(self) -> float:
        return self._clock.wall_us() / 1_000_000 - self._clock.monotonic()


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
