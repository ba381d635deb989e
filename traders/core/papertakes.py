"""What an order that trades at once would have found: the visible book of the other side, level by level.

Nobody saw us trade, so the book goes on showing what we took: a level that we took from holds that much less for the
next one, until the book shows a change there. The order trades with others alone and ends where it would meet our own
(`taker_at_cross`, facts.md section 8).

Prices are on the ladder of the orders that are met, counts hundredths of a contract.
"""

from __future__ import annotations

from markets.core.book import OrderBook
from markets.core.units import DOLLAR_CC, Side

Levels = tuple[tuple[int, int], ...]  # (price_cc, count_cx), best first


def in_reach(book: OrderBook, side: Side, limit_cc: int) -> Levels:
    """Return the levels that an order of `side` with a limit on its own ladder could trade with."""
    least_cc = DOLLAR_CC - limit_cc
    levels = ((price_cc, count_cx) for price_cc, count_cx in book.levels[side.other].items() if price_cc >= least_cc)
    return tuple(sorted(levels, reverse=True))


class Taken:
    """What our takes have had of levels that still show it."""

    def __init__(self) -> None:
        self._had: dict[tuple[Side, int], tuple[int, int]] = {}  # level → taken, and what it showed

    def walk(self, side: Side, levels: Levels, count_cx: int, *, own: tuple[int, int] | None) -> list[tuple[int, int]]:
        """Return the (price_cc, count_cx) that a take of `side` trades at each level, and keep them in mind.

        Args:
            levels: As of `in_reach`.
            own: Price of our own best order there, and others' contracts ahead of it; None without one.
        """
        trades = []
        for price_cc, shown_cx in levels:
            if not count_cx or (own and price_cc < own[0]):
                break
            had_cx, _ = self._had.get((side.other, price_cc), (0, 0))
            traded_cx = min(shown_cx - had_cx, count_cx)
            if own and price_cc == own[0]:
                traded_cx = min(traded_cx, own[1])
            if traded_cx:
                self._had[side.other, price_cc] = (had_cx + traded_cx, shown_cx)
                count_cx -= traded_cx
                trades.append((price_cc, traded_cx))
        return trades

    def on_delta(self, level: tuple[Side, int]) -> None:
        """Take the book at its word: it has changed at this level."""
        self._had.pop(level, None)

    def on_snapshot(self, book: OrderBook) -> None:
        """Take the book at its word wherever it shows another size than we took from."""
        self._had = {level: had for level, had in self._had.items() if book.size_cx(*level) == had[1]}
