"""The order in which things happened to a market, from rows that were read by their times.

Within one connection the book's order is `seq`; its times repeat and step back by a little. So an event waits until
everything that may come before it has been read, leaves in the order of its number, and counts as happening at the
latest time its connection had reached: its *stamp*, which never steps back.

A gap that a number showed goes right before the event of that number, the beginning of a connection before all of it.
Any other gap goes by its time; where it is the end of a subscription, the next one counts anew. A snapshot of the
gateway's own follows the event whose number it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from markets.core import tape
from markets.core.tape import Delta, Gap, Snapshot

BookEvent = Snapshot | Delta | Gap

NOBODY = -1  # a gap of a whole stream belongs to no connection
_GAP, _CHANGE, _OWN_SNAPSHOT = range(3)
_LAST = 1 << 63

_Waiting = tuple[int, int, int, int, BookEvent]


class _Connection:
    """What of one connection waits, and how far it has come."""

    __slots__ = ("epoch", "highest", "reached_us", "waiting")

    def __init__(self) -> None:
        self.epoch = 0  # numbers begin anew with each
        self.highest = 0
        self.reached_us = 0
        self.waiting: list[_Waiting] = []

    def add(self, event: BookEvent, count: int) -> None:
        epoch = self.epoch
        match event:
            case Gap(reason=tape.CONNECTION_BEGAN):
                seq, rank = 0, _GAP
            case Gap(is_end_of_numbers=True):
                seq, rank = _LAST, _GAP
                self.epoch, self.highest = epoch + 1, 0
            case Gap():
                # Without a number, or with one that another market's event showed: after whatever of ours has come.
                seq, rank = min(event.received or _LAST, self.highest + 1), _GAP
            case _:
                seq = event.seq
                rank = _OWN_SNAPSHOT if isinstance(event, Snapshot) and event.is_ours else _CHANGE
                self.highest = max(self.highest, seq)
        heappush(self.waiting, (epoch, seq, rank, count, event))

    def pop_until(self, time_us: float) -> Iterator[tuple[int, BookEvent]]:
        while self.waiting and self.waiting[0][4].time_us <= time_us:
            event = heappop(self.waiting)[4]
            self.reached_us = max(self.reached_us, event.time_us)
            yield self.reached_us, event


def in_sequence(events: Iterable[BookEvent], *, slack_us: int) -> Iterator[tuple[int, BookEvent]]:
    """Yield (stamp in microseconds, event) in the order in which a market's book changed.

    Connections are told apart by their identity: equal stamps go in its order.

    Args:
        events: In the order of their times.
        slack_us: How far times may step back within a connection; only so much is held at a time.
    """
    connections: dict[int, _Connection] = {}
    ready: list[tuple[int, int, int, BookEvent]] = []
    left = 0

    def leave(until_us: float) -> Iterator[tuple[int, BookEvent]]:
        nonlocal left
        for conn, found in connections.items():
            for stamp_us, event in found.pop_until(until_us):
                left += 1
                heappush(ready, (stamp_us, conn, left, event))
        while ready and ready[0][0] <= until_us:
            stamp_us, _, _, event = heappop(ready)
            yield stamp_us, event

    for count, event in enumerate(events):
        conn = NOBODY if event.conn is None else event.conn
        connections.setdefault(conn, _Connection()).add(event, count)
        yield from leave(event.time_us - slack_us)
    yield from leave(float("inf"))
