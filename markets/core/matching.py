"""Price-time matching of one market.

A YES bid at p and a NO bid at q trade when p + q ≥ $1, at the resting order's price. Orders wait in the order
in which they came; a smaller size keeps the place, any other change loses it. Nobody trades with himself.

    incoming ─┬─ Match …        the next maker is somebody else's
              ├─ Withdrawn …    it is the taker's own, and the taker asked for it to go (`maker`)
              ├─ given up       it is the taker's own, and the taker goes (`taker_at_cross`)
              └─ LevelChange    what is left rests

Source: facts.md sections 6, 7.4 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from markets.core.units import DOLLAR_CC, Side


class RestingOrder(msgspec.Struct):
    """One order on the book; `price_cc` is on its own side's ladder, `owner` whom it never trades with."""

    order_id: str
    owner: str
    side: Side
    price_cc: int
    remaining_cx: int


class LevelChange(msgspec.Struct, frozen=True):
    """What the book shows after a step: a signed change of one level, and the order that came or went."""

    side: Side
    price_cc: int
    delta_cx: int
    order_id: str


class Withdrawn(LevelChange, frozen=True):
    """An order of the taker's own, cancelled whole because it stood in the taker's way."""


class Match(msgspec.Struct, frozen=True):
    """One resting order met: `count_cx` traded at the maker's price, given as the YES price."""

    maker_order_id: str
    maker_owner: str
    maker_side: Side
    yes_price_cc: int
    count_cx: int
    maker_remaining_cx: int

    @property
    def change(self) -> LevelChange:
        """The change of the maker's level."""
        price_cc = self.yes_price_cc if self.maker_side is Side.YES else DOLLAR_CC - self.yes_price_cc
        return LevelChange(self.maker_side, price_cc, -self.count_cx, self.maker_order_id)


Step = Match | LevelChange


class Outcome(msgspec.Struct, frozen=True):
    """Result of an incoming order.

    `steps` in the order in which they happened; `resting_cx` is what now waits on the book; `self_trade_cx` is what
    was given up because the next maker was the taker's own.
    """

    steps: tuple[Step, ...]
    resting_cx: int
    self_trade_cx: int = 0

    @property
    def matches(self) -> tuple[Match, ...]:
        return tuple(step for step in self.steps if isinstance(step, Match))

    @property
    def changes(self) -> tuple[LevelChange, ...]:
        """Every change of a level, matches included."""
        return tuple(step.change if isinstance(step, Match) else step for step in self.steps)

    @property
    def filled_cx(self) -> int:
        return sum(match.count_cx for match in self.matches)


class WouldCross(ValueError):
    """A post-only order would trade at once."""


class WouldCrossSelf(ValueError):
    """An amended order would meet an order of its own owner."""


class _Level:
    """The orders at one price, oldest first, and their sum."""

    __slots__ = ("queue", "size_cx")

    def __init__(self) -> None:
        self.queue: dict[str, RestingOrder] = {}
        self.size_cx = 0


class _Ladder:
    """One side of a book; `best_cc` is 0 when it is empty."""

    __slots__ = ("best_cc", "levels")

    def __init__(self) -> None:
        self.levels: dict[int, _Level] = {}
        self.best_cc = 0

    def add(self, order: RestingOrder) -> None:
        price_cc = order.price_cc
        level = self.levels.get(price_cc)
        if level is None:
            level = self.levels[price_cc] = _Level()
            self.best_cc = max(self.best_cc, price_cc)
        level.queue[order.order_id] = order
        level.size_cx += order.remaining_cx

    def shrink(self, order: RestingOrder, count_cx: int) -> None:
        level = self.levels[order.price_cc]
        level.size_cx -= count_cx
        order.remaining_cx -= count_cx
        if order.remaining_cx:
            return
        del level.queue[order.order_id]
        if not level.queue:
            del self.levels[order.price_cc]
            if order.price_cc == self.best_cc:
                self.best_cc = max(self.levels, default=0)


