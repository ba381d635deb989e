"""Where an order of ours stands in its level's queue, when only the aggregated book is visible.

Rules of market_making.md section 2: start behind everything shown before we rested; prints at our price come off
the front; cancels in front cannot be seen, except that no more can be ahead than others show. Paper orders are
never part of the displayed book, so the whole level is others'.
"""

from __future__ import annotations

import msgspec


class QueuePlace(msgspec.Struct, frozen=True):
    """Estimated place of one resting order; counts in hundredths of a contract.

    `buffer_at_rest_cx` is the buffer when it rested, for "buffer kept".
    """

    ahead_cx: int
    buffer_at_rest_cx: int

    @classmethod
    def at_rest(cls, *, level_cx: int, better_cx: int) -> QueuePlace:
        """Return the place of an order that has just joined a level others show `level_cx` on."""
        return cls(ahead_cx=level_cx, buffer_at_rest_cx=level_cx + better_cx)

    def after_level(self, level_cx: int) -> QueuePlace:
        """Return the place after others' size at our price became `level_cx`."""
        if level_cx >= self.ahead_cx:
            return self
        return msgspec.structs.replace(self, ahead_cx=level_cx)

    def after_print(self, count_cx: int) -> tuple[QueuePlace, int]:
        """Return the place after a print at our price, and how much of the print reached us.

        The print uses up the queue ahead first; only what is left over can fill our order.
        """
        taken = min(self.ahead_cx, count_cx)
        return msgspec.structs.replace(self, ahead_cx=self.ahead_cx - taken), count_cx - taken


def buffer_pct(buffer_cx: int, remaining_cx: int) -> int | None:
    """Return buffer % in hundredths of a percent (54.0 % = 5400), or None when nothing remains."""
    if remaining_cx <= 0:
        return None
    return 10_000 * buffer_cx // (buffer_cx + remaining_cx)
