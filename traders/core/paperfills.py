"""What would have become of our orders in the queue, had they been there: the fill model of paper orders.

    print through our price     fills us, up to the print's size: whoever stood at our price was met before
    print at our price          uses up the queue ahead first; what is left of it fills us
    removal at our price        waits for its print; without one it was a cancel, ahead of us or behind

**One print, one volume.** Our orders are met in price-time order, and what one of them takes of a print the next does
not find.

**The displaced.** A print consumed real orders, because ours was never in the book. Had it been there, as much as it
took of the print would have been left to others at the print's price. They count as standing there still: ahead of what
we place at that price later, and met by later prints before it. Otherwise a paper order filled and placed anew would be
first in the queue again and again. They leave as those around them do: a cancel of a part of the level takes the same
part of them, a print at a worse price meets them first, and they are gone once the other side of the book has reached
their price.

**Removals and prints** of one trade come on two channels, in either order. They are matched by level and count, oldest
first, so that each moves an order once; what only one side of an order's arrival has seen moves it not at all. Trades
are told in the order in which they happened: what left the book before one that has been told was no trade.

**Cancels** are mostly of whole orders, and whose it was shows in its size (`traders.core.paperlines`). Where it does
not, how much of it was ahead of us is a guess.

**Without prints** (a tape of the book alone) a removal at the touch stays undecided until the next ticker says by how
much the volume grew; a removal behind the touch can only be a cancel.

All of it in values: prices on the order's own ladder, counts in hundredths of a contract, exchange time in
microseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from markets.core.book import OrderBook
from markets.core.queue import QueuePlace
from markets.core.units import DOLLAR_CC
from traders.core.paperlines import Level, Lines, part_ahead_bps

PRINT_WAIT_US = 250_000  # a removal may come before the print that explains it, or after it


class Standing(msgspec.Struct):
    """One order of ours with its estimated place.

    Attributes:
        number: When it took its place among what else happened; older orders are met first.
        shown_cx: What the book shows at its price.
    """

    key: str
    level: Level
    remaining_cx: int
    place: QueuePlace
    rested_us: int
    number: int
    shown_cx: int


class Removal(msgspec.Struct):
    """Contracts that left a level, as far as nothing has explained them; the level held `level_cx` before."""

    number: int
    time_us: int
    level: Level
    count_cx: int
    level_cx: int


class _Early(msgspec.Struct):
    """Contracts of a print that the book still shows."""

    time_us: int
    level: Level
    count_cx: int


class Hit(msgspec.Struct, frozen=True):
    """So much of one of our orders traded."""

    key: str
    count_cx: int


class _Print(msgspec.Struct, frozen=True):
    """A trade that met real orders at `level`.

    Attributes:
        explained: The removals that it explains: number and count of each.
    """

    level: Level
    count_cx: int
    time_us: int
    explained: list[tuple[int, int]]

    @property
    def explained_cx(self) -> int:
        return sum(count_cx for _, count_cx in self.explained)

    def finds(self, order: Standing) -> bool:
        """Whether the order was there: it had come before, and what the print met had not left the book by then."""
        return self.time_us > order.rested_us and all(number > order.number for number, _ in self.explained)

    def seen_by_cx(self, order: Standing) -> int:
        """Return how much of the print left the book while the order stood there."""
        return sum(count_cx for number, count_cx in self.explained if number > order.number)


Origin = tuple[int, int, int]  # of a book: connection, subscription, generation


class PaperQueue:
    """Our orders among everybody's, and what happened that may have moved them.

    Args:
        ahead_bps: Share of a cancel at our price taken to be ahead of us, where its size does not tell whose it was;
            None is pro rata, ahead ÷ level.
        has_prints: Whether the market's trades are told; without them `on_volume` decides.
    """

    def __init__(self, *, ahead_bps: int | None = None, has_prints: bool = True) -> None:
        self.orders: dict[str, Standing] = {}
        self._ahead_bps = ahead_bps
        self._has_prints = has_prints
        self._number = 0
        self._removals: deque[Removal] = deque()
        self._early: deque[_Early] = deque()
        self._displaced: dict[Level, int] = {}
        self._lines = Lines()
        self._origin: Origin | None = None
        self._volume_cx: int | None = None

    def next_number(self) -> int:
        """Return the number of something that happens now."""
        self._number += 1
        return self._number

    # --- our orders ---------------------------------------------------------------------------------------------------

    def join(self, key: str, level: Level, count_cx: int, *, level_cx: int, better_cx: int, time_us: int) -> None:
        """Let an order rest behind the `level_cx` that others show at its price and those displaced there.

        Args:
            better_cx: What others show at better prices.
            time_us: Only later prints can reach it.
        """
        place = QueuePlace.at_rest(level_cx=level_cx + self.displaced_cx(level), better_cx=better_cx)
        self.orders[key] = Standing(key, level, count_cx, place, time_us, self.next_number(), level_cx)

    def leave(self, key: str) -> None:
        del self.orders[key]

    def resize(self, key: str, remaining_cx: int) -> None:
        """Let less of an order stand, at its place."""
        self.orders[key].remaining_cx = remaining_cx

    def displaced_cx(self, level: Level) -> int:
        """Return others' contracts that stand at a level only because our orders took the prints that met them."""
        return self._displaced.get(level, 0)

    def _at(self, level: Level) -> list[Standing]:
        return [order for order in self.orders.values() if order.level == level]

    # --- the book -----------------------------------------------------------------------------------------------------

    def on_delta(self, level: Level, delta_cx: int, *, book: OrderBook, time_us: int) -> None:
        """Take notice of a change of one level that `book` already contains."""
        for order in self.orders.values():
            if order.level == level:
                order.shown_cx += delta_cx
        if delta_cx < 0:
            self._note_removal(level, -delta_cx, book, time_us)
            return
        self._lines.came(level, delta_cx, self.next_number())
        if self._displaced:
            self._forget_overrun(book)

    def on_snapshot(self, origin: Origin, *, book: OrderBook) -> None:
        """Take notice of a whole book.

        One that follows what went before changes nothing. Where it shows another size at our price something was
        missed, and no more is ahead of us than it shows; a book of another origin begins everything anew.
        """
        if origin != self._origin:
            self._origin, self._volume_cx = origin, None
            self._removals.clear()
            self._early.clear()
            self._displaced.clear()
            self._lines.begin(book, self.next_number())
        for order in self.orders.values():
            shown_cx = book.size_cx(*order.level)
            if shown_cx != order.shown_cx:
                self._removals = deque(removal for removal in self._removals if removal.level != order.level)
                self._early = deque(early for early in self._early if early.level != order.level)
                order.shown_cx = shown_cx
            self._bound(order)
        self._lines.agree(book, self._waiting(), self.next_number())
        self._forget_overrun(book)

    def _waiting(self) -> dict[Level, int]:
        """Return what has left each level and is not explained yet."""
        waiting: dict[Level, int] = {}
        for removal in self._removals:
            waiting[removal.level] = waiting.get(removal.level, 0) + removal.count_cx
        return waiting

    def _forget_overrun(self, book: OrderBook) -> None:
        """Let the displaced go whose price the other side has reached: they would have traded with it."""
        for level in list(self._displaced):
            side, price_cc = level
            best_cc = book.best_cc[side.other]
            if best_cc and best_cc + price_cc >= DOLLAR_CC:
                del self._displaced[level]
                for order in self._at(level):
                    self._bound(order)

    def _bound(self, order: Standing) -> None:
        """No more is ahead than the level shows, waits to be explained, or was displaced."""
        level = order.level
        most_cx = order.shown_cx + self.displaced_cx(level)
        if order.place.ahead_cx <= most_cx:
            return  # mostly, and then it does not matter what waits
        waiting_cx = sum([r.count_cx for r in self._removals if r.level == level and r.number > order.number])
        order.place = order.place.after_level(most_cx + waiting_cx)

    # --- removals: trades or cancels? ---------------------------------------------------------------------------------

    def _note_removal(self, level: Level, count_cx: int, book: OrderBook, time_us: int) -> None:
        level_cx = book.size_cx(*level) + count_cx
        told_cx = self._already_told(level, count_cx) if self._early else 0
        if told_cx < count_cx:
            removal = Removal(self.next_number(), time_us, level, count_cx - told_cx, level_cx - told_cx)
            side, price_cc = level
            if self._has_prints or price_cc >= book.best_cc[side]:
                self._removals.append(removal)
            else:
                self._cancel(removal)
        if told_cx:
            self._lines.traded(level, told_cx)
            for order in self._at(level):
                self._bound(order)

    def _already_told(self, level: Level, count_cx: int) -> int:
        """Return how much of a removal prints have told before, moving those orders that came in between."""
        left_cx = count_cx
        for early in self._early:
            if early.level != level or not left_cx:
                continue
            told_cx = min(early.count_cx, left_cx)
            early.count_cx -= told_cx
            left_cx -= told_cx
            for order in self._at(level):
                # An order that came after the print found its contracts still in the book.
                if order.rested_us >= early.time_us:
                    order.place = order.place.after_print(told_cx)[0]
        self._early = deque(early for early in self._early if early.count_cx)
        return count_cx - left_cx

    def settle(self, time_us: int) -> None:
        """Count removals as cancels that have waited for their print in vain."""
        if not self._has_prints:
            return
        while self._removals and time_us - self._removals[0].time_us >= PRINT_WAIT_US:
            self._cancel(self._removals.popleft())
        while self._early and time_us - self._early[0].time_us >= PRINT_WAIT_US:
            self._early.popleft()

    def _cancel(self, removal: Removal) -> None:
        """Move our orders by a removal that nothing traded."""
        if not removal.count_cx:
            return
        level, displaced_cx = removal.level, self._displaced.get(removal.level, 0)
        level_cx = removal.level_cx + displaced_cx
        gone_cx = -(-displaced_cx * removal.count_cx // removal.level_cx)
        if gone_cx:
            self._displace(level, -gone_cx)
        left = self._lines.left(level, removal.count_cx, before=removal.number)
        for order in self.orders.values():
            if order.level != level:
                continue
            if order.number < removal.number:
                part_bps = part_ahead_bps(left, order.number, self._ahead_bps)
                order.place = order.place.after_cancel(removal.count_cx, level_cx=level_cx, ahead_bps=part_bps)
                if gone_cx:
                    left_cx = level_cx - removal.count_cx
                    order.place = order.place.after_cancel(gone_cx, level_cx=left_cx, ahead_bps=self._ahead_bps)
            self._bound(order)  # the displaced who left with it stood before whoever came since, too

    def _displace(self, level: Level, count_cx: int) -> None:
        left_cx = self.displaced_cx(level) + count_cx
        if left_cx:
            self._displaced[level] = left_cx
        else:
            self._displaced.pop(level, None)

    # --- prints -------------------------------------------------------------------------------------------------------

    def on_print(self, level: Level, count_cx: int, *, time_us: int) -> list[Hit]:
        """Return what a print that met real orders at `level` fills of ours, moving all of them."""
        trade = _Print(level, count_cx, time_us, self._explain(level, count_cx))
        early_cx = count_cx - trade.explained_cx
        if early_cx:
            self._early.append(_Early(time_us, level, early_cx))
        return self._meet(trade)

    def _explain(self, level: Level, count_cx: int) -> list[tuple[int, int]]:
        """Return the removals that a print explains, with what of each: the one of its size, else oldest first."""
        explained: list[tuple[int, int]] = []
        fitting = next((r for r in self._removals if r.level == level and r.count_cx == count_cx), None)
        if fitting is not None:
            self._cancel_before(fitting)
        for removal in self._removals if fitting is None else (fitting,):
            if removal.level != level or not count_cx:
                continue
            told_cx = min(removal.count_cx, count_cx)
            removal.count_cx -= told_cx
            removal.level_cx -= told_cx
            count_cx -= told_cx
            explained.append((removal.number, told_cx))
            self._lines.traded(level, told_cx)
        if explained:
            self._removals = deque(removal for removal in self._removals if removal.count_cx)
        return explained

    def _cancel_before(self, traded: Removal) -> None:
        """Count as cancels what left the book before a trade that has just been told: trades are told in order."""
        before = [removal for removal in self._removals if removal.number < traded.number]
        for removal in before:
            self._removals.popleft()
            self._cancel(removal)

    def _meet(self, trade: _Print) -> list[Hit]:
        """Walk a print's volume down the ladder as its taker would have: our orders and others, best price first."""
        side, price_cc = trade.level
        prices = {order.level[1] for order in self.orders.values() if order.level[0] is side}
        prices |= {price for displaced_side, price in self._displaced if displaced_side is side}
        hits: list[Hit] = []
        left_cx = trade.count_cx
        for better_cc in sorted((price for price in prices if price > price_cc), reverse=True):
            left_cx = self._pass_through((side, better_cc), trade, left_cx, hits)
        self._use_up(trade, left_cx, hits)
        return hits

    def _pass_through(self, level: Level, trade: _Print, left_cx: int, hits: list[Hit]) -> int:
        """Return what a print has left once it went through a level that is empty but for us and the displaced."""
        displaced_cx = self.displaced_cx(level)
        found, later = self._found(level, trade)
        for order in found:
            order.place = order.place.after_level(displaced_cx)
        left_cx, others_cx = _walk(found, left_cx, hits, others_cx=displaced_cx)
        for order in later:
            order.place = order.place.after_print(others_cx)[0]
        self._displace(level, -others_cx)
        return left_cx

    def _use_up(self, trade: _Print, left_cx: int, hits: list[Hit]) -> None:
        """Let a print use up the queue of its level, ours in it; what others did not get of it displaced them."""
        found, later = self._found(trade.level, trade)
        _, others_cx = _walk(found, left_cx, hits, others_cx=left_cx)
        for order in later:
            # It came after the print, behind all others: those that the book did not show any more, because they
            # really traded, stand ahead of it as well, and of those it did show some have traded.
            ahead_cx = order.place.ahead_cx + trade.count_cx - trade.seen_by_cx(order) - others_cx
            order.place = order.place.with_ahead(max(0, ahead_cx))
        self._displace(trade.level, trade.count_cx - others_cx)

    def _found(self, level: Level, trade: _Print) -> tuple[list[Standing], list[Standing]]:
        """Return our orders at a level that a print found there, and those that came later; both oldest first."""
        found: list[Standing] = []
        later: list[Standing] = []
        for order in self._at(level):
            (found if trade.finds(order) else later).append(order)
        return found, later

    # --- without prints -----------------------------------------------------------------------------------------------

    def on_volume(self, volume_cx: int, *, time_us: int) -> Iterator[tuple[Removal, int]]:
        """Yield each removal up to `time_us` with how much of it traded, oldest first; `decide` each at once.

        Args:
            volume_cx: All that ever traded in the market. What it grew by since the last time is allotted to the
                removals, at most what was removed. Of the first one nobody knows by how much it grew.
        """
        last_cx, self._volume_cx = self._volume_cx, volume_cx
        grown_cx = max(0, volume_cx - last_cx) if last_cx is not None else 0
        while self._removals and self._removals[0].time_us <= time_us:
            removal = self._removals.popleft()
            traded_cx = min(grown_cx, removal.count_cx)
            grown_cx -= traded_cx
            yield removal, traded_cx

    def decide(self, removal: Removal, traded_cx: int) -> list[Hit]:
        """Return what a removal fills of ours of which so much traded; the rest of it was canceled."""
        hits = []
        if traded_cx:
            hits = self._meet(_Print(removal.level, traded_cx, removal.time_us, [(removal.number, traded_cx)]))
            self._lines.traded(removal.level, traded_cx)
            removal.count_cx -= traded_cx
            removal.level_cx -= traded_cx
        self._cancel(removal)
        return hits

    @property
    def first_undecided(self) -> int | None:
        """The number of the oldest removal that waits for a ticker; None when nothing waits."""
        return self._removals[0].number if self._removals and not self._has_prints else None

    def is_undecided(self, key: str) -> bool:
        """Whether a removal that waits for a ticker may turn out to have filled the order."""
        order = self.orders[key]
        side, price_cc = order.level
        return not self._has_prints and any(
            removal.number > order.number and removal.level[0] is side and removal.level[1] <= price_cc
            for removal in self._removals
        )


def _walk(orders: list[Standing], left_cx: int, hits: list[Hit], *, others_cx: int) -> tuple[int, int]:
    """Let a taker's volume go through one level's queue.

    Args:
        orders: Ours there, oldest first.
        others_cx: Most that others there can take.

    Returns:
        What is left of the volume, and how much of it others took.
    """
    passed_cx = 0
    for order in orders:
        met_cx = min(left_cx, max(0, order.place.ahead_cx - passed_cx))
        hit_cx = min(order.remaining_cx, left_cx - met_cx)
        passed_cx += met_cx
        left_cx -= met_cx + hit_cx
        order.place = order.place.after_print(passed_cx)[0]
        if hit_cx:
            order.remaining_cx -= hit_cx
            hits.append(Hit(order.key, hit_cx))
    behind_cx = min(left_cx, others_cx - passed_cx)
    return left_cx - behind_cx, passed_cx + behind_cx
