"""How much of one level of the book is ours, from two streams that tell it separately: the book, and our orders.

    bounds    a change that the venue tags with our id is ours for certain; an untagged removal may be a fill of ours;
              and what is proven to rest is in the book, but for what one stream has told and the other may not have
    guess     what is proven, with the changes that the book has shown and nobody told, without those told and not shown

Neither stream is more than DOUBT_US behind the other: so long is a change of one looked for in the other, and so long
may the bounds be apart. After it only what is proven counts, and a book that contradicts that is told to a person.

An untagged removal is no fill behind the touch, nor among the others who stand before all of ours for certain, nor
without a print, which comes within PRINT_WAIT_US. Where nothing is tagged, because the connection is another account's
(`is_tagged`), an untagged change may be any that is on its way.

Counts are hundredths of a contract; `now_us` is one clock that is never set back.
"""

from __future__ import annotations

from collections import deque

from markets.core.units import Side, yes_price_cc
from markets.formatting import contracts, price
from traders.core.paperfills import PRINT_WAIT_US

DOUBT_US = 2_000_000
NEVER_US = 1 << 63


class Recent:
    """What was noted in the last `span_us` and not taken since."""

    __slots__ = ("_items", "_span_us", "_sum_cx")

    def __init__(self, span_us: int = DOUBT_US) -> None:
        self._span_us = span_us
        self._items: deque[tuple[int, int]] = deque()
        self._sum_cx = 0

    def note(self, now_us: int, count_cx: int) -> None:
        if count_cx > 0:
            self._items.append((now_us, count_cx))
            self._sum_cx += count_cx

    def sum_cx(self, now_us: int) -> int:
        items = self._items
        while items and items[0][0] <= now_us - self._span_us:
            self._sum_cx -= items.popleft()[1]
        return self._sum_cx

    def take(self, now_us: int, count_cx: int) -> int:
        """Take so much of it away, the oldest first; return how much of it there was."""
        taken_cx = left_cx = min(max(0, count_cx), self.sum_cx(now_us))
        self._sum_cx -= taken_cx
        while left_cx:
            at_us, noted_cx = self._items.popleft()
            if noted_cx > left_cx:
                self._items.appendleft((at_us, noted_cx - left_cx))
            left_cx -= min(noted_cx, left_cx)
        return taken_cx

    def next_end_us(self, now_us: int) -> int:
        """Return when the oldest of it is over."""
        return self._items[0][0] + self._span_us if self.sum_cx(now_us) else NEVER_US


