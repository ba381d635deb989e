"""Whether a market was in unrest lately: one-sided flow, sweeps and jumps, from its prints and touches alone.

    flow      in a span, takers met one side with so many more contracts than the other
    sweep     in one moment, takers took so many contracts, or so many price levels, of one side
    jump      in a span, the YES mid moved so far

Each is asked whether it was so at any moment of the last `hold_us`, and tells until when it therefore holds. The
answers follow from the history alone, so a replay comes to the same ones. They are asked at every message, and few of
those note a print or a touch: what was found out is kept with the history, and only what was noted since is looked at.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise, takewhile
from typing import TypeGuard

import msgspec

from markets.core.units import Side
from traders.core.history import History, Print, Touch


class Flow(msgspec.Struct, frozen=True):
    """Takers met `side` with `net_cx` more than the other side; what they did holds until `until_us`."""

    side: Side
    net_cx: int
    until_us: int


class Sweep(msgspec.Struct, frozen=True):
    """Takers took this much of `side` in one moment; it holds until `until_us`."""

    side: Side
    count_cx: int
    levels: int
    until_us: int


class Jump(msgspec.Struct, frozen=True):
    """The YES mid moved by `moved_cc`; it holds until `until_us`."""

    moved_cc: int
    until_us: int


class _Finding(msgspec.Struct, frozen=True):
    """What the prints up to `newest` came to at a moment."""

    newest: Print
    now_us: int
    sweep: Sweep | None = None


def _is_known(finding: _Finding | None, history: History, now_us: int) -> TypeGuard[_Finding]:
    """Return whether no print was noted since: what happened meanwhile is that the oldest ones have become too old."""
    return finding is not None and finding.newest is history.prints[-1] and finding.now_us <= now_us


def flows(history: History, now_us: int, *, span_us: int, least_cx: int, hold_us: int) -> list[Flow]:
    """Return the one-sided flow that holds, at most one a side: the last one of each.

    A print counts for `span_us` from its time on.
    """
    if not history.prints or history.prints[-1].time_us < now_us - span_us - hold_us:
        return []
    key = ("too few for a flow", span_us, least_cx, hold_us)
    if _is_known(history.findings.get(key), history, now_us):
        return []
    prints = list(history.prints_since(now_us - span_us - hold_us))
    if sum([happened.count_cx for happened in prints]) < least_cx:
        history.findings[key] = _Finding(history.prints[-1], now_us)  # only a print can make it more
        return []
    prints.reverse()
    found = _last_flows(prints, now_us, span_us, least_cx)
    return [
        Flow(side, net_cx, until_us + hold_us)
        for side, (net_cx, until_us) in found.items()
        if until_us + hold_us > now_us
    ]


def _last_flows(prints: list[Print], now_us: int, span_us: int, least_cx: int) -> dict[Side, tuple[int, int]]:
    """Return each side's last net flow of `least_cx` or more, and when it ended; past now while it lasts.

    Args:
        prints: Oldest first.
    """
    found: dict[Side, tuple[int, int]] = {}
    net_cx, at_us = 0, 0  # contracts that met YES less those that met NO, and since when it is so many

    def note(until_us: int) -> None:
        if until_us > at_us and abs(net_cx) >= least_cx:
            found[Side.YES if net_cx > 0 else Side.NO] = (abs(net_cx), until_us)

    leaving = 0
    for happened in (*prints, None):
        time_us = now_us if happened is None else min(now_us, happened.time_us)
        while leaving < len(prints) and prints[leaving].time_us + span_us <= time_us:
            gone = prints[leaving]
            note(gone.time_us + span_us)
            at_us = max(at_us, gone.time_us + span_us)
            net_cx -= _signed_cx(gone)
            leaving += 1
        if happened is None:
            break
        note(time_us)
        at_us = max(at_us, time_us)
        net_cx += _signed_cx(happened)
    note(now_us + 1)
    return found


def _signed_cx(happened: Print) -> int:
    return happened.count_cx if happened.taker_side is Side.NO else -happened.count_cx


def last_sweep(
    history: History, now_us: int, *, within_us: int, least_cx: int, least_levels: int, hold_us: int
) -> Sweep | None:
    """Return the last sweep that holds.

    Args:
        within_us: How far apart prints of one moment may be; 0 for the same time stamp.
        least_cx: Contracts that make a sweep; 0 when none do.
        least_levels: Price levels that make one; 0 when none do.
    """
    if not history.prints or history.prints[-1].time_us < now_us - hold_us:
        return None
    key = ("last sweep", within_us, least_cx, least_levels, hold_us)
    finding: _Finding | None = history.findings.get(key)
    if _is_known(finding, history, now_us):
        last = finding.sweep
    else:
        prints = list(history.prints_since(now_us - hold_us - within_us))
        last = _last_sweep(prints, within_us, least_cx, least_levels)
        if _is_in_order(prints):  # else prints that are no longer looked at may hide younger ones
            history.findings[key] = _Finding(history.prints[-1], now_us, last)
    if last is None or last.until_us < now_us - hold_us:
        return None
    return msgspec.structs.replace(last, until_us=last.until_us + hold_us)


def _is_in_order(prints: list[Print]) -> bool:
    """Return whether prints, newest first, came in the order of their times."""
    return all(newer.time_us >= older.time_us for newer, older in pairwise(prints))


def _last_sweep(prints: list[Print], within_us: int, least_cx: int, least_levels: int) -> Sweep | None:
    """Return the last sweep among prints, newest first, as of its own moment."""
    if not _can_be_sweep(prints, least_cx, least_levels):
        return None
    sweeps = (
        _last_sweep_of(side, [one for one in prints if one.taker_side is side.other], within_us, least_cx, least_levels)
        for side in Side
    )
    return max((sweep for sweep in sweeps if sweep is not None), key=lambda sweep: sweep.until_us, default=None)


def _last_sweep_of(side: Side, prints: list[Print], within_us: int, least_cx: int, least_levels: int) -> Sweep | None:
    """Return the last sweep among one side's prints, newest first, as of its own moment."""
    count_cx, oldest = 0, 0
    at_price: dict[int, int] = {}
    for newest in prints:
        while oldest < len(prints) and prints[oldest].time_us >= newest.time_us - within_us:
            count_cx += prints[oldest].count_cx
            at_price[prints[oldest].yes_price_cc] = at_price.get(prints[oldest].yes_price_cc, 0) + 1
            oldest += 1
        if _is_sweep(count_cx, len(at_price), least_cx, least_levels):
            return Sweep(side, count_cx, len(at_price), newest.time_us)
        count_cx -= newest.count_cx
        at_price[newest.yes_price_cc] -= 1
        if not at_price[newest.yes_price_cc]:
            del at_price[newest.yes_price_cc]
    return None


