"""What a market did in the last minutes, as far as strategies and guards look back.

Times are the exchange's, in microseconds. The engine notes what happens; whoever decides only reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Any

import msgspec

from markets.core.units import Side

KEPT_US = 300_000_000
KEPT_MOST = 4_000  # of each kind: the newest, however busy the market


class Print(msgspec.Struct, frozen=True, gc=False):
    """A trade. The taker bought on `taker_side`'s ladder and met orders of the other."""

    time_us: int
    yes_price_cc: int
    count_cx: int
    taker_side: Side

    @property
    def maker_side(self) -> Side:
        """The ladder whose resting orders it met."""
        return self.taker_side.other


class Touch(msgspec.Struct, frozen=True, gc=False):
    """Best prices since `time_us`, each on its own side's ladder; 0 is an empty side."""

    time_us: int
    yes_cc: int
    no_cc: int

    @property
    def twice_mid_cc(self) -> int | None:
        """Twice the YES mid, which keeps it whole; None while a side is empty."""
        return self.yes_cc + 10_000 - self.no_cc if self.yes_cc and self.no_cc else None


class History:
    """Prints and changes of the touch, oldest first.

    `findings` is for whoever works something out of them and looks again before much more has been noted. It holds
    nothing that prints and touches do not say.
    """

    __slots__ = ("findings", "prints", "touches")

    def __init__(self) -> None:
        self.prints: deque[Print] = deque(maxlen=KEPT_MOST)
        self.touches: deque[Touch] = deque(maxlen=KEPT_MOST)
        self.findings: dict[Hashable, Any] = {}

    def note_print(self, happened: Print) -> None:
        self.prints.append(happened)
        while self.prints[0].time_us < happened.time_us - KEPT_US:
            self.prints.popleft()

    def note_touch(self, time_us: int, yes_cc: int, no_cc: int) -> None:
        """Note the best prices; those that did not change are noted once."""
        touches = self.touches
        if touches and touches[-1].yes_cc == yes_cc and touches[-1].no_cc == no_cc:
            return
        touches.append(Touch(time_us, yes_cc, no_cc))
        while len(touches) > 1 and touches[1].time_us <= time_us - KEPT_US:
            touches.popleft()  # the one that stood when the kept time began stays

    def clear(self) -> None:
        """Forget everything: the book was lost, and what happened meanwhile is unknown."""
        self.prints.clear()
        self.touches.clear()
        self.findings.clear()

    def prints_since(self, since_us: int) -> Iterator[Print]:
        """Yield prints at or after `since_us`, newest first."""
        for happened in reversed(self.prints):
            if happened.time_us < since_us:
                return
            yield happened

    def touches_since(self, since_us: int) -> Iterator[Touch]:
        """Yield touches that stood at or after `since_us`, newest first: the last one began before it."""
        for touch in reversed(self.touches):
            yield touch
            if touch.time_us <= since_us:
                return
