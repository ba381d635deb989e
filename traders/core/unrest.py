"""Whether a market was in unrest lately: one-sided flow, sweeps and jumps, from its prints and touches alone.

    flow      in a span, takers met one side with so many more contracts than the other
    sweep     in one moment, takers took so many contracts, or so many price levels, of one side
    jump      in a span, the YES mid moved so far

Each is asked whether it was so at any moment of the last `hold_us`, and tells until when it therefore holds. The
answers follow from the history alone, so a replay comes to the same ones. They are asked at every message: what was
found out is kept with the history, and followed from there, so that a look costs the same in a busy market.

Prints that tell an earlier time than those noted before them are rare. As long as such a one may matter, each look
begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from copy import copy
from itertools import pairwise, takewhile
from typing import TypeVar

import msgspec

from markets.core.units import Side
from traders.core.history import History, Print, Touch

NEVER_US = 1 << 63


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


Noted = TypeVar("Noted", Print, Touch)


def _noted_since(noted: deque[Noted], newest: Noted) -> list[Noted]:
    """Return what was noted after `newest`, oldest first."""
    return list(takewhile(lambda one: one is not newest, reversed(noted)))[::-1]


def _are_in_order(prints: Sequence[Print]) -> bool:
    """Return whether prints, oldest first, came in the order of their times."""
    return all(older.time_us <= newer.time_us for older, newer in pairwise(prints))


class _Follower:
    """Follows the prints of a history from look to look."""

    __slots__ = ("_are_in_order", "_newest", "_now_us", "_oldest")

    def __init__(self) -> None:
        self._are_in_order, self._now_us = False, 0
        self._oldest: Print | None = None  # of the history
        self._newest: Print | None = None

    @property
    def stands_until_us(self) -> int:
        """Until when another look finds the same, or what of it still holds, unless something more is noted."""
        return NEVER_US if self._are_in_order else 0

    def _news(self, history: History, since_us: int, now_us: int) -> tuple[list[Print], bool]:
        """Return the prints that were noted since the last look, oldest first, and whether to begin anew with them.

        Then they are all since `since_us`. So they are where following the last ones does not lead to what these say:
        time went back, prints were dropped that are young enough to matter, or one tells an earlier time than the one
        before it.
        """
        prints = history.prints
        has_all = prints[0] is self._oldest or prints[0].time_us < since_us
        can_follow = has_all and self._are_in_order and self._now_us <= now_us
        self._now_us = now_us
        if can_follow and prints[-1] is self._newest:
            return [], False
        if can_follow and self._newest is not None:
            new = _noted_since(prints, self._newest)
            can_follow = self._are_in_order = _are_in_order((self._newest, *new))
        if not can_follow:
            new = list(history.prints_since(since_us))[::-1]
            self._oldest, self._are_in_order = prints[0], _are_in_order(new)
        self._newest = prints[-1]
        return new, not can_follow


class _Calm(msgspec.Struct, frozen=True):
    """With these the newest, nothing was found at `since_us`, nor will be before `until_us`."""

    happened: Print | None
    touch: Touch | None
    since_us: int
    until_us: int


def is_calm(history: History, terms: Hashable, now_us: int) -> bool:
    """Return whether looking again could find nothing: nothing was, by those terms, and no more has been noted."""
    calm: _Calm | None = history.findings.get(("calm", terms))
    if calm is None or not calm.since_us <= now_us < calm.until_us:
        return False
    prints, touches = history.prints, history.touches
    return calm.happened is (prints[-1] if prints else None) and calm.touch is (touches[-1] if touches else None)


def note_calm(history: History, terms: Hashable, now_us: int) -> None:
    """Note that flows, sweeps and jumps have been looked for just now, and none holds."""
    prints, touches = history.prints, history.touches
    followers = [one for one in history.findings.values() if isinstance(one, _Follower)]
    until_us = min([follower.stands_until_us for follower in followers], default=NEVER_US)
    history.findings["calm", terms] = _Calm(
        prints[-1] if prints else None, touches[-1] if touches else None, now_us, until_us
    )


def flows(history: History, now_us: int, *, span_us: int, least_cx: int, hold_us: int) -> list[Flow]:
    """Return the one-sided flow that holds, at most one a side: the last one of each.

    A print counts for `span_us` from its time on; one that is later than now counts already.
    """
    since_us = now_us - span_us - hold_us
    if not history.prints or history.prints[-1].time_us < since_us:
        return []
    key = ("flows", span_us, least_cx, hold_us)
    followed: _Flows | None = history.findings.get(key)
    if followed is None:
        followed = history.findings[key] = _Flows(span_us, least_cx)
    last = followed.last(history, since_us, now_us)
    if not last:
        return []
    return [Flow(flow.side, flow.net_cx, flow.until_us + hold_us) for flow in last if flow.until_us + hold_us > now_us]


class _Net(msgspec.Struct):
    """Contracts that met YES less those that met NO, since when it is so many, and each side's last flow before."""

    least_cx: int
    net_cx: int = 0
    at_us: int = 0
    flows: list[Flow] = []

    def change(self, by_cx: int, time_us: int) -> None:
        """Let it be so many more from then on, or from when it changed last: that may be later, never earlier."""
        if time_us > self.at_us:
            if abs(self.net_cx) >= self.least_cx:
                self._note(time_us)
            self.at_us = time_us
        self.net_cx += by_cx

    def _note(self, until_us: int) -> None:
        side = Side.YES if self.net_cx > 0 else Side.NO
        others = [flow for flow in self.flows if flow.side is not side]
        self.flows = sorted([*others, Flow(side, abs(self.net_cx), until_us)], key=lambda flow: flow.side)


