"""Whether a trader's own loop comes round in time: one that does not decides on what was (faults.md E6).

    on time ──a turn more than a second late──► late ──on time for 5 s──► on time

A machine without a core to spare gives a process a slice now and then. What it then reads may be whole, and is old all
the same; so it stands aside until it gets its turns again.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

LATE_MOST_S = 1.0  # beyond it nothing is quoted
CALM_S = 5.0  # so long on time before it quotes again: a starved loop is now and then


class Turns(msgspec.Struct, frozen=True):
    """The turns of one loop, on its monotonic clock in seconds; a value that each turn makes a new one of.

    Attributes:
        last_s: When it last came round; None before the first, when nobody knows.
        late_s: How late the last turn was that was too late.
        calm_at_s: When it will have been on time for long enough.
    """

    every_s: float
    last_s: float | None = None
    late_s: float = 0.0
    calm_at_s: float | None = None

    def turned(self, now_s: float) -> Turns:
        """Return it after a turn."""
        late_s = self._late_s(now_s)
        if late_s > LATE_MOST_S:
            return replace(self, last_s=now_s, late_s=late_s, calm_at_s=now_s + CALM_S)
        return replace(self, last_s=now_s)

    def too_late_s(self, now_s: float) -> float:
        """Return how late the loop is, or was a moment ago, if that is too late to quote; else 0.

        Who asks between two turns need not wait for the next one: a turn that is overdue is late already.
        """
        late_s = self._late_s(now_s)
        if late_s > LATE_MOST_S:
            return late_s
        return self.late_s if self.calm_at_s is not None and now_s < self.calm_at_s else 0.0

    def _late_s(self, now_s: float) -> float:
        return 0.0 if self.last_s is None else now_s - self.last_s - self.every_s