class Named:
    """What of a `Recent` each order has to do with."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[str, tuple[int, int]] = {}

    def note(self, client_order_id: str, now_us: int, count_cx: int) -> None:
        since_us, before_cx = self._noted.get(client_order_id, (now_us, 0))
        self._noted[client_order_id] = (since_us, before_cx + count_cx)

    def take(self, client_order_id: str, now_us: int, recent: Recent) -> int:
        """Take away what an order has to do with, if it is still counted; return how much that was."""
        since_us, count_cx = self._noted.pop(client_order_id, (now_us, 0))
        return recent.take(now_us, count_cx) if since_us > now_us - DOUBT_US else 0

    def forget(self, client_order_id: str) -> None:
        self._noted.pop(client_order_id, None)


class OneSided:
    """Changes of one direction that either the book has shown or the orders have told, and not yet both."""

    __slots__ = ("shown", "told")

    def __init__(self) -> None:
        self.shown, self.told = Recent(), Recent()

    def show(self, now_us: int, count_cx: int) -> None:
        self.shown.note(now_us, count_cx - self.told.take(now_us, count_cx))

    def tell(self, now_us: int, count_cx: int) -> None:
        self.told.note(now_us, count_cx - self.shown.take(now_us, count_cx))

    def shown_only_cx(self, now_us: int) -> int:
        """Return by how much the book is ahead; negative where it is behind."""
        return self.shown.sum_cx(now_us) - self.told.sum_cx(now_us)


class OwnLevel:
    """One level in which something of ours stands, or may.

    Args:
        is_watched: Whether an order of ours would have been noticed when it came into the book; else what is proven may
            stand there already.

    Attributes:
        proven_cx: What is proven to rest here.
        may_cx: What may rest besides, at its most.
        least_cx: Ours in the book, at least, and
        most_cx: at most, as of the last `settle`.
        shown_cx: What the book shows, ours and the others'.
        others_cx: The others', as far as it can be told.
        is_begun: Whether the book has been looked at since something of ours was named here.
    """

    __slots__ = (
        "_ahead_cx",
        "_arrivals",
        "_awaited",
        "_coming",
        "_departures",
        "_ended",
        "_fills",
        "_fresh",
        "_gone",
        "_grown",
        "_is_told",
        "_is_watched",
        "_less",
        "_more",
        "_orders",
        "_over",
        "_prints",
        "_risen_cx",
        "_shrunk",
        "_unseen",
        "_untold",
        "is_begun",
        "least_cx",
        "may_cx",
        "most_cx",
        "others_cx",
        "price_cc",
        "proven_cx",
        "shown_cx",
        "side",
    )

    def __init__(self, side: Side, price_cc: int, *, is_watched: bool) -> None:
        self.side, self.price_cc = side, price_cc
        self._is_watched = is_watched
        self.proven_cx = self.may_cx = self.least_cx = self.most_cx = self.shown_cx = self.others_cx = 0
        self.is_begun = self._is_told = False
        self._orders: dict[str, int] = {}  # what is proven of each; 0 of one that was, or that only a tag has told
        self._ended: dict[str, int] = {}  # since when nothing is
        self._unseen: dict[str, int] = {}  # what was proven of each when a snapshot came, which may not contain it
        self._risen_cx = 0  # proven since `on_may`
        # The bounds.
        self._ahead_cx = 0  # others who all of ours stand behind, for certain
        self._less = Recent()  # the book may hold so much less than is proven,
        self._more = Recent()  # or more: what came untold,
        self._over = Recent()  # and what is told to be over
        self._coming = Recent()  # told, and perhaps still to come
        self._arrivals = Named()  # of `_more`, what tags have told and nobody proved yet
        self._departures = Named()  # of `_less`, the same
        self._awaited = Named()  # of `_less`, what is proven and no tag has told yet
        self._gone = Recent()  # untagged removals, whatever they were
        self._fills = Recent()  # those of them that may have been fills of ours,
        self._fresh = Recent(PRINT_WAIT_US)  # the ones whose print may still come,
        self._prints = Recent(DOUBT_US + PRINT_WAIT_US)  # and the prints that may explain them
        # The guess.
        self._grown, self._shrunk = OneSided(), OneSided()
        self._untold = Recent()  # of `_fills`, what nobody has told

    # --- the orders ---------------------------------------------------------------------------------------------------

    def on_order(self, client_order_id: str, remaining_cx: int, now_us: int) -> None:
        """Take in what is proven to rest of an order; 0 when it does no more."""
        self._forget(now_us)
        change_cx = remaining_cx - self._orders.get(client_order_id, 0)
        self._orders[client_order_id] = remaining_cx
        self._ended.pop(client_order_id, None)
        if not remaining_cx:
            self._ended[client_order_id] = now_us
        self.proven_cx += change_cx
        if change_cx > 0:
            self._rose(client_order_id, change_cx, now_us)
        elif change_cx:
            self._fell(client_order_id, -change_cx, now_us)

    def _rose(self, client_order_id: str, count_cx: int, now_us: int) -> None:
        self._grown.tell(now_us, count_cx)
        self._risen_cx += count_cx
        shown_cx = self._arrivals.take(client_order_id, now_us, self._more)
        if shown_cx:
            self._over.note(now_us, shown_cx - count_cx)  # it was told with its first fills
        else:
            self._less.note(now_us, count_cx)
            self._awaited.note(client_order_id, now_us, count_cx)
            self._coming.note(now_us, count_cx)

    def _fell(self, client_order_id: str, count_cx: int, now_us: int) -> None:
        untold_cx = count_cx - self._shrunk.shown.take(now_us, count_cx)
        self._shrunk.told.note(now_us, untold_cx - self._untold.take(now_us, untold_cx))
        self._over.note(now_us, count_cx)
        if not self._orders[client_order_id]:
            self._departures.take(client_order_id, now_us, self._less)  # all of it is told now
        if self.least_cx > self.proven_cx:
            # Perhaps a fill, whose removal the book has shown and others were thought to have made.
            self.least_cx = max(self.proven_cx, self.least_cx - self._gone.sum_cx(now_us))

    def _forget(self, now_us: int) -> None:
        """Let go of orders that ended long ago; their messages have come."""
        while self._ended:
            oldest = next(iter(self._ended))
            if self._ended[oldest] > now_us - DOUBT_US:
                return
            del self._ended[oldest], self._orders[oldest]
            for noted in (self._arrivals, self._departures, self._awaited):
                noted.forget(oldest)

    def on_may(self, may_cx: int, now_us: int) -> None:
        """Take in what may rest besides, after what is proven; the rest of what no longer may can come and go yet."""
        over_cx = self.may_cx - may_cx - self._risen_cx
        self._over.note(now_us, over_cx)
        self._coming.note(now_us, over_cx)
        self.may_cx, self._risen_cx = may_cx, 0

    # --- the book -----------------------------------------------------------------------------------------------------

    def begin(self, shown_cx: int) -> None:
        """Look at the book for the first time."""
        self.is_begun, self.shown_cx = True, shown_cx
        if not self._is_watched:
            self.most_cx = min(self.proven_cx, shown_cx)
            self._grown = OneSided()

    def begin_anew(self, shown_cx: int, now_us: int) -> None:
        """Look at a book that replaces the one before: it may contain what is proven, or not yet, or no more."""
        self.is_begun, self.shown_cx = True, shown_cx
        self._less.note(now_us, self.proven_cx)
        self._more.note(now_us, self.may_cx)
        self._unseen = {order: count_cx for order, count_cx in self._orders.items() if count_cx}
        self._ahead_cx = self.least_cx = 0
        self.most_cx = shown_cx
        self._grown, self._shrunk, self._untold = OneSided(), OneSided(), Recent()
        self._arrivals, self._departures, self._awaited = Named(), Named(), Named()

    def on_tagged(self, client_order_id: str, delta_cx: int, now_us: int) -> None:
        """Take in a change that one of our orders has made."""
        self.shown_cx += delta_cx
        if delta_cx > 0:
            self._arrived(client_order_id, delta_cx, now_us)
        elif client_order_id in self._orders:
            self._left(client_order_id, -delta_cx, now_us)
        else:  # a take of ours, or one that has withdrawn what it would have met
            self._gone.note(now_us, -delta_cx)
            lowered_cx = self._lower(-delta_cx)
            self._less.note(now_us, lowered_cx)
            self._shrunk.show(now_us, lowered_cx)

    def _arrived(self, client_order_id: str, count_cx: int, now_us: int) -> None:
        unseen_cx = self._unseen.pop(client_order_id, 0)
        if unseen_cx:  # so the snapshot did not contain it
            self.most_cx = max(self.least_cx, min(self.most_cx, self._high_cx(now_us) - unseen_cx))
        self._orders.setdefault(client_order_id, 0)
        self._grown.show(now_us, count_cx - unseen_cx)
        if not self._awaited.take(client_order_id, now_us, self._less):
            self._more.note(now_us, count_cx)
            self._arrivals.note(client_order_id, now_us, count_cx)
        self.least_cx += count_cx
        self.most_cx += count_cx

    def _left(self, client_order_id: str, count_cx: int, now_us: int) -> None:
        self._shrunk.show(now_us, count_cx)
        if self._orders[client_order_id] or client_order_id not in self._ended:
            self._less.note(now_us, count_cx)
            self._departures.note(client_order_id, now_us, count_cx)
        self.least_cx = max(0, self.least_cx - count_cx)
        self.most_cx = max(self.least_cx, self.most_cx - count_cx)

    def on_added(self, count_cx: int, now_us: int, *, is_tagged: bool) -> None:
        """Take in an addition that is not tagged as ours."""
        self.shown_cx += count_cx
        if is_tagged or not self.may_cx + self._coming.sum_cx(now_us):
            return
        told_cx = self._grown.told.take(now_us, count_cx)
        untold_cx = max(0, self.may_cx - self._grown.shown.sum_cx(now_us))
        self._grown.shown.note(now_us, min(count_cx - told_cx, untold_cx))
        self._more.note(now_us, min(count_cx, self.may_cx))
        self.most_cx += count_cx

    def on_removed(self, count_cx: int, now_us: int, *, is_touch: bool, is_tagged: bool, is_leaving: bool) -> None:
        """Take in a removal without a tag.

        Args:
            is_touch: Whether no better level was left.
            is_leaving: Whether a cancel or a decrease of ours is on its way.
        """
        self.shown_cx -= count_cx
        fill_cx = min(self.most_cx, max(0, count_cx - self._ahead_cx)) if is_touch else 0
        may_be_any = not is_tagged and (is_leaving or self._over.sum_cx(now_us) > 0)
        self._guess_removed(count_cx, now_us, fill_cx, may_be_any=may_be_any, is_leaving=is_leaving)
        self._gone.note(now_us, count_cx)
        self._fills.note(now_us, fill_cx)
        self._fresh.note(now_us, fill_cx)
        lowered_cx = self._lower(count_cx if may_be_any else fill_cx)
        if may_be_any:
            self._less.note(now_us, lowered_cx)
        self._ahead_cx = max(0, self._ahead_cx - count_cx)
        self._note_excess(now_us)

    def _note_excess(self, now_us: int) -> None:
        """Take in that less is shown than was ours for certain: something of ours has left, and no tag told of it."""
        excess_cx = self.least_cx - self.shown_cx
        if excess_cx > 0:
            self._lower(excess_cx)
            self._less.note(now_us, excess_cx)
            self._shrunk.show(now_us, excess_cx)

    def _guess_removed(self, count_cx: int, now_us: int, fill_cx: int, *, may_be_any: bool, is_leaving: bool) -> None:
        told_cx = self._shrunk.told.take(now_us, count_cx if may_be_any else fill_cx)
        if may_be_any and is_leaving and count_cx in self._orders.values():
            self._shrunk.shown.note(now_us, count_cx - told_cx)
        else:
            self._untold.note(now_us, fill_cx - told_cx)

    def _lower(self, count_cx: int) -> int:
        """Return how much of a removal may have been ours, with the least lowered by it."""
        count_cx = min(count_cx, self.most_cx)
        self.least_cx = max(0, self.least_cx - count_cx)
        return count_cx

    def on_print(self, count_cx: int, now_us: int) -> None:
        """Take in a trade that met orders of this level."""
        self._prints.note(now_us, count_cx)

    # --- what it comes to ---------------------------------------------------------------------------------------------

    def settle(self, now_us: int) -> str:
        """Bring both together; return what a person should hear of, empty nearly always.

        Done before each change of the book, too, so that a later one does not widen what was known by then.
        """
        shown_cx = self.shown_cx
        low_cx = self.proven_cx - self._less.sum_cx(now_us) - self._printed_cx(self._fills, now_us)
        high_cx = self._high_cx(now_us)
        if high_cx < self.least_cx <= high_cx + self.may_cx:
            high_cx = self.least_cx  # the book itself says that what may rest does
        least_cx, most_cx = max(self.least_cx, low_cx), min(self.most_cx, high_cx)
        is_odd = least_cx > most_cx
        odd = self._odd() if is_odd and not self._is_told else ""
        if is_odd:
            least_cx, most_cx = max(0, low_cx), high_cx
        self.least_cx, self.most_cx = min(least_cx, shown_cx), min(most_cx, shown_cx)
        self.others_cx = shown_cx - min(max(self._guess_cx(now_us), self.least_cx), self.most_cx)
        if not self.most_cx:
            self._ahead_cx = shown_cx  # whatever of ours comes stands behind them
        self._is_told = is_odd or (self._is_told and self.least_cx != self.proven_cx)
        return odd

    def _high_cx(self, now_us: int) -> int:
        return self.proven_cx + self._more.sum_cx(now_us) + self._over.sum_cx(now_us)

    def _printed_cx(self, removed: Recent, now_us: int) -> int:
        """Return how much of what was removed may have been fills: it is fresh, or prints may explain it."""
        removed_cx = removed.sum_cx(now_us)
        fresh_cx = min(removed_cx, self._fresh.sum_cx(now_us))
        return fresh_cx + min(removed_cx - fresh_cx, self._prints.sum_cx(now_us))

    def _guess_cx(self, now_us: int) -> int:
        ahead_cx = self._grown.shown_only_cx(now_us) - self._shrunk.shown_only_cx(now_us)
        return self.proven_cx + ahead_cx - self._printed_cx(self._untold, now_us)

    def _odd(self) -> str:
        where = f"{self.side.book_side} {price(yes_price_cc(self.side, self.price_cc))}"
        ours = f"by what it told {contracts(self.least_cx)} to {contracts(self.most_cx)} of them are ours"
        return f"{where}: the book shows {contracts(self.shown_cx)}, {ours}; {contracts(self.proven_cx)} are proven"

    def is_uncertain(self, now_us: int) -> bool:
        """Return whether the two streams differ, or leave it open what is ours, and time may still tell."""
        is_known = self.least_cx == self.most_cx == self.proven_cx
        doubts = (self._less, self._more, self._over, self._fills)
        return not is_known and any(doubt.sum_cx(now_us) for doubt in doubts)

    def is_over(self, now_us: int) -> bool:
        """Return whether nothing of ours stands here, or can come."""
        return not (self.proven_cx or self.may_cx or self.most_cx or self._coming.sum_cx(now_us))

    def next_end_us(self, now_us: int) -> int:
        """Return when the next doubt ends by itself."""
        one_sided = (self._grown.shown, self._grown.told, self._shrunk.shown, self._shrunk.told, self._untold)
        doubts = (self._less, self._more, self._over, self._coming, self._fills, self._fresh, self._prints)
        return min([doubt.next_end_us(now_us) for doubt in (*doubts, *one_sided)])
