"""The book of others: what the venue shows, without the orders of our own.

    book stream  ──► on_snapshot, on_delta, on_print ──┐
                                                       ├──► others(book)      what strategies, guards and scoring see
    live orders  ──► on_orders ────────────────────────┘    uncertain()       levels where it may be wrong, 2 s at most
                                                            unsure_touch()    sides whose best price may be wrong there

What is ours in a level is told twice, by tags of the book and by what is proven of orders, in no order; how the two
come together is in `traders.core.ownlevel`. Paper orders never stand in the book: stripped of ours, live and paper see
the same.

For whoever feeds it: `on_orders` after each change of what rests or may rest, so that it knows of an order before the
book can show it; each book event as soon as `book` contains it, and none that it does not. While the book is lost, what
is answered here means nothing, and the snapshot that comes begins everything anew. `now_us` is always the same clock,
never set back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from markets.core.book import NO_PRICE, OrderBook
from markets.core.units import SIDES, Side
from traders.core.exposure import Unproven
from traders.core.livealerts import Alert
from traders.core.orders import RestingQuote
from traders.core.ownlevel import NEVER_US, OwnLevel

Level = tuple[Side, int]
Origin = tuple[int, int, int]  # of a book: connection, subscription, generation
NOWHERE: frozenset[Level] = frozenset()
NO_SIDE: frozenset[Side] = frozenset()


class OwnBook:
    """Our part of one market's book.

    Args:
        is_ours: Whether a client order id is the trader's own; the account's other orders stay others'.
    """

    def __init__(self, is_ours: Callable[[str], bool] = bool) -> None:
        self._is_ours = is_ours
        self._levels: dict[Level, OwnLevel] = {}
        self._told: tuple[object, ...] = ()  # as `on_orders` was told last
        self._proven: dict[tuple[str, Level], int] = {}
        self._leaving = NO_SIDE
        self._is_tagged = False  # an order of ours was tagged, and nothing has contradicted the tags since
        self._basis: tuple[Origin, int] | None = None
        self._book: OrderBook | None = None
        self._others: OrderBook | None = None  # as of the last look; a copy of the book, or the book itself
        self._copy: OrderBook | None = None
        self._due_us = 0  # when to look again, though nothing has happened
        self._odd: list[Alert] = []  # told once the book goes on: it may have been lost
        self._alerts: list[Alert] = []

    # --- the orders ---------------------------------------------------------------------------------------------------

    def on_orders(
        self,
        resting: Sequence[RestingQuote],
        unproven: Sequence[Unproven] = (),
        *,
        leaving: frozenset[Side] = NO_SIDE,
        now_us: int,
    ) -> None:
        """Take in what is proven to rest, and what may besides.

        Args:
            leaving: Sides on which a cancel or a decrease is on its way.
        """
        told = (tuple(resting), tuple(unproven))
        self._leaving = leaving
        if told == self._told:
            return
        self._told, self._due_us = told, 0
        before, self._proven = self._proven, _by_order(resting)
        for (client_order_id, level), count_cx in self._proven.items():
            if before.get((client_order_id, level)) != count_cx:
                self._at(level, is_watched=self._is_tagged).on_order(client_order_id, count_cx, now_us)
        for client_order_id, level in before.keys() - self._proven.keys():
            self._at(level, is_watched=self._is_tagged).on_order(client_order_id, 0, now_us)
        self._allow(unproven, now_us)

    def _allow(self, unproven: Iterable[Unproven], now_us: int) -> None:
        may: dict[Level, int] = {}
        for order in unproven:
            level = (order.side, order.price_cc)
            may[level] = may.get(level, 0) + order.remaining_cx
        for level, own in self._levels.items():
            own.on_may(may.pop(level, 0), now_us)
        for level, may_cx in may.items():
            self._at(level, is_watched=True).on_may(may_cx, now_us)

    def _at(self, level: Level, *, is_watched: bool) -> OwnLevel:
        own = self._levels.get(level)
        if own is None:
            own = self._levels[level] = OwnLevel(*level, is_watched=is_watched)
        return own

    # --- the book -----------------------------------------------------------------------------------------------------

    def on_snapshot(self, origin: Origin, seq: int, *, book: OrderBook, now_us: int) -> bool:
        """Take in a whole book, and return whether it was news: one that only repeats what is known changes nothing."""
        basis = (origin, seq)
        if basis == self._basis:
            self._goes_on()
            return False
        self._odd.clear()
        self._basis, self._book, self._copy, self._due_us = basis, book, None, 0
        for (side, price_cc), own in self._levels.items():
            own.begin_anew(book.size_cx(side, price_cc), now_us)
        return True

    def on_delta(
        self,
        side: int,
        price_cc: int,
        delta_cx: int,
        client_order_id: str | None,
        *,
        seq: int,
        book: OrderBook,
        now_us: int,
    ) -> None:
        """Take in a change of one level, which `book` contains."""
        self._book = book
        self._goes_on()
        if self._basis is not None and seq:
            self._basis = (self._basis[0], seq)
        tag = client_order_id if client_order_id and self._is_ours(client_order_id) else ""
        own = self._levels.get((SIDES[side], price_cc))
        if own is None and (not tag or delta_cx < 0):
            if self._copy is not None:
                self._copy.apply(side, price_cc, delta_cx)
            return
        own = own or self._at((SIDES[side], price_cc), is_watched=True)
        self._look(own, book.size_cx(side, price_cc) - delta_cx, now_us)
        self._due_us = 0
        if tag:
            self._is_tagged = self._is_tagged or delta_cx > 0
            own.on_tagged(tag, delta_cx, now_us)
        elif delta_cx > 0:
            own.on_added(delta_cx, now_us, is_tagged=self._is_tagged or bool(client_order_id))
        else:
            own.on_removed(
                -delta_cx,
                now_us,
                is_touch=price_cc >= book.best_cc[side],
                is_tagged=self._is_tagged,
                is_leaving=own.side in self._leaving,
            )

    def _goes_on(self) -> None:
        if self._odd:
            self._alerts += self._odd
            self._odd.clear()

    def on_print(self, side: Side, price_cc: int, count_cx: int, *, now_us: int) -> None:
        """Take in a trade that met orders of a level."""
        own = self._levels.get((side, price_cc))
        if own is not None:
            own.on_print(count_cx, now_us)
            self._due_us = 0

    # --- what it comes to ---------------------------------------------------------------------------------------------

    def others(self, book: OrderBook, now_us: int) -> OrderBook:
        """Return the book of others: `book` itself while nothing of ours is in it, else a copy that follows it.

        Nobody changes it, and what it shows may change with the next call here.
        """
        if not self._levels:
            self._copy = None
            return book
        if now_us >= self._due_us or self._others is None or self._book is not book:
            self._settle(book, now_us)
        return self._others or book

    def uncertain(self, now_us: int) -> frozenset[Level]:
        """Return the levels where what is ours is not known for certain, each for as long as time may tell it."""
        if not self._levels or self._book is None:
            return NOWHERE
        self.others(self._book, now_us)
        return frozenset([level for level, own in self._levels.items() if own.is_uncertain(now_us)])

    def unsure_touch(self, now_us: int) -> frozenset[Side]:
        """Return the sides of which nobody knows whether the others' best price is theirs, or ours alone."""
        if not self._levels or self._book is None:
            return NO_SIDE
        others = self.others(self._book, now_us)
        unsure = [level for level, own in self._levels.items() if own.least_cx < own.most_cx == own.shown_cx]
        return frozenset([side for side, price_cc in unsure if price_cc > _sure_best_cc(others, side, unsure)])

    def is_exact(self, side: int, price_cc: int, now_us: int) -> bool:
        """Return whether the others' size at a level is known for certain, whatever is told of our orders."""
        own = self._levels.get((SIDES[side], price_cc))
        if own is None or self._book is None:
            return True
        self.others(self._book, now_us)
        return own.least_cx == own.most_cx

    def take_alerts(self) -> list[Alert]:
        """Return what a person should hear of, once."""
        taken, self._alerts = self._alerts, []
        return taken

    def _settle(self, book: OrderBook, now_us: int) -> None:
        if self._book is not book:
            self._book, self._copy = book, None
        for (side, price_cc), own in self._levels.items():
            self._look(own, book.size_cx(side, price_cc), now_us)
        is_stripped = any(own.others_cx != own.shown_cx for own in self._levels.values())
        self._copy = self._stripped(book) if is_stripped else None
        self._others = self._copy or book
        self._levels = {level: own for level, own in self._levels.items() if not own.is_over(now_us)}
        self._due_us = min((own.next_end_us(now_us) for own in self._levels.values()), default=NEVER_US)

    def _look(self, own: OwnLevel, shown_cx: int, now_us: int) -> None:
        if not own.is_begun:
            own.begin(shown_cx)
        odd = own.settle(now_us)
        if odd:
            self._is_tagged = False  # until the next one
            self._odd.append(Alert("OWN_BOOK", odd))

    def _stripped(self, book: OrderBook) -> OrderBook:
        """Return the copy of the book, with the others' size in each level where something of ours is."""
        copy = self._copy or _copied(book)
        for (side, price_cc), own in self._levels.items():
            change_cx = own.others_cx - copy.size_cx(side, price_cc)
            if change_cx:
                copy.apply(side, price_cc, change_cx)
        return copy


def _by_order(resting: Iterable[RestingQuote]) -> dict[tuple[str, Level], int]:
    return {(order.client_order_id, (order.side, order.price_cc)): order.remaining_cx for order in resting}


def _copied(book: OrderBook) -> OrderBook:
    copy = OrderBook()
    yes, no = book.levels
    copy.levels, copy.best_cc = (dict(yes), dict(no)), list(book.best_cc)
    return copy


def _sure_best_cc(others: OrderBook, side: Side, unsure: Sequence[Level]) -> int:
    """Return the best price of others on a side, without the levels that may be ours alone."""
    best_cc = others.best_cc[side]
    if (side, best_cc) not in unsure:
        return best_cc
    return max((price_cc for price_cc in others.levels[side] if (side, price_cc) not in unsure), default=NO_PRICE)
