"""Orders of the account in this market that are not the trader's own: a person's, or another trader's (C18).

They count in exposure, and are never touched. One that carries the trader's own name, but that its records do not know,
is a stray: it counts too, and a person should hear of it.
"""

from __future__ import annotations

from collections.abc import Collection

from markets.core.units import Side
from traders.core.evidence import FINAL, GONE, Seen, ShownOrder, seen
from traders.core.exposure import Unproven

OVER_KEPT = 5_000  # late messages of those would let them rest again


class Outsiders:
    """The newest showing of each."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Side, Seen]] = {}
        self._over: dict[str, Seen] = {}

    def on_order(self, order: ShownOrder) -> bool:
        """Take in a showing; return whether the order was not known before and may rest."""
        shown, before = seen(order), self._open.get(order.order_id)
        if shown.word == GONE:
            self._open.pop(order.order_id, None)
            return False
        if shown.word in FINAL:
            self._open.pop(order.order_id, None)
            self._over[order.order_id] = shown
            if len(self._over) > OVER_KEPT:
                del self._over[next(iter(self._over))]
            return False
        if order.order_id in self._over or (before is not None and shown.version < before[1].version):
            return False
        self._open[order.order_id] = Side(order.side), shown
        return before is None

    def claimed(self, order_id: str) -> Seen | None:
        """Return what was shown of an order that turns out to be the trader's own, and count it here no more."""
        over, (_, still_open) = self._over.pop(order_id, None), self._open.pop(order_id, (None, None))
        return over or still_open

    def keep_only(self, order_ids: Collection[str]) -> None:
        """Forget those that a whole list of what rests does not have."""
        for order_id in self._open.keys() - set(order_ids):
            del self._open[order_id]

    def orders(self) -> tuple[Unproven, ...]:
        return tuple(Unproven(side, one.price_cc, one.remaining_cx) for side, one in self._open.values())
