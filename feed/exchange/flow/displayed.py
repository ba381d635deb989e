"""The recorded side of a replayed market: levels that follow the recording, and what of them was taken here.

A recording cannot know of our orders. What they take from a recorded level is kept beside it (`taken`) and shown
no more; when the recording shrinks the level, what is left of it is shown again. So nothing is taken twice and the
published book never crosses, while without our orders it is the recorded book exactly.
"""

from __future__ import annotations

from markets.core.matching import Match, MatchingBook, Outcome, RestingOrder, Step, WouldCrossSelf
from markets.core.units import DOLLAR_CC, Side, yes_price_cc

REPLAY_OWNER = "replay"


class NegativeLevel(ValueError):
    """The recording takes more from a level than it holds."""


class Displayed:
    """Levels of others in a replayed market; prices on each side's own ladder."""

    def __init__(self) -> None:
        self._recorded: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._taken: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def levels(self, side: Side) -> dict[int, int]:
        taken = self._taken[side]
        recorded = self._recorded[side]
        if not taken:
            return dict(recorded)
        return {price: size - taken.get(price, 0) for price, size in recorded.items() if size > taken.get(price, 0)}

    def shown_cx(self, side: Side, price_cc: int) -> int:
        return self._recorded[side].get(price_cc, 0) - self._taken[side].get(price_cc, 0)

    def best_cc(self, side: Side) -> int:
        """Return the best price with something shown, or 0."""
        return max(self.levels(side) if self._taken[side] else self._recorded[side], default=0)

    def apply(self, side: Side, price_cc: int, delta_cx: int) -> int:
        """Follow one recorded delta and return by how much the shown size changed.

        Raises:
            NegativeLevel: The recording takes more than its own level holds.
        """
        before = self.shown_cx(side, price_cc)
        size = self._recorded[side].pop(price_cc, 0) + delta_cx
        if size < 0:
            raise NegativeLevel(f"{side.name} level {price_cc} would fall to {size}")
        if size:
            self._recorded[side][price_cc] = size
        taken = self._taken[side]
        if taken.get(price_cc, 0) > size:
            taken[price_cc] = size
        if not taken.get(price_cc, 1):
            del taken[price_cc]
        return self.shown_cx(side, price_cc) - before

    def replace(self, yes: dict[int, int], no: dict[int, int]) -> list[tuple[Side, int, int]]:
        """Become a recorded snapshot and return (side, price_cc, change of the shown size), removals first.

        Raises:
            NegativeLevel: A level of the snapshot has no size.
        """
        if any(size <= 0 for size in (*yes.values(), *no.values())):
            raise NegativeLevel("a snapshot holds a level without size")
        before = [self.levels(side) for side in Side]
        self._recorded = (dict(yes), dict(no))
        self._taken = ({}, {})
        changes = [
            (side, price, self._recorded[side].get(price, 0) - before[side].get(price, 0))
            for side in Side
            for price in sorted({*before[side], *self._recorded[side]})
        ]
        return sorted((change for change in changes if change[2]), key=lambda change: change[2] > 0)

    def take(self, side: Side, price_cc: int, count_cx: int) -> None:
        taken = self._taken[side]
        taken[price_cc] = taken.get(price_cc, 0) + count_cx

    def place(self, book: MatchingBook, order: RestingOrder, *, rest: bool, withdraw_own: bool = False) -> Outcome:
        """Match an incoming order against shown levels and resting orders, best price first.

        At one price the recorded level goes first: it was there before us.
        """
        steps: list[Step] = []
        other = order.side.other
        while order.remaining_cx:
            shown, own = self.best_cc(other), book.best_cc(other)
            if max(shown, own) + order.price_cc < DOLLAR_CC or not max(shown, own):
                break
            if shown >= own:
                steps.append(self._take_level(order, other, shown))
                continue
            piece = RestingOrder(order.order_id, order.owner, order.side, DOLLAR_CC - own, order.remaining_cx)
            step = book.place(piece, rest=False, withdraw_own=withdraw_own)
            steps += step.steps
            order.remaining_cx = piece.remaining_cx
            if step.self_trade_cx:
                return Outcome(tuple(steps), 0, step.self_trade_cx)
        resting = rest and order.remaining_cx > 0
        if resting:
            steps += book.place(order).steps
        return Outcome(tuple(steps), order.remaining_cx if resting else 0)

    def amend(self, book: MatchingBook, order_id: str, *, price_cc: int, remaining_cx: int) -> Outcome:
        """Amend a resting order as `MatchingBook.amend` does, among shown levels.

        Raises:
            KeyError, ValueError, WouldCrossSelf: As there.
        """
        order = book.get(order_id)
        if order is None:
            raise KeyError(order_id)
        if price_cc == order.price_cc and remaining_cx <= order.remaining_cx:
            return book.amend(order_id, price_cc=price_cc, remaining_cx=remaining_cx)
        own = book.own_in_reach(order.owner, order.side, price_cc)
        if own is not None:
            levels = self.levels(order.side.other)
            shown_cx = sum(size for level_cc, size in levels.items() if level_cc >= own[0])
            if own[1] + shown_cx < remaining_cx:
                raise WouldCrossSelf("self cross attempt")
        gone = book.cancel(order_id)
        moved = RestingOrder(order_id, order.owner, order.side, price_cc, remaining_cx)
        outcome = self.place(book, moved, rest=True)
        return Outcome((gone, *outcome.steps), outcome.resting_cx)

    def _take_level(self, order: RestingOrder, side: Side, price_cc: int) -> Match:
        count = min(order.remaining_cx, self.shown_cx(side, price_cc))
        self.take(side, price_cc, count)
        order.remaining_cx -= count
        return Match("", REPLAY_OWNER, side, yes_price_cc(side, price_cc), count, self.shown_cx(side, price_cc))
