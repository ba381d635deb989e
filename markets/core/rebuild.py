"""A book as it was, from its history: the last snapshot, the deltas behind it, and the holes that spoil it.

The order of a connection's events is their `seq`; their times repeat and may step back. What had happened by a moment
is therefore the *prefix* of the sequence up to the last event that is not later than the moment: a state the book
really was in. Whoever goes on from there reads the events with a higher `seq`; all of those are later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import msgspec

from markets.core.book import NegativeLevel, OrderBook
from markets.core.tape import CONNECTION_BEGAN, CROSSED, CROSSED_FOR_US, OTHERS, Delta, Gap, Snapshot


class Rebuilt(msgspec.Struct, frozen=True):
    """A book with the last event it contains; `reason` says why it cannot be believed, empty when it can."""

    book: OrderBook
    time_us: int
    seq: int
    reason: str = ""


def contained(deltas: Sequence[Delta], until_us: int) -> Sequence[Delta]:
    """Return those of `deltas`, which are in the order of their `seq`, that had happened by `until_us`."""
    end = len(deltas)
    while end and deltas[end - 1].time_us > until_us:
        end -= 1
    return deltas[:end]


def rebuild(snapshot: Snapshot, deltas: Iterable[Delta], *, until_us: int) -> Rebuilt:
    """Apply `deltas`, in the order of their `seq`, to the snapshot they follow, and judge the book at `until_us`.

    A book that would hold a negative level, or that is still crossed or locked when its next time stamp comes or 250 ms
    later, is not the exchange's any more: it is returned as it was before that event, with the reason.
    """
    book = OrderBook()
    last: Snapshot | Delta = snapshot
    try:
        book.replace(snapshot.yes, snapshot.no)
    except NegativeLevel as exc:
        return Rebuilt(book, snapshot.time_us, snapshot.seq, f"negative level: {exc}")
    for delta in deltas:
        if book.is_crossed and delta.time_us != last.time_us:
            return Rebuilt(book, last.time_us, last.seq, CROSSED)
        try:
            book.apply(delta.side, delta.price_cc, delta.delta_cx)
        except NegativeLevel as exc:
            return Rebuilt(book, last.time_us, last.seq, f"negative level: {exc}")
        last = delta
    is_stuck = book.is_crossed and until_us - last.time_us >= CROSSED_FOR_US
    return Rebuilt(book, last.time_us, last.seq, CROSSED if is_stuck else "")


def spoiling(snapshot: Snapshot, gaps: Iterable[Gap], *, last_seq: int, until_us: int) -> Gap | None:
    """Return the first gap that parts a book from its snapshot, None when there is none.

    A gap that a number showed is placed by that number, every other by its time, which is the receiver's: where the
    clocks disagree it may spoil a little more than it must, never less.

    Args:
        gaps: In the order of their times: the market's own, and those of whole connections and streams.
        last_seq: Of the last event the book contains.
        until_us: The moment the book is asked for.
    """
    return next((gap for gap in gaps if _spoils(gap, snapshot, last_seq, until_us)), None)


def before(deltas: Sequence[Delta], gap: Gap) -> Iterable[Delta]:
    """Yield those of `deltas`, which are in the order of their `seq`, that came before the gap."""
    if gap.received and gap.conn is not None:  # the numbers of a whole stream's gap are those of its entries
        return takewhile(lambda delta: delta.seq < gap.received, deltas)
    return takewhile(lambda delta: delta.time_us < gap.time_us, deltas)


def _spoils(gap: Gap, snapshot: Snapshot, last_seq: int, until_us: int) -> bool:
    has_come = gap.time_us <= until_us
    is_own = gap.conn == snapshot.conn
    if gap.reason == CONNECTION_BEGAN:
        # Another connection took over; what happened between the last word of ours and its first is missing.
        return not is_own and has_come and gap.time_us > snapshot.time_us
    if gap.conn is not None and not is_own:
        return False
    if not gap.ticker and gap.reason.startswith(OTHERS):
        return False
    if is_own and gap.received:
        return gap.received > snapshot.seq and (has_come or gap.received <= last_seq)
    return has_come and gap.time_us >= snapshot.time_us
