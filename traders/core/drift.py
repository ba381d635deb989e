"""Whether the account's position in a market is what its fills explain.

    position of the account = what was there before + our fills + fills of the account's other orders

The desk and the answers tell of one thing at different moments, so a difference counts only once it has lasted while
nothing of ours was on its way. Then something was lost, or booked twice: nothing new is sent until both agree.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

LASTING_US = 10_000_000


class Drift(msgspec.Struct, frozen=True):
    """What is known of it.

    Attributes:
        outside_cx: Net Yes of the account in this market that is not the trader's; None while it is not known.
        position_cx: The account's newest net Yes that desk and venue agree on; None while they do not.
        since_us: Since when the two differ; None while they do not.
        is_told: Whether it has lasted, and somebody was told.
    """

    outside_cx: int | None = None
    position_cx: int | None = None
    since_us: int | None = None
    is_told: bool = False

    def on_position(self, position_cx: int, *, is_agreed: bool) -> Drift:
        return replace(self, position_cx=position_cx if is_agreed else None)

    def on_outside_fills(self, net_yes_cx: Iterable[int]) -> Drift:
        """Return it after fills of other orders, each counted once by the caller."""
        return self if self.outside_cx is None else replace(self, outside_cx=self.outside_cx + sum(net_yes_cx))

    def looked(self, ours_cx: int, *, is_settled: bool, now_us: int) -> Drift:
        """Return it after a comparison.

        Args:
            ours_cx: The trader's own position.
            is_settled: Whether nothing of its orders is on its way or in doubt.
        """
        if self._is_explained(ours_cx):
            return self if self.since_us is None else replace(self, since_us=None, is_told=False)
        if self.position_cx is None or not is_settled:
            return self if self.is_told or self.since_us is None else replace(self, since_us=None)
        if self.outside_cx is None:
            return replace(self, outside_cx=self.position_cx - ours_cx)
        return replace(self, since_us=now_us) if self.since_us is None else self

    def _is_explained(self, ours_cx: int) -> bool:
        is_known = self.position_cx is not None and self.outside_cx is not None
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