def _can_be_sweep(prints: list[Print], least_cx: int, least_levels: int) -> bool:
    count_cx = sum([happened.count_cx for happened in prints])
    return _is_sweep(count_cx, len({happened.yes_price_cc for happened in prints}), least_cx, least_levels)


def _is_sweep(count_cx: int, levels: int, least_cx: int, least_levels: int) -> bool:
    return bool((least_cx and count_cx >= least_cx) or (least_levels and levels >= least_levels))


def last_jump(history: History, now_us: int, *, span_us: int, least_cc: int, hold_us: int) -> Jump | None:
    """Return the last jump that holds: from any mid that stood in the `span_us` before a touch began, to its own."""
    touches = history.touches
    if not touches or touches[-1].time_us < now_us - hold_us:
        return None
    key = ("jumps", span_us, least_cc)
    jumps: _Jumps | None = history.findings.get(key)
    if jumps is None or not jumps.covers(touches, now_us - hold_us - span_us):
        jumps = history.findings[key] = _Jumps(touches, span_us, least_cc)
    last = jumps.last(touches)
    if last is None or last.until_us < now_us - hold_us:
        return None
    return msgspec.structs.replace(last, until_us=last.until_us + hold_us)


Mids = deque[tuple[int, int]]  # when each ended, and twice the mid


class _Jumps:
    """The jumps among touches, followed from touch to touch: one costs the same however many came before it.

    A touch is known whole only when the next one comes: where that has the same time it was half of a step of the
    exchange, and never stood. The newest counts until then.
    """

    __slots__ = ("_found", "_highs", "_last", "_least", "_lows", "_newest", "_oldest", "_span_us")

    def __init__(self, touches: deque[Touch], span_us: int, least_cc: int) -> None:
        self._span_us, self._least = span_us, 2 * least_cc
        self._lows: Mids = deque()  # of the span: the lowest is first, after it what is lowest once it has left
        self._highs: Mids = deque()  # here the highest
        self._found: Jump | None = None
        self._oldest = self._newest = touches[0]
        for touch in touches:
            self._follow(touch)
        self._last = self._jump_to(self._newest) or self._found

    def covers(self, touches: deque[Touch], since_us: int) -> bool:
        """Return whether it has seen all touches since then that there are, and no others."""
        return touches[0] is self._oldest or touches[0].time_us <= since_us

    def last(self, touches: deque[Touch]) -> Jump | None:
        """Return the last jump, as of its own moment."""
        if touches[-1] is not self._newest:
            new = list(takewhile(lambda touch: touch is not self._newest, reversed(touches)))
            for touch in reversed(new):
                self._follow(touch)
            self._last = self._jump_to(self._newest) or self._found
        return self._last

    def _follow(self, touch: Touch) -> None:
        """Take `touch` for the newest: the one before it ended."""
        ended, self._newest = self._newest, touch
        mid = ended.twice_mid_cc
        if mid is None or touch.time_us <= ended.time_us:
            return
        self._found = self._jump_to(ended) or self._found
        for extremes, sign in ((self._lows, 1), (self._highs, -1)):
            while extremes and extremes[0][0] <= ended.time_us - self._span_us:
                extremes.popleft()
            while extremes and sign * extremes[-1][1] >= sign * mid:
                extremes.pop()
            extremes.append((touch.time_us, mid))

    def _jump_to(self, touch: Touch) -> Jump | None:
        mid, since_us = touch.twice_mid_cc, touch.time_us - self._span_us
        low, high = _first_of(self._lows, since_us), _first_of(self._highs, since_us)
        if mid is None or low is None or high is None:
            return None
        moved = max(mid - low, high - mid)
        return Jump(moved // 2, touch.time_us) if moved >= self._least else None


def _first_of(extremes: Mids, since_us: int) -> int | None:
    """Return the first mid that ended after `since_us`."""
    for ended_us, mid in extremes:
        if ended_us > since_us:
            return mid
    return None