class _Flows(_Follower):
    """The net flow of prints.

    Prints are told some time after they happened, and looks come meanwhile. So there are two states: that of the
    newest print's own time, where the next one is added, and from there that of now, which only sees prints leave.
    """

    __slots__ = ("_ahead", "_counting", "_due_us", "_gone", "_least_cx", "_now", "_span_us", "_then")

    def __init__(self, span_us: int, least_cx: int) -> None:
        super().__init__()
        self._span_us, self._least_cx = span_us, least_cx
        self._begin()

    def _begin(self) -> None:
        self._then = self._now = _Net(self._least_cx)
        self._counting: deque[Print] = deque()  # then
        self._gone = 0  # of them, by now
        self._ahead: deque[Print] = deque()  # they will count
        self._due_us = NEVER_US  # when the next one begins to count, or ceases to

    @property
    def stands_until_us(self) -> int:
        return self._due_us if self._are_in_order else 0

    def last(self, history: History, since_us: int, now_us: int) -> list[Flow]:
        """Return each side's last flow, as of the moment when it ended; past now while it lasts."""
        new, is_begin = self._news(history, since_us, now_us)
        if is_begin:
            self._begin()
        if new or now_us >= self._due_us:
            self._ahead.extend(new)
            self._pass(now_us)
        last = self._now
        if self._ahead or abs(last.net_cx) >= self._least_cx:
            last = copy(last)
            last.change(sum([_signed_cx(happened) for happened in self._ahead]), now_us)
            last.change(0, now_us + 1)
        return last.flows

    def _pass(self, now_us: int) -> None:
        """Let time pass up to now: prints begin to count, and cease to."""
        if self._ahead and self._ahead[0].time_us <= now_us:
            while self._ahead and self._ahead[0].time_us <= now_us:
                self._count(self._ahead.popleft())
            self._now, self._gone = copy(self._then), 0
        counting = self._counting
        while self._gone < len(counting) and counting[self._gone].time_us + self._span_us <= now_us:
            self._let_go(self._now, counting[self._gone])
            self._gone += 1
        begins_us = self._ahead[0].time_us if self._ahead else NEVER_US
        ceases_us = counting[self._gone].time_us + self._span_us if self._gone < len(counting) else NEVER_US
        self._due_us = min(begins_us, ceases_us)

    def _count(self, happened: Print) -> None:
        counting = self._counting
        while counting and counting[0].time_us + self._span_us <= happened.time_us:
            self._let_go(self._then, counting.popleft())
        self._then.change(_signed_cx(happened), happened.time_us)
        counting.append(happened)

    def _let_go(self, net: _Net, gone: Print) -> None:
        net.change(-_signed_cx(gone), gone.time_us + self._span_us)


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
    since_us = now_us - hold_us - within_us
    key = ("sweeps", within_us, least_cx, least_levels, hold_us)
    followed: _Sweeps | None = history.findings.get(key)
    if followed is None:
        followed = history.findings[key] = _Sweeps(_SweepTerms(within_us, least_cx, least_levels))
    last = followed.last(history, since_us, now_us)
    if last is None or last.until_us < now_us - hold_us:
        return None
    return msgspec.structs.replace(last, until_us=last.until_us + hold_us)


class _SweepTerms(msgspec.Struct, frozen=True):
    """What makes a sweep."""

    within_us: int
    least_cx: int
    least_levels: int

    def are_met(self, count_cx: int, levels: int) -> bool:
        is_much, is_deep = count_cx >= self.least_cx > 0, levels >= self.least_levels > 0
        return is_much or is_deep


class _Sweeps(_Follower):
    """The last sweep among prints: new ones are looked at with what is close before them."""

    __slots__ = ("_last", "_terms")

    def __init__(self, terms: _SweepTerms) -> None:
        super().__init__()
        self._terms = terms
        self._last: Sweep | None = None

    def last(self, history: History, since_us: int, now_us: int) -> Sweep | None:
        """Return the last sweep, as of its own moment."""
        new, is_begin = self._news(history, since_us, now_us)
        if is_begin:
            self._last = _last_sweep(new[::-1], self._terms)
        elif new:
            near = list(history.prints_since(new[0].time_us - self._terms.within_us))
            found = _last_sweep(near, self._terms)
            if found is not None and found.until_us >= new[0].time_us:  # else it may be half of an older one
                self._last = found
        return self._last


def _last_sweep(prints: list[Print], terms: _SweepTerms) -> Sweep | None:
    """Return the last sweep among prints, newest first, as of its own moment."""
    count_cx = sum([happened.count_cx for happened in prints])
    if not terms.are_met(count_cx, len({happened.yes_price_cc for happened in prints})):
        return None
    sweeps = (_last_sweep_of(side, [one for one in prints if one.taker_side is side.other], terms) for side in Side)
    return max((sweep for sweep in sweeps if sweep is not None), key=lambda sweep: sweep.until_us, default=None)


def _last_sweep_of(side: Side, prints: list[Print], terms: _SweepTerms) -> Sweep | None:
    """Return the last sweep among one side's prints, newest first, as of its own moment."""
    count_cx, oldest = 0, 0
    at_price: dict[int, int] = {}
    for newest in prints:
        while oldest < len(prints) and prints[oldest].time_us >= newest.time_us - terms.within_us:
            count_cx += prints[oldest].count_cx
            at_price[prints[oldest].yes_price_cc] = at_price.get(prints[oldest].yes_price_cc, 0) + 1
            oldest += 1
        if terms.are_met(count_cx, len(at_price)):
            return Sweep(side, count_cx, len(at_price), newest.time_us)
        count_cx -= newest.count_cx
        at_price[newest.yes_price_cc] -= 1
        if not at_price[newest.yes_price_cc]:
            del at_price[newest.yes_price_cc]
    return None


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
            for touch in _noted_since(touches, self._newest):
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
