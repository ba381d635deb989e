"""Where our live orders stand in the queues of their levels: an estimate from the book, set right by the venue's word.

    came to rest        behind all that the others show at its price then
    print at its price  uses up what is ahead; ours among it
    removal             waits PRINT_WAIT_US for its print; without one it was a cancel, and how much of that was ahead
                        nobody knows, unless nobody or everybody is ahead
    fill of ours        nobody is ahead any more
    queue position      exact as of its time; what has happened since is applied on top

A place is known (`is_estimate` False) from a word of the venue on - the tag of its arrival, a fill, a queue position -
until something happens that nobody can place. Age alone makes no guess of it: without a removal at its price nothing
moves an order, and the desk tells queue positions only when they change.

The same model as of paper orders (traders.core.paperfills), but for what was displaced: live orders take part in what
trades. The book is always that of others (traders.core.ownbook). Counts are hundredths of a contract, times the
exchange's in microseconds.

Source: market_making.md section 2, "Queue position" and "Queue ahead, estimated".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from markets.core.book import OrderBook
from markets.core.queue import Proof, QueuePlace, read
from markets.core.units import SIDES, Side
from traders.core.livealerts import Alert
from traders.core.orders import RestingQuote
from traders.core.paperfills import PRINT_WAIT_US

Level = tuple[Side, int]
KEPT_US = 60_000_000  # how far back a queue position may be of, and how long an order is remembered that nobody proves


class Place(msgspec.Struct, frozen=True):
    """One resting order as the pages show it.

    Attributes:
        placed_cx: The most that was ever seen of it.
        ahead_cx: Others' contracts at its price that match before it.
        buffer_cx: Those, and the others' at better prices.
    """

    client_order_id: str
    side: Side
    price_cc: int
    placed_cx: int
    remaining_cx: int
    ahead_cx: int
    buffer_cx: int
    is_estimate: bool


class _Standing(msgspec.Struct):
    """One order of ours.

    Attributes:
        number: When it came, among all that happened: only what is later moves it.
        came_us: The newest moment of the book by then.
        since_us: Of its newest queue position, which contains what is older.
        is_sure: Nothing has happened since the venue's last word that nobody can place.
        is_proven: It is among those at rest.
        is_first: Part of it traded, so it is the first in line for good.
    """

    level: Level
    number: int
    placed_cx: int
    remaining_cx: int
    place: QueuePlace
    is_sure: bool
    came_us: int
    seen_us: int
    since_us: int = 0
    is_proven: bool = False
    is_first: bool = False

    def has_seen(self, happened: _Happened) -> bool:
        return happened.number > self.number and happened.time_us > self.since_us

    def takes(self, as_of_us: int) -> bool:
        """Return whether a queue position of then is news: all that came later has been seen."""
        return not self.is_first and as_of_us > self.since_us and as_of_us >= self.came_us

    def move(self, place: QueuePlace, *, is_sure: bool = True) -> None:
        self.place = place
        self.is_sure = self.is_sure and is_sure


class _Happened(msgspec.Struct):
    """A change of others' size at a level, of `level_cx` before it, if that `is_exact`.

    `traded_cx` of it traded; `count_cx` is negative for what was added.
    """

    number: int
    time_us: int
    level: Level
    count_cx: int
    level_cx: int
    is_exact: bool
    traded_cx: int = 0
    is_settled: bool = False

    @property
    def waiting_cx(self) -> int:
        return 0 if self.is_settled else self.count_cx - self.traded_cx


class LiveQueue:
    """The places of one market's live orders.

    Args:
        is_ours: Whether a client order id is the trader's own.
        ahead_bps: Share of a cancel taken to be ahead of us; None is pro rata, ahead ÷ level.
        includes_better: Whether the venue's number includes better prices; None is not known, and counts as not.
    """

    def __init__(
        self,
        is_ours: Callable[[str], bool] = bool,
        *,
        ahead_bps: int | None = None,
        includes_better: bool | None = None,
    ) -> None:
        self._is_ours = is_ours
        self._ahead_bps, self._includes_better = ahead_bps, includes_better
        self._orders: dict[str, _Standing] = {}
        self._number = 0
        self._past: deque[_Happened] = deque()  # what happened in the last minute at the levels of our orders
        self._waiting: deque[_Happened] = deque()  # removals whose print may still come, at any level
        self._early: deque[tuple[int, Level, int]] = deque()  # prints whose removal the book has not shown
        self._time_us = self._anew_us = 0
        self._proofs: set[Proof] = set()
        self._alerts: list[Alert] = []

    # --- our orders ---------------------------------------------------------------------------------------------------

    def on_orders(self, resting: Sequence[RestingQuote], *, others: OrderBook) -> None:
        """Take in what is proven to rest. One whose arrival no tag has told stands behind what others show now."""
        proven = {quote.client_order_id for quote in resting}
        for quote in resting:
            level = (quote.side, quote.price_cc)
            order = self._orders.get(quote.client_order_id)
            if order is None or order.level != level:
                order = self._join(quote.client_order_id, level, quote.remaining_cx, others, is_sure=False)
            order.placed_cx = max(order.placed_cx, quote.remaining_cx)
            order.remaining_cx, order.is_proven, order.seen_us = quote.remaining_cx, True, self._time_us
        for client_order_id, order in list(self._orders.items()):
            if client_order_id in proven:
                continue
            if order.is_proven:
                order.is_proven, order.remaining_cx = False, 0
            if self._time_us - order.seen_us >= KEPT_US:
                del self._orders[client_order_id]

    def _join(self, key: str, level: Level, count_cx: int, others: OrderBook, *, is_sure: bool) -> _Standing:
        place = QueuePlace.at_rest(level_cx=others.size_cx(*level), better_cx=others.better_cx(*level))
        order = _Standing(level, self._next_number(), count_cx, count_cx, place, is_sure, self._time_us, self._time_us)
        self._orders[key] = order
        return order

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def on_fill(self, client_order_id: str) -> None:
        """Take in that part of an order traded, so that it was the first in line."""
        order = self._orders.get(client_order_id)
        if order is not None:
            order.place, order.is_sure, order.is_first = order.place.with_ahead(0), True, True

    def _at(self, level: Level) -> list[_Standing]:
        """Return our orders at a level, the first in line first."""
        return sorted([one for one in self._orders.values() if one.level == level], key=lambda one: one.number)

    # --- the book -----------------------------------------------------------------------------------------------------

    def on_snapshot(self, *, others: OrderBook, time_us: int) -> None:
        """Take in that the book was begun anew: what happened in between moved nobody knows whom."""
        self._time_us = self._anew_us = max(self._time_us, time_us)
        for kept in (self._past, self._waiting, self._early):
            kept.clear()
        for order in self._orders.values():
            order.move(order.place.after_level(others.size_cx(*order.level)), is_sure=False)

    def on_delta(
        self,
        side: int,
        price_cc: int,
        delta_cx: int,
        client_order_id: str | None,
        *,
        others: OrderBook,
        is_exact: bool = True,
        time_us: int,
    ) -> None:
        """Take in a change of one level, which `others` contains as far as it is others'.

        Args:
            is_exact: Whether `others` is known to be right at this level.
        """
        self.settle(time_us)
        level = (SIDES[side], price_cc)
        if client_order_id and self._is_ours(client_order_id):
            self._on_own(client_order_id, level, delta_cx, others, is_exact=is_exact)
            return
        level_cx = max(0, others.size_cx(side, price_cc) - delta_cx)
        happened = _Happened(self._next_number(), time_us, level, -delta_cx, level_cx, is_exact)
        if any(order.level == level for order in self._orders.values()):
            self._past.append(happened)
        if delta_cx < 0:
            self._on_removed(happened, others)

    def _on_own(self, client_order_id: str, level: Level, delta_cx: int, others: OrderBook, *, is_exact: bool) -> None:
        order = self._orders.get(client_order_id)
        if delta_cx < 0:
            if order is not None and order.level == level and not order.is_proven:
                order.remaining_cx = max(0, order.remaining_cx + delta_cx)
            return
        before = self._orders.pop(client_order_id, None)
        order = self._join(client_order_id, level, delta_cx, others, is_sure=is_exact)
        if before is not None:
            order.is_proven = before.is_proven

    def _on_removed(self, happened: _Happened, others: OrderBook) -> None:
        self._waiting.append(happened)
        for at, (early_us, level, count_cx) in enumerate(self._early):
            if level == happened.level:
                told_cx = min(count_cx, happened.waiting_cx)
                self._early[at] = (early_us, level, count_cx - told_cx)
                self._trade(happened, told_cx)
        side, price_cc = happened.level
        if price_cc < others.best_cc[side]:
            self._cancel(happened)  # nobody trades behind the touch
        for order in self._at(happened.level):
            self._bound(order, others)

    def _bound(self, order: _Standing, others: OrderBook) -> None:
        """No more is ahead than others show, or have taken off and nobody has placed."""
        waiting_cx = sum(one.waiting_cx for one in self._waiting_at(order.level) if order.has_seen(one))
        bounded = order.place.after_level(others.size_cx(*order.level) + waiting_cx)
        if bounded is not order.place:
            order.move(bounded, is_sure=False)

    def _waiting_at(self, level: Level) -> Iterator[_Happened]:
        return (one for one in self._waiting if one.level == level and one.waiting_cx)

    def on_print(self, side: Side, price_cc: int, count_cx: int, *, time_us: int) -> None:
        """Take in a trade that met orders of a level."""
        self.settle(time_us)
        level = (side, price_cc)
        for happened in self._waiting_at(level):
            told_cx = min(count_cx, happened.waiting_cx)
            count_cx -= told_cx
            self._trade(happened, told_cx)
        if count_cx:
            self._early.append((time_us, level, count_cx))

    def settle(self, time_us: int) -> None:
        """Count removals as cancels whose print has not come; every event up to `time_us` has been told."""
        self._time_us = max(self._time_us, time_us)
        late_us = self._time_us - PRINT_WAIT_US
        while self._waiting and self._waiting[0].time_us <= late_us:
            self._cancel(self._waiting.popleft())
        while self._early and self._early[0][0] <= late_us:
            self._early.popleft()
        while self._past and self._past[0].time_us <= self._time_us - KEPT_US:
            self._past.popleft()

    # --- what moves us ------------------------------------------------------------------------------------------------

    def _trade(self, happened: _Happened, count_cx: int) -> None:
        """Let a taker's contracts go through a level's queue: others, ours, others behind us …"""
        if not count_cx:
            return
        happened.traded_cx += count_cx
        passed_cx, left_cx = 0, count_cx
        for number, order in enumerate(order for order in self._at(happened.level) if order.has_seen(happened)):
            met_cx = min(left_cx, max(0, order.place.ahead_cx - passed_cx))
            passed_cx += met_cx
            left_cx -= met_cx
            left_cx -= min(order.remaining_cx, left_cx)
            order.move(order.place.after_print(passed_cx)[0], is_sure=not number)

    def _cancel(self, happened: _Happened) -> None:
        count_cx = happened.waiting_cx
        happened.is_settled = True
        for order in self._at(happened.level):
            if order.has_seen(happened):
                self._cancel_before(order, happened, count_cx)

    def _cancel_before(self, order: _Standing, happened: _Happened, count_cx: int) -> None:
        level_cx = happened.level_cx - happened.traded_cx
        count_cx, place = min(count_cx, level_cx), order.place
        if not count_cx or not place.ahead_cx:
            return
        if place.ahead_cx == level_cx:  # nobody is behind
            order.move(place.with_ahead(level_cx - count_cx), is_sure=happened.is_exact)
        else:
            order.move(place.after_cancel(count_cx, level_cx=level_cx, ahead_bps=self._ahead_bps), is_sure=False)

    # --- the venue's word ---------------------------------------------------------------------------------------------

    def on_positions(self, positions: Mapping[str, int], as_of_us: int, *, others: OrderBook) -> None:
        """Take in the venue's queue positions.

        Args:
            positions: By client order id, `queue_position_fp` in hundredths of a contract.
            as_of_us: They show everything up to then. What came later they may show or not, so it is applied, and the
                place is an estimate again.
        """
        if as_of_us <= max(self._time_us - KEPT_US, self._anew_us):
            return  # nobody knows what has happened since
        for client_order_id, reading_cx in positions.items():
            order = self._orders.get(client_order_id)
            if order is not None and order.is_proven and order.takes(as_of_us):
                self._on_position(order, reading_cx, as_of_us, others)

    def _on_position(self, order: _Standing, reading_cx: int, as_of_us: int, others: OrderBook) -> None:
        order.since_us = as_of_us
        later = [one for one in self._past if one.level == order.level and order.has_seen(one)]
        ours = [one for one in self._orders.values() if one.level[0] is order.level[0]]
        beside = [one for one in ours if one.level == order.level and one is not order]  # those that have left, too
        first_cx = sum(one.remaining_cx for one in beside if one.number < order.number)
        own_better_cx = sum(one.remaining_cx for one in ours if one.level[1] > order.level[1])
        better_cx = others.better_cx(*order.level)
        ahead_cx, proof = read(
            reading_cx,
            better_cx=better_cx,
            level_cx=max(0, others.size_cx(*order.level) + sum(one.count_cx for one in later)),
            own_ahead_cx=first_cx,
            own_better_cx=own_better_cx,
            includes_better=self._includes_better,
        )
        self._note(proof)
        before_cx = better_cx + own_better_cx
        includes = proof is Proof.INCLUDES if proof in (Proof.EXCLUDES, Proof.INCLUDES) else bool(self._includes_better)
        is_told = not before_cx or self._includes_better is includes
        is_whole = ahead_cx == reading_cx - first_cx - (before_cx if includes else 0)  # else of another moment
        order.place, order.is_sure = order.place.with_ahead(ahead_cx), is_told and is_whole and not beside
        for happened in later:
            self._apply_again(order, happened)
        self._bound(order, others)

    def _apply_again(self, order: _Standing, happened: _Happened) -> None:
        if happened.traded_cx:
            order.move(order.place.after_print(happened.traded_cx)[0], is_sure=False)
        if happened.is_settled:
            self._cancel_before(order, happened, happened.count_cx - happened.traded_cx)
        order.move(order.place, is_sure=happened.count_cx < 0)

    def _note(self, proof: Proof | None) -> None:
        """Tell a person, once, of a reading that does not mean what the setting says."""
        is_news = proof is not None and proof not in self._proofs
        contradicted = Proof.EXCLUDES if self._includes_better else Proof.INCLUDES
        if proof is not None and is_news:
            self._proofs.add(proof)
            if proof is contradicted:
                self._alerts.append(Alert("QUEUE_READING", f"a queue position {proof}, and the setting says otherwise"))

    # --- what it comes to ---------------------------------------------------------------------------------------------

    def placed(self, resting: Sequence[RestingQuote]) -> tuple[RestingQuote, ...]:
        """Return the orders with what is ahead of each."""
        return tuple(
            [msgspec.structs.replace(quote, ahead_cx=self._ahead_cx(quote.client_order_id)) for quote in resting]
        )

    def _ahead_cx(self, client_order_id: str) -> int | None:
        order = self._orders.get(client_order_id)
        return None if order is None else order.place.ahead_cx

    def places(self, others: OrderBook) -> tuple[Place, ...]:
        """Return each order that is proven to rest with its place, bids first."""
        return tuple(
            Place(
                client_order_id,
                *order.level,
                placed_cx=order.placed_cx,
                remaining_cx=order.remaining_cx,
                ahead_cx=order.place.ahead_cx,
                buffer_cx=order.place.ahead_cx + others.better_cx(*order.level),
                is_estimate=self._is_estimate(order),
            )
            for client_order_id, order in sorted(self._orders.items(), key=lambda one: (one[1].level[0], one[1].number))
            if order.is_proven
        )

    def _is_estimate(self, order: _Standing) -> bool:
        if not order.place.ahead_cx:
            return not order.is_sure
        return not order.is_sure or any(order.has_seen(one) for one in self._waiting_at(order.level))

    def take_alerts(self) -> list[Alert]:
        """Return what a person should hear of, once."""
        taken, self._alerts = self._alerts, []
        return taken
