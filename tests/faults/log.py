"""What was really done to the processes and their lines: a row counts only when its fault stands here."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One fault that happened; `source` is exchange, tap, process or store, `at_us` wall clock."""

    at_us: int
    source: str
    what: str


class FaultLog:
    """Faults of one test, oldest first; taps note from threads of their own."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def note(self, source: str, what: str, *, at_us: int | None = None) -> None:
        with self._lock:
            self._faults.append(Fault(at_us or time.time_ns() // 1_000, source, what))

    def note_applied(self, applied: list[dict[str, Any]]) -> None:
        """Take over what the exchange's own log tells of the faults it applied."""
        for fault in applied:
            self.note("exchange", f"{fault['do']} {fault['id']}: {fault['what']}", at_us=fault["at_us"])

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    @property
    def faults(self) -> list[Fault]:
        with self._lock:
            return sorted(self._faults, key=lambda fault: fault.at_us)

    def of(self, what: str) -> list[Fault]:
        """Return the faults whose description holds `what`."""
        return [fault for fault in self.faults if what in fault.what]