class MatchingBook:
    """All resting orders of one market."""

    def __init__(self) -> None:
        self._ladders = (_Ladder(), _Ladder())
        self._orders: dict[str, RestingOrder] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    # --- what it shows --------------------------------------------------------------------------------------------

    def get(self, order_id: str) -> RestingOrder | None:
        return self._orders.get(order_id)

    def orders(self) -> Iterator[RestingOrder]:
        """Yield every resting order, oldest first within a price."""
        yield from self._orders.values()

    def best_cc(self, side: Side) -> int:
        """Return the best price on `side`, or 0 when it is empty."""
        return self._ladders[side].best_cc

    def size_cx(self, side: Side, price_cc: int) -> int:
        level = self._ladders[side].levels.get(price_cc)
        return level.size_cx if level is not None else 0

    def levels(self, side: Side) -> dict[int, int]:
        """Return price_cc → count_cx of one side, in no order."""
        return {price_cc: level.size_cx for price_cc, level in self._ladders[side].levels.items()}

    def would_cross(self, side: Side, price_cc: int) -> bool:
        best_cc = self._ladders[side.other].best_cc
        return best_cc > 0 and price_cc + best_cc >= DOLLAR_CC

    def reachable_cx(self, side: Side, price_cc: int) -> int:
        """Return what an order of `side` at `price_cc` could trade with at once, whoever owns it."""
        levels = self._ladders[side.other].levels
        return sum(level.size_cx for other_cc, level in levels.items() if other_cc + price_cc >= DOLLAR_CC)

    def own_in_reach(self, owner: str, side: Side, price_cc: int) -> tuple[int, int] | None:
        """Return where an order of `side` at `price_cc` would meet its owner's own.

        Returns:
            The price of that own order on its ladder, and the contracts of others that would trade before it;
            None when no own order is in reach.
        """
        levels = self._ladders[side.other].levels
        before_cx = 0
        for other_cc in sorted((cc for cc in levels if cc + price_cc >= DOLLAR_CC), reverse=True):
            for maker in levels[other_cc].queue.values():
                if maker.owner == owner:
                    return other_cc, before_cx
                before_cx += maker.remaining_cx
        return None

    def ahead_cx(self, order_id: str) -> int:
        """Return the contracts at the same price that match before this order (0 = first).

        Raises:
            KeyError: It does not rest here.
        """
        order = self._orders[order_id]
        ahead_cx = 0
        for other in self._ladders[order.side].levels[order.price_cc].queue.values():
            if other is order:
                break
            ahead_cx += other.remaining_cx
        return ahead_cx

    # --- what changes it ------------------------------------------------------------------------------------------

    def place(
        self, order: RestingOrder, *, post_only: bool = False, rest: bool = True, withdraw_own: bool = False
    ) -> Outcome:
        """Match an incoming order and rest what is left.

        Args:
            order: Changed in place: `remaining_cx` is what is left afterwards.
            post_only: Refuse instead of trading.
            rest: False for immediate-or-cancel.
            withdraw_own: What gives way where the order meets its owner's own: that resting order is cancelled and
                matching goes on (`maker`), or the remainder is given up and the resting order stays
                (`taker_at_cross`).

        Raises:
            WouldCross: `post_only` and the price reaches the other side; nothing has changed.
            ValueError: The id already rests, or the count is not positive.
        """
        if order.order_id in self._orders:
            raise ValueError(f"order {order.order_id} already rests")
        if order.remaining_cx <= 0:
            raise ValueError("count must be positive")
        steps: list[Step] = []
        self_trade_cx = 0
        if self.would_cross(order.side, order.price_cc):
            if post_only:
                raise WouldCross("post only cross")
            self_trade_cx = self._take(order, steps, withdraw_own=withdraw_own)
        resting_cx = order.remaining_cx if rest else 0
        if resting_cx:
            self._ladders[order.side].add(order)
            self._orders[order.order_id] = order
            steps.append(LevelChange(order.side, order.price_cc, resting_cx, order.order_id))
        return Outcome(tuple(steps), resting_cx, self_trade_cx)

    def _take(self, taker: RestingOrder, steps: list[Step], *, withdraw_own: bool) -> int:
        """Match `taker` as far as it goes and return what it gave up."""
        other = taker.side.other
        ladder = self._ladders[other]
        reach_cc = DOLLAR_CC - taker.price_cc
        while taker.remaining_cx and ladder.best_cc and ladder.best_cc >= reach_cc:
            best_cc = ladder.best_cc
            maker = next(iter(ladder.levels[best_cc].queue.values()))
            if maker.owner == taker.owner:
                if not withdraw_own:
                    given_up_cx, taker.remaining_cx = taker.remaining_cx, 0
                    return given_up_cx
                steps.append(Withdrawn(other, best_cc, -maker.remaining_cx, maker.order_id))
                self._shrink(maker, maker.remaining_cx)
                continue
            traded_cx = min(taker.remaining_cx, maker.remaining_cx)
            taker.remaining_cx -= traded_cx
            self._shrink(maker, traded_cx)
            yes_price_cc = best_cc if other is Side.YES else DOLLAR_CC - best_cc
            steps.append(Match(maker.order_id, maker.owner, other, yes_price_cc, traded_cx, maker.remaining_cx))
        return 0

    def _shrink(self, order: RestingOrder, count_cx: int) -> None:
        self._ladders[order.side].shrink(order, count_cx)
        if not order.remaining_cx:
            del self._orders[order.order_id]

    def amend(self, order_id: str, *, price_cc: int, remaining_cx: int) -> Outcome:
        """Give a resting order another price or size.

        The same price with no more contracts keeps the place. Everything else goes to the back of its queue, and
        trades at once where the new price reaches the other side.

        Raises:
            KeyError: It does not rest here.
            ValueError: The count is not positive (that would be a cancel).
            WouldCrossSelf: It would meet an order of its own owner; nothing has changed.
        """
        order = self._orders[order_id]
        if remaining_cx <= 0:
            raise ValueError("count must be positive")
        if price_cc == order.price_cc and remaining_cx <= order.remaining_cx:
            less_cx = order.remaining_cx - remaining_cx
            steps = (self.reduce(order_id, less_cx),) if less_cx else ()
            return Outcome(steps, remaining_cx)
        own = self.own_in_reach(order.owner, order.side, price_cc)
        if own is not None and own[1] < remaining_cx:
            raise WouldCrossSelf("self cross attempt")
        gone = self.cancel(order_id)
        outcome = self.place(RestingOrder(order_id, order.owner, order.side, price_cc, remaining_cx))
        return Outcome((gone, *outcome.steps), outcome.resting_cx)

    def reduce(self, order_id: str, count_cx: int) -> LevelChange:
        """Take `count_cx` off a resting order, keeping its place; all of it cancels the order.

        Raises:
            KeyError: It does not rest here.
            ValueError: The count is not in 1 .. remaining.
        """
        order = self._orders[order_id]
        if not 0 < count_cx <= order.remaining_cx:
            raise ValueError(f"cannot reduce {order.remaining_cx} by {count_cx}")
        self._shrink(order, count_cx)
        return LevelChange(order.side, order.price_cc, -count_cx, order_id)

    def cancel(self, order_id: str) -> LevelChange:
        """Remove a resting order whole. Raises KeyError when it does not rest here."""
        return self.reduce(order_id, self._orders[order_id].remaining_cx)
