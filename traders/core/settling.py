"""When an order in doubt is looked at, what a look that finds nothing proves, and when a person is needed.

    doubt ──2 s──► look ──2 s──► look … five of them, then every 10 s ……………… 60 s: overdue

A miss counts only if the read is known to show what happened up to 2 s after the request can have left last; two of
them, apart in time and each newer than the other, prove that it never arrived (C2, C4). A look that failed is no look
(C5): it only takes its turn. Time alone proves nothing.
"""

from __future__ import annotations

import msgspec

SECOND_US = 1_000_000
FIRST_LOOK_US = 2 * SECOND_US
SPACING_US = 2 * SECOND_US
SLOW_SPACING_US = 10 * SECOND_US
QUICK_LOOKS = 5
OVERDUE_US = 60 * SECOND_US
MARGIN_US = 2 * SECOND_US  # between a request's leaving and its last chance to take effect

FIRST_CANCEL_US = SECOND_US
CANCEL_SPACING_MOST_US = 15 * SECOND_US


class Doubt(msgspec.Struct, frozen=True):
    """Something about an order is not known.

    Attributes:
        asked: Looks begun, failed ones too.
        is_told: Whether it has been told as overdue.
    """

    why: str
    since_us: int
    next_look_us: int
    asked: int = 0
    is_told: bool = False

    @classmethod
    def begun(cls, why: str, at_us: int, *, first_us: int = FIRST_LOOK_US) -> Doubt:
        return cls(why, at_us, at_us + first_us)

    def after_look(self, now_us: int) -> Doubt:
        """Return the doubt once a look has begun."""
        spacing_us = SPACING_US if self.asked + 1 < QUICK_LOOKS else SLOW_SPACING_US
        return msgspec.structs.replace(self, asked=self.asked + 1, next_look_us=now_us + spacing_us)

    def is_due(self, now_us: int) -> bool:
        return now_us >= self.next_look_us

    def is_news_overdue(self, now_us: int) -> bool:
        """Return whether it has lasted too long, and nobody has been told."""
        return not self.is_told and now_us >= self.since_us + OVERDUE_US


class Misses(msgspec.Struct, frozen=True):
    """Looks, each of them good, that did not find what a request would have left."""

    count: int = 0
    as_of_us: int = 0
    looked_us: int = 0

    @property
    def is_proof(self) -> bool:
        return self.count >= 2

    def after(self, left_us: int | None, as_of_us: int, looked_us: int) -> Misses:
        """Return the misses after one more; it does not always count.

        Args:
            left_us: Until when the request may have left; None while it may yet.
            as_of_us: Up to when the read shows everything.
        """
        if left_us is None or as_of_us <= max(left_us + MARGIN_US, self.as_of_us):
            return self
        if self.count and looked_us < self.looked_us + SPACING_US:
            return self
        return Misses(self.count + 1, as_of_us, looked_us)


def cancel_spacing_us(tries: int) -> int:
    """Return how long to wait after so many cancels of an order before the next one."""
    return min(FIRST_CANCEL_US << min(tries - 1, 10), CANCEL_SPACING_MOST_US)
