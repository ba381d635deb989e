"""Price-time matching of one market.

A YES bid at p and a NO bid at q trade when p + q ≥ $1, at the resting order's price. Orders wait in the order
in which they came; a smaller size keeps the place, any other change loses it. Source: facts.md sections 6 and 7.4.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from markets.core.units import DOLLAR_CC, Side


class RestingOrder(msgspec.Struct):
    """One order on the book; `price_cc` is on its own side's ladder."""

    order_id: str
    owner: str
    side: Side
    price_cc: int
    remaining_cx: int


class Match(msgspec.Struct, frozen=True):
    """One resting order met: `count_cx` traded at the maker's price, given as the YES price."""

    maker_order_id: str
    maker_owner: str
    maker_side: Side
    yes_price_cc: int
    count_cx: int
    maker_remaining_cx: int


class LevelChange(msgspec.Struct, frozen=True):
    """What the book shows after a step: a signed change of one level, and whose order caused it."""

    side: Side
    price_cc: int
    delta_cx: int
    order_id: str


class Outcome(msgspec.Struct, frozen=True):
    """Result of an incoming order.

    `matches` in the order in which they traded; `resting_cx` is what now waits on the book;
    `self_trade_cx` is what was given up because the next maker was the taker's own.
    """

    matches: tuple[Match, ...]
    changes: tuple[LevelChange, ...]
    resting_cx: int
    self_trade_cx: int = 0

    @property
    def filled_cx(self) -> int:
        return sum(match.count_cx for match in self.matches)


class WouldCross(ValueError):
    """A post-only order would trade at once."""


class MatchingBook:
    """All resting orders of one market."""

    def __init__(self) -> None:
        self._queues: tuple[dict[int, OrderedDict[str, RestingOrder]], ...] = ({}, {})
        self._orders: dict[str, RestingOrder] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    def get(self, order_id: str) -> RestingOrder | None:
        return self._orders.get(order_id)

    def orders(self) -> Iterator[RestingOrder]:
        """Yield every resting order, oldest first within a price."""
        yield from self._orders.values()

    def best_cc(self, side: Side) -> int:
        """Return the best price on `side`, or 0 when it is empty."""
        return max(self._queues[side], default=0)

    def levels(self, side: Side) -> dict[int, int]:
        """Return price_cc → count_cx of one side."""
        return {price: sum(o.remaining_cx for o in queue.values()) for price, queue in self._queues[side].items()}

    def would_cross(self, side: Side, price_cc: int) -> bool:
        best = self.best_cc(side.other)
        return best > 0 and price_cc + best >= DOLLAR_CC

    def place(self, order: RestingOrder, *, post_only: bool = False, rest: bool = True) -> Outcome:
        """Match an incoming order and rest what is left.

        Args:
            order: Changed in place: `remaining_cx` is what is left afterwards.
            post_only: Refuse instead of trading.
            rest: False for immediate-or-cancel.

        An order never trades with its own owner: its remainder is given up at the self-cross
        (`taker_at_cross`), the resting order is untouched.

        Raises:
            WouldCross: `post_only` and the price reaches the other side; nothing has changed.
            ValueError: The id already rests, or the count is not positive.
        """
        if order.order_id in self._orders:
            raise ValueError(f"order {order.order_id} already rests")
        if order.remaining_cx <= 0:
            raise ValueError("count must be positive")
        if post_only and self.would_cross(order.side, order.price_cc):
            raise WouldCross("post only cross")
        matches, changes, self_trade_cx = self._take(order)
        if self_trade_cx:
            order.remaining_cx = 0
        resting_cx = order.remaining_cx if rest else 0
        if resting_cx:
            self._queues[order.side].setdefault(order.price_cc, OrderedDict())[order.order_id] = order
            self._orders[order.order_id] = order
            changes.append(LevelChange(order.side, order.price_cc, resting_cx, order.order_id))
        return Outcome(tuple(matches), tuple(changes), resting_cx, self_trade_cx)

    def _take(self, taker: RestingOrder) -> tuple[list[Match], list[LevelChange], int]:
        matches: list[Match] = []
        changes: list[LevelChange] = []
        other = taker.side.other
        while taker.remaining_cx:
            best = self.best_cc(other)
            if not best or best + taker.price_cc < DOLLAR_CC:
                break
            maker = next(iter(self._queues[other][best].values()))
            if maker.owner == taker.owner:
                return matches, changes, taker.remaining_cx
            traded = min(taker.remaining_cx, maker.remaining_cx)
            taker.remaining_cx -= traded
            changes.append(self._shrink(maker, traded))
            matches.append(
                Match(
                    maker_order_id=maker.order_id,
                    maker_owner=maker.owner,
                    maker_side=other,
                    yes_price_cc=best if other is Side.YES else DOLLAR_CC - best,
                    count_cx=traded,
                    maker_remaining_cx=maker.remaining_cx,
                )
            )
        return matches, changes, 0

    def _shrink(self, order: RestingOrder, count_cx: int) -> LevelChange:
        order.remaining_cx -= count_cx
        if not order.remaining_cx:
            queue = self._queues[order.side][order.price_cc]
            del queue[order.order_id], self._orders[order.order_id]
            if not queue:
                del self._queues[order.side][order.price_cc]
        return LevelChange(order.side, order.price_cc, -count_cx, order.order_id)

    def reduce(self, order_id: str, count_cx: int) -> LevelChange:
        """Take `count_cx` off a resting order, keeping its place; all of it cancels the order.

        Raises:
            KeyError: It does not rest here.
            ValueError: The count is not in 1 .. remaining.
        """
        order = self._orders[order_id]
        if not 0 < count_cx <= order.remaining_cx:
            raise ValueError(f"cannot reduce {order.remaining_cx} by {count_cx}")
        return self._shrink(order, count_cx)

    def cancel(self, order_id: str) -> LevelChange:
        """Remove a resting order whole. Raises KeyError when it does not rest here."""
        return self._shrink(self._orders[order_id], self._orders[order_id].remaining_cx)

    def ahead_cx(self, order_id: str) -> int:
        """Return the contracts at the same price that match before this order (0 = first).

        Raises:
            KeyError: It does not rest here.
        """
        order = self._orders[order_id]
        ahead = 0
        for other in self._queues[order.side][order.price_cc].values():
            if other is order:
                break
            ahead += other.remaining_cx
        return ahead
