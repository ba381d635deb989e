"""Whether the account's position in a market is what its fills explain.

    position of the account = what was there before + our fills + fills of the account's other orders

The desk and the answers tell of one thing at different moments, so a difference counts only once it has lasted while
nothing of ours was on its way. Then something was lost, or booked twice: nothing new is sent until both agree.

What is not ours counts in the limits, with what it cost: the venue's figure, and never less than is known of it.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from markets.core.settlement import Position
from markets.core.units import DOLLAR_CC, Side

LASTING_US = 10_000_000
WELL_BEFORE_US = 60_000_000  # positions are compared each 30 s, and clocks may be some seconds apart


class Drift(msgspec.Struct, frozen=True):
    """What is known of it.

    Attributes:
        outside: What the account holds in this market that is not the trader's, and what that has cost at most; None
            while it is not known.
        position_cx: The account's newest net Yes that desk and venue agree on; None while they do not.
        cost_ud: What that has cost, as the venue tells it; None is unknown.
        since_us: Since when the two differ; None while they do not.
        is_told: Whether it has lasted, and somebody was told.
        outside_us: When `outside` was learnt: it holds whatever traded before. 0: nobody noted it.
    """

    outside: Position | None = None
    position_cx: int | None = None
    cost_ud: int | None = None
    since_us: int | None = None
    is_told: bool = False
    outside_us: int = 0

    @property
    def outside_cx(self) -> int | None:
        """Net Yes of the account that is not the trader's."""
        return None if self.outside is None else self.outside.position_cx

    def on_position(self, position_cx: int, cost_ud: int | None = None, *, is_agreed: bool) -> Drift:
        return replace(self, position_cx=position_cx if is_agreed else None, cost_ud=cost_ud)

    def on_outside_fill(self, side: Side, price_cc: int, count_cx: int, *, time_us: int = 0) -> Drift:
        """Return it after a fill of another order on `side`'s ladder, counted once by the caller.

        Args:
            time_us: When it traded; 0 is unknown. One from well before is told once more, by a desk or a store that
                began anew, and is in `outside` already.
        """
        if self.outside is None or 0 < time_us < self.outside_us - WELL_BEFORE_US:
            return self
        return replace(self, outside=self.outside.after(side, price_cc, count_cx))

    def looked(self, ours: Position, *, is_settled: bool, now_us: int) -> Drift:
        """Return it after a comparison.

        Args:
            ours: What the trader holds.
            is_settled: Whether nothing of its orders is on its way or in doubt.
        """
        if self._is_explained(ours.position_cx):
            return self if self.since_us is None else replace(self, since_us=None, is_told=False)
        if self.position_cx is None or not is_settled:
            return self if self.is_told or self.since_us is None else replace(self, since_us=None)
        if self.outside is None:
            learnt = outside_of(self.position_cx, self.cost_ud, ours)
            return replace(self, outside=learnt, outside_us=now_us)
        return replace(self, since_us=now_us) if self.since_us is None else self

    def _is_explained(self, ours_cx: int) -> bool:
        is_known = self.position_cx is not None and self.outside is not None
        return is_known and self.position_cx == (self.outside_cx or 0) + ours_cx

    def is_news(self, now_us: int) -> bool:
        """Return whether a difference has lasted and nobody was told."""
        return not self.is_told and self.since_us is not None and now_us >= self.since_us + LASTING_US

    def told(self) -> Drift:
        return replace(self, is_told=True)

    def why(self, ours_cx: int) -> str:
        """Return why nothing new may be sent: a difference that has lasted; empty without one."""
        if not self.is_told:
            return ""
        return f"the account holds {self.position_cx} cx, {ours_cx} of ours and {self.outside_cx} of others explain it"


def outside_of(position_cx: int, cost_ud: int | None, ours: Position) -> Position:
    """Return what of an account's position is not ours, with what it has cost at most.

    The venue tells one cost of all that it nets. Where both parts are of one side, what we paid is ours and the rest is
    theirs; where they are not, or it tells nothing, each of theirs has cost a dollar for all that is known.

    Args:
        cost_ud: The venue's, of the whole position.
    """
    left_cx = position_cx - ours.position_cx
    most_ud = abs(left_cx) * DOLLAR_CC
    is_one_side = left_cx * ours.position_cx >= 0
    told_ud = cost_ud - ours.cost_ud if cost_ud is not None and is_one_side else most_ud
    return Position(position_cx=left_cx, cost_ud=min(max(0, told_ud), most_ud))


def remembered(outside_cx: int | None, cost_ud: int | None) -> Position | None:
    """Return what is not ours as it was kept over a restart; a cost that was not is a dollar each."""
    if outside_cx is None:
        return None
    return Position(position_cx=outside_cx, cost_ud=abs(outside_cx) * DOLLAR_CC if cost_ud is None else cost_ud)
