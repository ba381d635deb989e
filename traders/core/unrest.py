"""Whether a market was in unrest lately: one-sided flow, sweeps and jumps, from its prints and touches alone.

    flow      in a span, takers met one side with so many more contracts than the other
    sweep     in one moment, takers took so many contracts, or so many price levels, of one side
    jump      in a span, the YES mid moved so far

Each is asked whether it was so at any moment of the last `hold_us`, and tells until when it therefore holds: nobody
keeps a memory, and a replay comes to the same answers. In a calm market the newest print and touch answer it.
"""

from __future__ import annotations

from collections import deque

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


def flows(history: History, now_us: int, *, span_us: int, least_cx: int, hold_us: int) -> list[Flow]:
    """Return the one-sided flow that holds, at most one a side: the last one of each.

    A print counts for `span_us` from its time on.
    """
    if not history.prints or history.prints[-1].time_us < now_us - span_us - hold_us:
        return []
    prints = list(history.prints_since(now_us - span_us - hold_us))
    if sum([happened.count_cx for happened in prints]) < least_cx:
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
    prints = list(history.prints_since(now_us - hold_us - within_us))
    if not _can_be_sweep(prints, least_cx, least_levels):
        return None
    sweeps = (
        _last_sweep_of(side, [one for one in prints if one.taker_side is side.other], within_us, least_cx, least_levels)
        for side in Side
    )
    last = max((sweep for sweep in sweeps if sweep is not None), key=lambda sweep: sweep.until_us, default=None)
    if last is None or last.until_us < now_us - hold_us:
        return None
    return msgspec.structs.replace(last, until_us=last.until_us + hold_us)


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
    if not history.touches or history.touches[-1].time_us < now_us - hold_us:
        return None
    touches = list(history.touches_since(now_us - hold_us - span_us))
    mids = [touch.yes_cc - touch.no_cc for touch in touches if touch.yes_cc and touch.no_cc]
    if not mids or max(mids) - min(mids) < 2 * least_cc:
        return None
    touches.reverse()
    last = _last_move(touches, span_us, least_cc)
    if last is None or last.until_us < now_us - hold_us:
        return None
    return msgspec.structs.replace(last, until_us=last.until_us + hold_us)


def _last_move(touches: list[Touch], span_us: int, least_cc: int) -> Jump | None:
    """Return the last jump among touches, oldest first, as of its own moment."""
    found: Jump | None = None
    lows: deque[tuple[int, int]] = deque()  # (when it ended, twice the mid) of mids of the span: the lowest is first,
    highs: deque[tuple[int, int]] = deque()  # and after it what is lowest once it has left; here the highest
    for touch, after in zip(touches, (*touches[1:], None), strict=True):
        if after is not None and after.time_us <= touch.time_us:
            continue  # half of a step of the exchange: it never stood
        mid = touch.twice_mid_cc
        if mid is None:
            continue
        for extremes in (lows, highs):
            while extremes and extremes[0][0] <= touch.time_us - span_us:
                extremes.popleft()
        moved = max(mid - lows[0][1], highs[0][1] - mid) if lows else 0
        if moved >= 2 * least_cc:
            found = Jump(moved // 2, touch.time_us)
        if after is None:
            break
        while lows and lows[-1][1] >= mid:
            lows.pop()
        lows.append((after.time_us, mid))
        while highs and highs[-1][1] <= mid:
            highs.pop()
        highs.append((after.time_us, mid))
    return found
