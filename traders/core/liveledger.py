"""Folds the records of a trader and what the venue shows into its orders; the order of arrival means nothing.

    Intent, Sent, Answered, Booked, Told ───►┌────────────┐──► open orders, orders and fills to tell, alerts
    orders, fills of the account ───────────►│ LiveLedger │
                                             └────────────┘──► outsiders: the account's other orders in this market

A fill is booked once by (order id, trade id); one whose order nobody has named yet waits for that name.
"""

from __future__ import annotations

from collections.abc import Iterable

from traders.core import liveanswers
from traders.core.evidence import ShownFill, ShownOrder, seen
from traders.core.intents import Answered, Booked, Intent, Place, Record, Sent, Take, Told
from traders.core.livealerts import Alert, alerts
from traders.core.livecalls import Calls
from traders.core.liveorder import LiveOrder
from traders.core.liveshelf import Ids, Shelf
from traders.core.outsiders import Outsiders

ORPHANS_KEPT = 10_000  # orders that nobody has named, with their fills; the desk tells those again once it can


class LiveLedger:
    """The orders of one trader in one market."""

    def __init__(self, calls: Calls, over: Iterable[Ids] = ()) -> None:
        self.calls = calls
        self.outsiders = Outsiders()
        self.alerts: list[Alert] = []
        self.shelf = Shelf(over)
        self._orphans: dict[str, dict[str, ShownFill]] = {}

    def open(self) -> list[LiveOrder]:
        """Return the orders that are not complete, as they were wished."""
        return list(self.shelf.open.values())

    def get(self, client_order_id: str) -> LiveOrder | None:
        return self.shelf.get(client_order_id)

    def put(self, order: LiveOrder, now_us: int) -> None:
        """Keep an order after a change of our own."""
        self.shelf.put(order, now_us)

    # What is written down

    def recover(self, orders: Iterable[LiveOrder], records: Iterable[Record], now_us: int) -> None:
        """Take in what a process before this one knew. It is gone, and with it whoever would have had answers."""
        self.shelf.is_silent = True
        for order in orders:
            self.put(order, now_us)
        for record in records:
            self._replay(record)
        self.shelf.is_silent = False
        self.calls.forget()
        self.alerts.clear()
        for order in self.shelf.all():
            self.put(order.after_restart(now_us), now_us)

    def _replay(self, record: Record) -> None:
        match record:
            case Intent():
                self.admit(record)
            case Sent():
                self.mark(record)
            case Answered():
                self.calls.know(record.number)
                self.answer(record)
            case Booked() | Told():
                order = self.shelf.find(record.client_order_id, record.order_id)
                if order is not None:
                    self.put(order.remembered(record), 0)

    def admit(self, intent: Intent) -> None:
        """Take in a wish."""
        order, wish = self.get(intent.client_order_id), intent.wish
        self.calls.begin(intent)
        if isinstance(wish, Place | Take):
            order = order or LiveOrder.wished(intent, wish)  # a checkpoint may have it already
        if order is not None:  # else it was complete before the records begin
            self.put(liveanswers.wished(order, intent), intent.written_us)

    def mark(self, sent: Sent) -> None:
        """Take in that an intent has left."""
        intent = self.calls.mark(sent)
        order = None if intent is None else self.get(intent.client_order_id)
        if intent is not None and order is not None:
            self.put(liveanswers.sent(order, intent), sent.at_us)

    def answer(self, answer: Answered) -> None:
        """Take in an answer; of two to an intent only the first counts.

        Raises:
            ValueError: Nobody wished it.
        """
        call = self.calls.end(answer)
        order = None if call is None else self.get(call.intent.client_order_id)
        if call is not None and order is not None:
            after = liveanswers.answered(order, call.intent, answer, call.left_us)
            self.change(order, after, answer.at_us)

    # What is shown

    def on_order(self, shown: ShownOrder, now_us: int) -> bool:
        """Take in an order of the account; return whether it is an outsider that was not known before."""
        order = self.shelf.find(shown.client_order_id, shown.order_id)
        if order is None:
            is_over = self.shelf.is_over(shown.client_order_id, shown.order_id)
            return not is_over and self.outsiders.on_order(shown)
        self.change(order, order.saw(seen(shown)), now_us)
        return False

    def on_fill(self, fill: ShownFill, now_us: int) -> None:
        """Take in a fill of the account."""
        order = self.shelf.find(fill.client_order_id, fill.order_id)
        if order is not None:
            self._book(order, fill, now_us)
        elif not fill.client_order_id:
            self._orphans.setdefault(fill.order_id, {})[fill.trade_id] = fill
            if len(self._orphans) > ORPHANS_KEPT:
                del self._orphans[next(iter(self._orphans))]

    def _book(self, order: LiveOrder, fill: ShownFill, now_us: int) -> None:
        after = order.booked(fill.trade_id, fill.count_cx, fill.order_id)
        if after is not order:
            self.shelf.tell(fill, after)
            self.change(order, after, now_us)

    def change(self, before: LiveOrder, after: LiveOrder, now_us: int) -> None:
        """Keep an order after a change, with all that waited for the venue's id of it."""
        self.alerts += alerts(before, after)
        self.put(after, now_us)
        if not after.order_id or before.order_id:
            return
        claimed = self.outsiders.claimed(after.order_id)
        order = self.get(after.client_order_id)
        if claimed is not None and order is not None:
            self.change(order, order.saw(claimed), now_us)
        for fill in self._orphans.pop(after.order_id, {}).values():
            self.on_fill(fill, now_us)
