"""When a crashed trader may start again.

Each crash waits longer than the one before. More than RESTARTS_MOST within WINDOW_S and it is given up: a trader
that cannot stay up needs a person, not another try.
"""

from __future__ import annotations

import msgspec

RESTARTS_MOST = 3
WINDOW_S = 60.0
FIRST_DELAY_S = 0.5
MOST_DELAY_S = 10.0


class RestartAt(msgspec.Struct, frozen=True):
    """Start again at this monotonic second."""

    at_s: float


class GiveUp(msgspec.Struct, frozen=True):
    """Do not start again before a person asks for it."""

    reason: str


Verdict = RestartAt | GiveUp


class CrashHistory(msgspec.Struct, frozen=True):
    """Monotonic seconds of the crashes that still count, oldest first."""

    crashes_s: tuple[float, ...] = ()

    def after_crash(self, now_s: float, reason: str) -> tuple[CrashHistory, Verdict]:
        """Return the history with one more crash, and what follows from it."""
        recent = (*(at for at in self.crashes_s if now_s - at < WINDOW_S), now_s)
        history = CrashHistory(recent)
        if len(recent) > RESTARTS_MOST:
            return history, GiveUp(f"crashed {len(recent)} times within {WINDOW_S:.0f} s; last: {reason}")
        delay_s = min(MOST_DELAY_S, FIRST_DELAY_S * 2.0 ** (len(recent) - 1))
        return history, RestartAt(now_s + delay_s)
