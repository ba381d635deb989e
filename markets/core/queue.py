"""Where an order of ours stands in its level's queue, when only the aggregated book is visible.

    place = QueuePlace.at_rest(level_cx=…, better_cx=…)     behind everything shown before we rested
    place, reached_cx = place.after_print(count_cx)         prints at our price come off the front
    place = place.after_cancel(count_cx, level_cx=…)        where a cancel happened is a guess, bounded by the level
    place = place.after_level(level_cx)                     no more can be ahead than others show
    ahead_cx, proof = read(reading_cx, …)                   what the venue's own number for an order says

All counts are hundredths of a contract and others': whoever asks takes our own orders off first. Paper orders are never
part of the displayed book, so for them the whole level is others'.

Source: market_making.md section 2, "Queue position", "Queue ahead, estimated", "Buffer kept".
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

BPS = 10_000


class QueuePlace(msgspec.Struct, frozen=True):
    """Place of one resting order.

    `buffer_at_rest_cx` is the buffer when it rested, for "buffer kept".
    """

    ahead_cx: int
    buffer_at_rest_cx: int

    @classmethod
    def at_rest(cls, *, level_cx: int, better_cx: int) -> QueuePlace:
        """Return the place of an order that has just joined a level others show `level_cx` on."""
        return cls(ahead_cx=level_cx, buffer_at_rest_cx=level_cx + better_cx)

    def with_ahead(self, ahead_cx: int) -> QueuePlace:
        """Return the place with so much ahead: a reading, or what is known better."""
        return self if ahead_cx == self.ahead_cx else QueuePlace(ahead_cx, self.buffer_at_rest_cx)

    def after_level(self, level_cx: int) -> QueuePlace:
        """Return the place after others' size at our price became `level_cx`."""
        return self.with_ahead(min(self.ahead_cx, level_cx))

    def after_print(self, count_cx: int) -> tuple[QueuePlace, int]:
        """Return the place after a print at our price, and how much of the print reached us.

        The print uses up the queue ahead first; only what is left over can fill our order.
        """
        taken_cx = min(self.ahead_cx, count_cx)
        return self.with_ahead(self.ahead_cx - taken_cx), count_cx - taken_cx

    def after_cancel(self, count_cx: int, *, level_cx: int, ahead_bps: int | None = None) -> QueuePlace:
        """Return the place after `count_cx` of a level of `level_cx` were canceled, nobody knows where in it.

        Args:
            level_cx: Others' size at our price before the cancel.
            ahead_bps: Share of the cancel taken to be ahead of us; None is pro rata, ahead ÷ level.

        Whatever the share, no more is ahead afterwards than the level still holds.
        """
        if ahead_bps is None:
            left_ahead_cx = count_cx * min(self.ahead_cx, level_cx) // level_cx
        else:
            left_ahead_cx = count_cx * ahead_bps // BPS
        return self.with_ahead(max(0, min(self.ahead_cx - left_ahead_cx, level_cx - count_cx)))

    def buffer_kept_bps(self, better_cx: int) -> int | None:
        """Return buffer kept in hundredths of a percent; None when there was no buffer at rest.

        Args:
            better_cx: Others' contracts at better prices now. Where those grew it may exceed 100 %.
        """
        if not self.buffer_at_rest_cx:
            return None
        return BPS * (self.ahead_cx + better_cx) // self.buffer_at_rest_cx


class Proof(StrEnum):
    """What one reading of a queue position proves of all readings."""

    EXCLUDES = "excludes better levels"
    INCLUDES = "includes better levels"
    CONFLICT = "fits neither"  # the book and the reading are of different moments


def read(
    reading_cx: int,
    better_cx: int,
    level_cx: int,
    own_ahead_cx: int = 0,
    own_better_cx: int = 0,
    *,
    includes_better: bool | None = None,
) -> tuple[int, Proof | None]:
    """Return the queue ahead that the venue's `queue_position_fp` of an order means, and what the reading proves.

    The venue documents the number both as contracts that match first under price-time priority and as shares preceding
    the order, so it may or may not include better prices. A reading below what others show there proves that it does
    not; one above all that can stand before us at our price proves that it does. A proof goes before the setting, and
    where they differ the caller tells somebody.

    Args:
        reading_cx: The number, with our own contracts in it.
        better_cx: Others' contracts at better prices.
        level_cx: Others' contracts at our price, ahead and behind.
        own_ahead_cx: Our own contracts ahead of the order at its price.
        own_better_cx: Our own contracts at better prices.
        includes_better: The setting; None is not set, which counts as excluding.

    Returns:
        Others' contracts at our price that match before the order, in 0 .. `level_cx`; the proof, None without one.
    """
    proof = _proof(reading_cx, better_cx=better_cx, at_price_cx=level_cx + own_ahead_cx)
    includes = proof is Proof.INCLUDES if proof in (Proof.INCLUDES, Proof.EXCLUDES) else bool(includes_better)
    before_cx = own_ahead_cx + (better_cx + own_better_cx if includes else 0)
    return max(0, min(reading_cx - before_cx, level_cx)), proof


def _proof(reading_cx: int, *, better_cx: int, at_price_cx: int) -> Proof | None:
    is_below = reading_cx < better_cx
    is_above = better_cx > 0 and reading_cx > at_price_cx
    if is_below and is_above:
        return Proof.CONFLICT
    if is_below:
        return Proof.EXCLUDES
    return Proof.INCLUDES if is_above else None


def buffer_pct(buffer_cx: int, remaining_cx: int) -> int | None:
    """Return buffer % in hundredths of a percent (54.0 % = 5400), or None when nothing remains."""
    if remaining_cx <= 0:
        return None
    return BPS * buffer_cx // (buffer_cx + remaining_cx)
