"""No order of this installation rests unwatched (I2): what nobody claims is listed, alerted once, and pulled.

    orders at rest (the account's word) ─┐
    traders, leases, groups (database)  ─┼─► unclaimed ──► alert UNCLAIMED_ORDERS ──► pull at the exchange ──► audit
    processes, pulls (supervisor)       ─┘

Orders of other installations and of persons are listed apart, and never touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path

from django.db import Error as DatabaseFault
from msgspec.structs import replace

from feed import venue
from feed.models import AccountState
from kalshimm.errors import KalshimmError
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.home import installation_number
from markets.core.orderids import Owner
from markets.core.units import Side
from markets.models.catalog import microseconds
from traders import leases
from traders.core.orders import OrderStatus
from traders.core.unclaimed import WORDS, Resting, Since, Standing, Unclaimed, named_traders, unclaimed
from traders.fleet import Wanted, in_thread
from traders.livestarts import LiveStarts
from traders.models import Mode, Order, Trader
from traders.processes import living, trader_folder
from traders.start import CannotStart, read_start
from traders.takeover import Lease, Pulled

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
POLL_US = 5_000_000  # without the private channel the account's orders are read so often
TELLING = {"live": 0, "polling": POLL_US}  # states of an account, and how far its orders may then be behind its reads


def resting(*, is_external: bool) -> list[Resting]:
    """Return the live orders at rest, by the account's own word. Sync: call it outside the event loop."""
    as_of_us = {
        state.account: microseconds(state.user_data_at) - TELLING[state.state]
        for state in AccountState.objects.filter(state__in=TELLING)
        if state.user_data_at
    }
    told = Order.objects.filter(mode=Mode.LIVE, told_at__isnull=False, status=OrderStatus.RESTING.value)
    told = told.filter(is_complete=False, is_external=is_external).order_by("account", "created_at", "id")
    return [_resting(order, as_of_us.get(order.account, 0)) for order in told]


def _resting(order: Order, as_of_us: int) -> Resting:
    changed_us = microseconds(order.venue_time) if order.venue_time else 0
    return Resting(
        account=order.account,
        ticker=order.ticker,
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        side=Side(order.side),
        price_cc=order.price_cc,
        remaining_cx=order.remaining_cx,
        since_us=microseconds(order.created_at),
        seen_us=max(changed_us, as_of_us),
        exchange_index=order.exchange_index or 0,
    )


def standings(traders: Collection[int], processes: Collection[int]) -> dict[int, Standing]:
    """Return how it stands with traders, as the database and the machine know. Sync.

    Of a trader without a process whose lease is not closed, the supervisor pulls what rests, or it takes it over.
    """
    rows = Trader.objects.filter(pk__in=traders).values_list("pk", "mode", "lease_epoch", "group_id")
    known = {
        trader: Standing(
            is_known=True,
            epoch=epoch,
            has_process=mode == Mode.LIVE and trader in processes,
            is_tended=mode == Mode.LIVE and bool(group_id) and trader not in processes,
        )
        for trader, mode, epoch, group_id in rows
    }
    return {trader: known.get(trader, Standing(has_process=trader in processes)) for trader in traders}


def listed(home: Path) -> tuple[list[Unclaimed], list[Resting]]:
    """Return the orders that nobody watches, and those that are not this installation's. Sync."""
    orders, installation = resting(is_external=False), installation_number(home)
    known = standings(named_traders(orders, installation), living(home))  # after the orders: a lease is older than they
    return unclaimed(orders, known, installation=installation), resting(is_external=True)


class UnclaimedOrders:
    """The supervisor's look at them."""

    def __init__(self, home: Path, live: LiveStarts, clock: Clock) -> None:
        self._home, self._live, self._clock = home, live, clock
        self._since = Since(clock.wall_us())
        self._told: set[str] = set()
        self._look_at_s = clock.monotonic()

    @property
    def count(self) -> int:
        return len(self._told)

    async def look_now_and_then(self, wanted: Iterable[Wanted], processes: Collection[int]) -> None:
        """Look for them, tell of new ones, and pull all; with the database away there is nothing to look at.

        Args:
            processes: Ids of the traders that have one.
        """
        if self._clock.monotonic() < self._look_at_s:
            return
        self._look_at_s = self._clock.monotonic() + LOOK_EVERY_S
        try:
            found = await self._look({one.id for one in wanted if one.live}, processes)
        except (DatabaseFault, KalshimmError) as exc:
            logger.warning("orders at rest are not looked at: %s", exc, extra={"action": "unclaimed_unread"})
            return
        self._tell(found)
        for trader, orders in _by_trader(found).items():
            self._pull(trader, orders, processes)

    async def _look(self, live: Collection[int], processes: Collection[int]) -> list[Unclaimed]:
        installation = await asyncio.to_thread(installation_number, self._home)
        orders = await in_thread(resting, is_external=False)
        known = await in_thread(standings, {*live, *named_traders(orders, installation)}, processes)
        known = {trader: self._tended(trader, standing) for trader, standing in known.items()}
        since_us = self._since.look(known, self._clock.wall_us())
        return unclaimed(orders, known, installation=installation, since_us=since_us)

    def _tended(self, trader: int, standing: Standing) -> Standing:
        return replace(standing, is_tended=standing.is_tended or self._live.is_tending(trader))

    def _tell(self, found: list[Unclaimed]) -> None:
        names = {one.order.order_id for one in found}
        new = [one for one in found if one.order.order_id not in self._told]
        if new:
            logger.error(
                "%d resting orders are nobody's and are pulled, first: %s of trader %d under lease %d in %s: %s",
                len(new), new[0].order.order_id, new[0].named.trader, new[0].named.epoch, new[0].order.ticker,
                WORDS[new[0].why],
                extra={"action": "unclaimed", "alert": "UNCLAIMED_ORDERS", "account": new[0].order.account},
            )  # fmt: skip
        elif self._told and not found:
            logger.info("no order is unclaimed any more", extra={"action": "unclaimed_gone"})
        self._told = names

    # --- pulling --------------------------------------------------------------------------------------------------

    def _pull(self, trader: int, found: list[Unclaimed], processes: Collection[int]) -> None:
        """Pull what nobody watches of a trader, in one account after the other; its running process is spared."""
        is_running = trader in processes
        account = found[0].order.account
        epoch = max(one.named.epoch for one in found) + 1
        lease = Lease(
            owner=Owner(found[0].named.installation, trader, epoch),
            environment=venue.environment().name,
            account=account,
            ticker=found[0].order.ticker,
            exchange_index=found[0].order.exchange_index,
            groups=self._running_groups(trader) if is_running else (),
        )
        reasons = {one.order.order_id: WORDS[one.why] for one in found if one.order.account == account}
        self._live.pull_unclaimed(lease, partial(self._pulled, lease, reasons), is_running=is_running)

    def _running_groups(self, trader: int) -> tuple[str, ...]:
        try:
            live = read_start(trader_folder(self._home, trader)).live
        except CannotStart:
            return ()
        return (live.group_id,) if live else ()

    async def _pulled(self, lease: Lease, reasons: dict[str, str], pulled: Pulled) -> None:
        await in_thread(leases.note_unclaimed, lease, pulled, reasons)
        self._since.pulled(lease.owner.trader, self._clock.wall_us())


def _by_trader(found: Iterable[Unclaimed]) -> dict[int, list[Unclaimed]]:
    traders: defaultdict[int, list[Unclaimed]] = defaultdict(list)
    for one in found:
        traders[one.named.trader].append(one)
    return traders
