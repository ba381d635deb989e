"""How far our wall clock is from the venue's, learnt from the `Date` of its answers.

A `Date` has whole seconds and is made somewhere between our sending and receiving, so each answer only bounds the
venue's clock; the bounds of many answers are laid over each other and grow narrow. They are kept against monotonic
time, so a wall clock that is stepped shows at once, without a new answer.

Requests are signed with our wall clock as it is, not with a corrected one: the venue accepts some ten seconds, an
operator must see a wrong clock, and a wrong correction (a proxy's date) would break what works.
"""

from __future__ import annotations

import msgspec

SECOND_US = 1_000_000
WARN_US = 1 * SECOND_US
STOP_US = 5 * SECOND_US  # no live writes from here on
DRIFT_PPM = 100  # clocks of idle machines drift less


class Dated(msgspec.Struct, frozen=True):
    """The date of one answer, in whole seconds cut off, and when we sent and received on our monotonic clock."""

    date_s: int
    sent_us: int
    received_us: int


class VenueTime(msgspec.Struct, frozen=True):
    """Bounds of the venue's wall time minus our monotonic time, as of a monotonic time."""

    low_us: int
    high_us: int
    as_of_us: int

    def at(self, monotonic_us: int) -> VenueTime:
        """Return the bounds at a later time: they widen, because clocks drift."""
        drift_us = max(0, monotonic_us - self.as_of_us) * DRIFT_PPM // 1_000_000
        return VenueTime(self.low_us - drift_us, self.high_us + drift_us, max(self.as_of_us, monotonic_us))


class Offset(msgspec.Struct, frozen=True):
    """The venue's wall time minus ours lies in `low_us` … `high_us`."""

    low_us: int
    high_us: int

    @property
    def estimate_us(self) -> int:
        return (self.low_us + self.high_us) // 2

    @property
    def error_us(self) -> int:
        return (self.high_us - self.low_us + 1) // 2

    def may_reach(self, limit_us: int) -> bool:
        """Return whether the clocks certainly differ, and perhaps by `limit_us` or more."""
        certain = self.low_us > 0 or self.high_us < 0
        return certain and max(-self.low_us, self.high_us) >= limit_us

    @property
    def must_warn(self) -> bool:
        return self.may_reach(WARN_US)

    @property
    def must_stop(self) -> bool:
        """Whether no live order may leave any more: for whoever sends them (faults.md, E1)."""
        return self.may_reach(STOP_US)


def learn(known: VenueTime | None, seen: Dated) -> VenueTime:
    """Return what is known after one more answer.

    Bounds that contradict what was known mean that the venue's clock moved (or another machine answered): the newest
    answer alone is believed then.
    """
    low_us = seen.date_s * SECOND_US - seen.received_us
    high_us = (seen.date_s + 1) * SECOND_US - seen.sent_us
    fresh = VenueTime(low_us, high_us, seen.received_us)
    if known is None:
        return fresh
    before = known.at(seen.received_us)
    narrowed = VenueTime(max(before.low_us, low_us), min(before.high_us, high_us), before.as_of_us)
    return narrowed if narrowed.low_us <= narrowed.high_us else fresh


def offset(known: VenueTime, *, wall_us: int, monotonic_us: int) -> Offset:
    """Return how far the venue's clock is ahead of ours, at a moment read on both of our clocks."""
    now = known.at(monotonic_us)
    ours = wall_us - monotonic_us
    return Offset(now.low_us - ours, now.high_us - ours)
