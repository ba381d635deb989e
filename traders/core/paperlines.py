"""The line of others at each price, as far as arrivals and departures show it: which of them it was that left.

    lines.begin(book, number)                   what stood before we looked is one lump a price
    lines.came(level, 250, number)              each later arrival is one order, behind all who came before
    lines.traded(level, 100)                    prints meet the front
    lines.left(level, 250, before=number)       the arrivals of that size that may be the one that was pulled

The public book shows sums, but it shows them change by change. An order is mostly pulled whole, so a cancel of just the
size of one arrival was that one, and stood where that one stood. Sizes that several share leave several to choose from;
a size that nobody brought was part of an order, and says nothing.

Counts are hundredths of a contract; numbers order everything that happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

import msgspec

from markets.core.book import OrderBook
from markets.core.queue import BPS
from markets.core.units import SIDES, Side

Level = tuple[Side, int]


class Arrival(msgspec.Struct):
    """What came at once and has not left; a lump is everybody who was there when we began to look."""

    number: int
    count_cx: int
    is_lump: bool = False


class Lines:
    """Who stands at each price, oldest first."""

    def __init__(self) -> None:
        self._lines: dict[Level, list[Arrival]] = {}

    def at(self, level: Level) -> tuple[Arrival, ...]:
        """Return who stands at a level, oldest first."""
        return tuple(self._lines.get(level, ()))

    def begin(self, book: OrderBook, number: int) -> None:
        """Forget everybody, and take each level for a lump."""
        self._lines = {level: [Arrival(number, count_cx, is_lump=True)] for level, count_cx in _levels(book)}

    def agree(self, book: OrderBook, waiting: Mapping[Level, int], number: int) -> None:
        """Take each level for a lump that does not hold what `book` shows and what waits to be explained."""
        shown = dict(_levels(book))
        for level in [*shown, *(level for level in self._lines if level not in shown)]:
            count_cx = shown.get(level, 0) + waiting.get(level, 0)
            if sum(arrival.count_cx for arrival in self._lines.get(level, ())) != count_cx:
                self._lines[level] = [Arrival(number, count_cx, is_lump=True)] if count_cx else []

    def came(self, level: Level, count_cx: int, number: int) -> None:
        self._lines.setdefault(level, []).append(Arrival(number, count_cx))

    def traded(self, level: Level, count_cx: int) -> None:
        """Take a print off the front."""
        line = self._lines.get(level, [])
        while line and count_cx:
            taken_cx = min(line[0].count_cx, count_cx)
            line[0].count_cx -= taken_cx
            count_cx -= taken_cx
            if not line[0].count_cx:
                del line[0]

    def left(self, level: Level, count_cx: int, *, before: int) -> tuple[Arrival, ...]:
        """Take a cancel out of the line, and return who it may have been: those of its size, or else a lump.

        Nobody knows when that is empty.

        Args:
            before: Whoever came later cannot have left by then.
        """
        line = self._lines.get(level, [])
        fitting = [one for one in line if one.count_cx == count_cx and one.number < before and not one.is_lump]
        if fitting:
            line.remove(fitting[-1])  # the youngest: who has waited long goes on waiting
            return tuple(fitting)
        there = [arrival for arrival in line if arrival.number < before]
        lumps = tuple([arrival for arrival in there if arrival.is_lump and arrival.count_cx >= count_cx])
        for arrival in lumps or sorted(there, key=attrgetter("count_cx"), reverse=True):
            taken_cx = min(arrival.count_cx, count_cx)
            arrival.count_cx -= taken_cx
            count_cx -= taken_cx
        self._lines[level] = [arrival for arrival in line if arrival.count_cx]
        return lumps


def part_ahead_bps(left: tuple[Arrival, ...], number: int, guess_bps: int | None) -> int | None:
    """Return how much of a cancel is taken to be ahead of who came as `number`; None is pro rata.

    Args:
        guess_bps: The setting for a cancel that is nobody's for sure; None goes by whom it may have been.
    """
    is_lump = any(arrival.is_lump for arrival in left)
    if not left or (is_lump and (guess_bps is not None or number < left[0].number)):
        return guess_bps
    ahead = sum(arrival.number < number for arrival in left)
    is_sure = ahead in (0, len(left))
    return BPS * ahead // len(left) if is_sure or guess_bps is None else guess_bps


def _levels(book: OrderBook) -> Iterable[tuple[Level, int]]:
    return (((side, price_cc), count_cx) for side in SIDES for price_cc, count_cx in book.levels[side].items())
