"""How long a process that was asked to stop is waited for before it is killed."""

from __future__ import annotations

import msgspec

STOP_GRACE_S = 5.0
SILENT_GRACE_S = 30.0  # a frozen trader whose orders are pulled can do no harm: it has time to wake up


class Patience(msgspec.Struct, frozen=True):
    """With one process, since it was asked (monotonic seconds).

    Attributes:
        is_asleep: It was frozen, and nothing of it rested, when it was last looked at.
    """

    since_s: float
    is_asleep: bool = False

    def looked(self, now_s: float, *, is_asleep: bool) -> Patience:
        """Return the patience after another look: who wakes hears only then that he was asked."""
        has_woken = self.is_asleep and not is_asleep
        return Patience(now_s if has_woken else self.since_s, is_asleep)

    def is_over(self, now_s: float) -> bool:
        return now_s - self.since_s > (SILENT_GRACE_S if self.is_asleep else STOP_GRACE_S)
