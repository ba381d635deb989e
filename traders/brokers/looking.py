"""Looks at orders that are in doubt, by reads, and calls the group off when one stays so too long.

    due ──► looking ──► user-data time ──► fills ──► order ──► looked      what reads say, LiveOrders judges
                             │               │         │
                             └── a read that fails is told to nobody (C5): only the turn is taken
    overdue ──► trigger the group ──► again, with back-off, until the venue has taken it

An order is asked for by its venue id where that is known; the others share one list of the market's orders in every
state, and one of its fills, from shortly before the oldest of them was wished: no filter finds a client order id
(facts.md section 8.1). A list with an item that cannot be read is no proof that something is missing.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from feed import schema
from feed.kalshi.errors import NotFound, ProtocolViolation, RequestRefused, VenueError
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.worker import every
from traders.brokers.venue import Venue
from traders.core.liveorders import LiveOrders

logger = logging.getLogger(__name__)

SECOND_US = 1_000_000
LOOK_EVERY_S = 0.25
GUARD_EVERY_S = 0.25
MARGIN_US = 30 * SECOND_US  # our time may be behind the venue's, and lists begin at whole seconds
TRIGGER_FIRST_S, TRIGGER_MOST_S = 1.0, 15.0


class Looker:
    """The looks of one trader in one market.

    Args:
        now_us: The exchange's time as far as it is known, by a clock that nobody sets back.
        changed: Called when looks may have settled something.
    """

    def __init__(
        self, live: LiveOrders, venue: Venue, *, now_us: Callable[[], int], changed: Callable[[], None]
    ) -> None:
        self._live, self._venue, self._now_us, self._changed = live, venue, now_us, changed
        self._must_trigger = False
        self._trigger_tries = 0
        self._trigger_at_us = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look until stopped; a look that is under way then is given up."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(every(stop, LOOK_EVERY_S, self.look), name="look")
            guarding = tasks.create_task(every(stop, GUARD_EVERY_S, self.guard), name="guard")
            await stop.wait()
            for task in (looking, guarding):
                task.cancel()

    # ---- looks -------------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Look at all orders that are due, in one round of reads."""
        due = self._live.due_looks(self._now_us())
        if not due:
            return
        named = {one: order_id for one in due if (order_id := self._live.order_id(one))}
        for one in due:
            self._live.looking(one, self._now_us())
        try:
            as_of_us = await self._venue.user_data_us()
            for one, order_id in named.items():
                await self._unless_refused([one], self._look_at(one, order_id, as_of_us))
            nameless = [one for one in due if one not in named]
            if nameless:
                await self._unless_refused(nameless, self._look_for(nameless, as_of_us))
        except VenueError as exc:
            self._log_failed(due, exc)
        self._changed()

    async def _unless_refused(self, client_order_ids: Sequence[str], look: Awaitable[None]) -> None:
        """Look at some; a read that is refused, or makes no sense, is no reason not to look at the others."""
        try:
            await look
        except (RequestRefused, ProtocolViolation) as exc:
            self._log_failed(client_order_ids, exc)

    async def _look_at(self, client_order_id: str, order_id: str, as_of_us: int) -> None:
        """Look at an order by its id."""
        self._take_fills(await self._venue.fills_of(order_id))
        found = await self._venue.order(order_id)  # 404 of one that was there is no evidence of anything
        self._live.looked(client_order_id, found, as_of_us=as_of_us, now_us=self._now_us())

    async def _look_for(self, client_order_ids: Sequence[str], as_of_us: int) -> None:
        """Look for orders of which the venue's id is not known, in lists of the market."""
        wished_us = min(map(self._live.wished_us, client_order_ids))
        from_us = wished_us - MARGIN_US if wished_us else None
        self._take_fills(await self._venue.fills_since(from_us))
        listed = await self._venue.orders_since(from_us)
        by_name = {order.client_order_id: order for order in listed.items}
        for one in client_order_ids:
            found = by_name.get(one)
            if found is not None or not listed.unreadable:
                self._live.looked(one, found, as_of_us=as_of_us, now_us=self._now_us())

    def _take_fills(self, fills: Sequence[schema.AccountFill]) -> None:
        for fill in fills:
            self._live.on_fill(fill, self._now_us())

    def _log_failed(self, client_order_ids: Sequence[str], exc: VenueError) -> None:
        logger.warning(
            "%s: %d orders in doubt could not be looked at: %s",
            self._venue.ticker, len(client_order_ids), exc,
            extra={"action": "look_failed", "ticker": self._venue.ticker},
        )  # fmt: skip

    # ---- the last resort ---------------------------------------------------------------------------------------------

    async def guard(self) -> None:
        """Trigger the group once an order has been in doubt for too long, until the venue has taken that."""
        if self._live.overdue(self._now_us()):
            self._must_trigger = True
        if self._must_trigger and self._now_us() >= self._trigger_at_us:
            await self._trigger()

    async def _trigger(self) -> None:
        try:
            await self._venue.trigger()
        except NotFound:
            self._triggered("there is no such group any more")
        except (VenueError, OutcomeUnknown) as exc:
            self._trigger_tries += 1
            wait_s = delay_s(
                self._trigger_tries, first_s=TRIGGER_FIRST_S, most_s=TRIGGER_MOST_S, jitter=random.random()
            )
            self._trigger_at_us = self._now_us() + round(wait_s * SECOND_US)
            self._log_group(f"not triggered yet: {exc}", "GROUP_NOT_TRIGGERED")
        else:
            self._triggered("triggered")

    def _triggered(self, how: str) -> None:
        self._must_trigger, self._trigger_tries = False, 0
        self._log_group(how, "GROUP_TRIGGERED")
        self._live.suspect(self._now_us())  # what it canceled shows itself order by order
        self._changed()

    def _log_group(self, text: str, alert: str) -> None:
        logger.error(
            "%s: an order was in doubt for too long; its group: %s",
            self._venue.ticker, text,
            extra={"action": "group_trigger", "alert": alert, "ticker": self._venue.ticker},
        )  # fmt: skip
