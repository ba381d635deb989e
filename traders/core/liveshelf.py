"""Where live orders lie: by client order id and by the venue's id, open ones apart from those that are complete.

What is put back is reviewed, told outwards if it changed, and moved. Complete orders are kept for a while: late copies
of their messages have to find them.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from markets.core.units import yes_price_cc
from traders.core.evidence import ShownFill
from traders.core.liveorder import LiveOrder
from traders.core.orders import Fill, Order

COMPLETE_KEPT = 5_000
OVER_KEPT = 128  # over a restart: a stream that is read from a while ago tells of them again


Ids = tuple[str, str]  # client order id, order id


class Shelf:
    """The orders of one trader, and what is to be told of them."""

    def __init__(self, over: Iterable[Ids] = ()) -> None:
        self.open: dict[str, LiveOrder] = {}
        self._complete: dict[str, LiveOrder] = {}
        self._by_order_id: dict[str, str] = {}
        self.events: list[Order | Fill] = []
        self.is_silent = False  # while old records are read
        self._before = tuple(over)
        self._over = {one for ids in self._before for one in ids if one}

    def get(self, client_order_id: str) -> LiveOrder | None:
        return self.open.get(client_order_id) or self._complete.get(client_order_id)

    def find(self, client_order_id: str, order_id: str) -> LiveOrder | None:
        """Return the order that a message is about, by either id."""
        named = self._by_order_id.get(order_id, "")
        return self.get(client_order_id) or self.get(named)

    def is_over(self, client_order_id: str, order_id: str) -> bool:
        """Return whether an order that is not here was complete before the last restart."""
        return client_order_id in self._over or order_id in self._over

    def over(self) -> tuple[Ids, ...]:
        """Return the newest orders that are complete for good."""
        newest = list(self._complete.values())[-OVER_KEPT:]
        ids = [(order.client_order_id, order.order_id) for order in newest if order.is_over_for_good]
        return (*self._before, *ids)[-OVER_KEPT:]

    def put(self, order: LiveOrder, now_us: int) -> None:
        """Keep an order after a change."""
        order = order.reviewed(now_us)
        value = order.outward()
        if value is not None and value != order.told and not self.is_silent:
            self.events.append(value)
            order = replace(order, told=value)
        if order.order_id:
            self._by_order_id[order.order_id] = order.client_order_id
        if order.is_complete:
            self.open.pop(order.client_order_id, None)
            self._complete[order.client_order_id] = order
            self._forget()
        else:
            self._complete.pop(order.client_order_id, None)
            self.open[order.client_order_id] = order

    def tell(self, fill: ShownFill, after: LiveOrder) -> None:
        """Tell a fill that `after` has booked."""
        price_cc = yes_price_cc(after.side, fill.yes_price_cc)
        self.events.append(
            Fill(
                order=after.as_order(),
                trade_id=fill.trade_id,
                count_cx=fill.count_cx,
                is_taker=fill.is_taker,
                fee_ud=fill.fee_ud,
                price_cc=None if price_cc == after.price_cc else price_cc,
                time_us=fill.time_us or None,
            )
        )

    def all(self) -> list[LiveOrder]:
        return [*self._complete.values(), *self.open.values()]

    def _forget(self) -> None:
        if len(self._complete) > COMPLETE_KEPT:
            oldest = self._complete.pop(next(iter(self._complete)))
            self._by_order_id.pop(oldest.order_id, None)
