"""The fence: no live trader starts before nothing of its earlier leases can trade any more.

    trigger the old groups ──► reads newer than that ──► does anything of ours rest? ──no──► new group ──► Fence
                                        ▲                            │ yes
                                        └──── trigger its group, cancel it ◄────┘

A create names its trader's group, and the exchange refuses one into a group that was triggered or is gone: so a create
that was on its way, or that a thawed process still sends, comes to nothing. Groups are never reset. What rests is
known by its group, or by its client order id, which names installation, trader and lease: also with every store gone.

A trigger and a cancel are safe to repeat, so an unknown outcome is tried again. A group's create is not: what an
unanswered one may have left is returned as a stray, and another group is made. Whatever fails ends all of it, with the
reason why nothing can be started now; beginning anew is always safe.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from feed.kalshi.errors import Disconnected, HeldBack, NotFound, RateLimited, RequestRefused, VenueError
from feed.kalshi.rest import Rest
from feed.kalshi.wire.orders import CancelOrder, GroupListed
from feed.kalshi.wire.portfolio import Order
from kalshimm.errors import KalshimmError, OutcomeUnknown
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from markets.core.orderids import Owner
from traders.core.settling import MARGIN_US

logger = logging.getLogger(__name__)

WITHIN_S = 60.0  # a takeover that has not come to its end by then is begun anew: reads lag up to 30 s
FIRST_WAIT_S, MOST_WAIT_S = 0.25, 5.0
READ_AGAIN_S = 0.1  # the least between two looks at how fresh the reads are
RESTING = "resting"

# What may be tried again. A write that was refused for any other reason will be refused again.
AGAIN = (OutcomeUnknown, Disconnected, HeldBack, RateLimited)

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


class TakeoverFailed(KalshimmError):
    """Nothing may be started now.

    Args:
        strays: Groups that an unanswered create may have left.
    """

    def __init__(self, message: str, strays: tuple[str, ...] = ()) -> None:
        self.strays = strays
        super().__init__(message)


class LaterLease(TakeoverFailed):
    """Orders of a lease that is not earlier rest: the records have fallen behind, or somebody else took it over."""

    def __init__(self, trader: int, epoch: int, found: int) -> None:
        self.found = found
        super().__init__(
            f"Orders of trader {trader} under lease {found} rest at the exchange, and lease {epoch} was to begin."
        )


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One trader under one lease.

    Attributes:
        environment, account: Whose the client has to be.
        ticker, exchange_index: Its market, and the shard of that and of all of its groups.
        groups: Groups of earlier leases as far as any record names them; for `pull` that of this one too.
        limit_cx: Of the new group, see `traders.core.lifetimes`.
        subaccount: None is the primary one for writes, and all that the key sees for reads.
    """

    owner: Owner
    environment: str
    account: str
    ticker: str
    exchange_index: int
    groups: tuple[str, ...] = ()
    limit_cx: int = 0
    subaccount: int | None = None


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the trader rests.

    Attributes:
        triggered: Groups that were triggered, those of orders found at rest too.
        gone: Groups that the exchange does not have any more.
        canceled: Venue's ids of the orders that still rested after that.
        as_of_us: Until when the reads showed everything.
    """

    triggered: tuple[str, ...]
    gone: tuple[str, ...]
    canceled: tuple[str, ...]
    as_of_us: int

    def __str__(self) -> str:
        groups = f"{len(self.triggered)} order groups triggered, {len(self.gone)} gone"
        return f"{groups}, {len(self.canceled)} orders canceled, none rests"


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that may begin: what its takeover pulled, and the group that its creates name.

    Attributes:
        strays: Groups that an unanswered create may have left, empty and armed; perhaps others' own.
    """

    group_id: str
    pulled: Pulled
    strays: tuple[str, ...] = ()


async def take_over(rest: Rest, lease: Lease, *, clock: Clock, sleep: Sleep = asyncio.sleep) -> Fence:
    """End all earlier leases of a trader and return the fence of this one.

    Raises:
        LaterLease: Orders of this lease's epoch or a later one rest.
        TakeoverFailed: It could not be proven that nothing rests, or no group was made; nothing may be started.
    """
    taking = _Taking(rest, lease, clock, sleep)
    return await _told(taking, taking.take_over)


async def pull(rest: Rest, lease: Lease, *, clock: Clock, sleep: Sleep = asyncio.sleep) -> Pulled:
    """Trigger the trader's groups and return once nothing of it rests, under whichever lease.

    Raises:
        TakeoverFailed: It could not be proven.
    """
    taking = _Taking(rest, lease, clock, sleep)
    return await _told(taking, taking.pull)


async def pull_former(rest: Rest, lease: Lease, *, clock: Clock, sleep: Sleep = asyncio.sleep) -> Pulled:
    """Pull what rests of a trader's earlier leases while it trades under this one; its own groups and orders stay.

    Raises:
        TakeoverFailed: It could not be proven that nothing of earlier leases rests.
    """
    taking = _Taking(rest, lease, clock, sleep, is_running=True)
    return await _told(taking, taking.pull)


async def _told(taking: _Taking, do: Callable[[], Awaitable[T]]) -> T:
    """Return what comes of it; whatever goes wrong is said as why nothing can be started."""
    try:
        return await do()
    except TakeoverFailed as exc:
        exc.strays = tuple(taking.strays)
        raise
    except (VenueError, OutcomeUnknown) as exc:
        raise TakeoverFailed(f"Trader {taking.trader}: {exc}", tuple(taking.strays)) from exc


class _Taking:
    """One takeover, or one pull, on its way.

    Args:
        is_running: The lease is in use: what is of it is left alone.
    """

    def __init__(self, rest: Rest, lease: Lease, clock: Clock, sleep: Sleep, *, is_running: bool = False) -> None:
        self._rest, self._lease, self._clock, self._sleep = rest, lease, clock, sleep
        self._is_running = is_running
        self.trader = lease.owner.trader
        self._give_up_s = clock.monotonic() + WITHIN_S
        self._triggered: list[str] = []
        self._gone: list[str] = []
        self._canceled: dict[str, None] = {}
        self._changed_us = 0  # the venue's time by which everything that must be seen has happened
        self._standing = ""  # what could not be canceled the last time
        self.strays: dict[str, None] = {}

    async def take_over(self) -> Fence:
        pulled = await self._pull(before_epoch=self._lease.owner.epoch)
        group_id = await self._make_group()
        logger.info(
            "trader %d begins lease %d in order group %s: %s",
            self.trader, self._lease.owner.epoch, group_id, pulled,
            extra={"action": "takeover", "account": self._lease.account, "ticker": self._lease.ticker},
        )  # fmt: skip
        return Fence(group_id=group_id, pulled=pulled, strays=tuple(self.strays))

    async def pull(self) -> Pulled:
        pulled = await self._pull()
        logger.info(
            "trader %d is pulled: %s", self.trader, pulled,
            extra={"action": "pulled", "account": self._lease.account, "ticker": self._lease.ticker},
        )  # fmt: skip
        return pulled

    # --- nothing rests --------------------------------------------------------------------------------------------

    async def _pull(self, *, before_epoch: int | None = None) -> Pulled:
        groups = () if self._is_running else self._lease.groups
        for group_id in groups:
            await self._trigger(group_id)
        if not groups:
            await self._rest.exchange.user_data_timestamp()  # its answer tells how far the clocks are apart
            self._changed_us = self._venue_us()
        while True:
            as_of_us = await self._read_up_to(self._changed_us + MARGIN_US)
            found = await self._ours()
            if before_epoch is not None:
                self._check_epochs(found, before_epoch)
            if not found:
                return Pulled(
                    triggered=tuple(self._triggered),
                    gone=tuple(self._gone),
                    canceled=tuple(self._canceled),
                    as_of_us=as_of_us,
                )
            self._standing = ""
            for order in found:
                await self._remove(order)

    async def _trigger(self, group_id: str, *, subaccount: int | None = None) -> None:
        """Trigger a group until the exchange says that it is, or that there is no such group.

        Args:
            subaccount: Of the order that names it: one of an earlier lease may be elsewhere.
        """
        attempt, subaccount = 0, subaccount or self._lease.subaccount
        where = self._lease.exchange_index
        while True:
            attempt += 1
            try:
                await self._rest.groups.trigger(group_id, exchange_index=where, subaccount=subaccount)
            except NotFound as exc:
                listed = await self._listed(group_id, subaccount)
                if listed is None:
                    self._gone.append(group_id)
                    break
                where = where if listed.exchange_index is None else listed.exchange_index
                await self._again(attempt, f"order group {group_id} could not be triggered", exc)
            except AGAIN as exc:
                await self._again(attempt, f"order group {group_id} could not be triggered", exc)
            else:
                self._triggered.append(group_id)
                break
        self._changed_us = self._venue_us()

    async def _listed(self, group_id: str, subaccount: int | None) -> GroupListed | None:
        """Return a group as it is listed: one that another shard has is not gone."""
        listed = await self._rest.groups.groups(subaccount=subaccount)
        found = next((group for group in listed.items if group.id == group_id), None)
        if found is None and listed.unreadable:
            raise self._failed(f"order groups of the account cannot be read, and {group_id} may be one of them")
        return found

    async def _groups(self) -> tuple[GroupListed, ...]:
        return (await self._rest.groups.groups(subaccount=self._lease.subaccount)).items

    async def _read_up_to(self, wanted_us: int) -> int:
        """Wait until reads show everything up to a moment of the venue's; return until when they do."""
        while True:
            as_of_us = (await self._rest.exchange.user_data_timestamp()).as_of_us
            if as_of_us > wanted_us:
                return as_of_us
            short_s = (wanted_us - as_of_us) / 1_000_000
            why = self._standing or f"what the exchange lets read is {short_s:.1f} s too old"
            await self._pause(max(READ_AGAIN_S, short_s), why)

    async def _ours(self) -> list[Order]:
        """Return what rests of this trader, in any market: it may have had another one."""
        listed = await self._rest.portfolio.orders(status=RESTING, subaccount=self._lease.subaccount).all()
        unread = sum(map(self._may_be_ours, listed.unreadable))
        if unread:
            raise self._failed(f"{unread} resting orders cannot be read, and may be of it")
        return [one for one in listed.items if self._is_ours(one.client_order_id, one.order_group_id)]

    def _is_ours(self, client_order_id: str | None, group_id: str | None) -> bool:
        epoch = self._lease.owner.epoch_of(client_order_id or "")
        if self._is_running:
            return epoch is not None and epoch < self._lease.owner.epoch
        if group_id and (group_id in self._lease.groups or group_id in self._triggered):
            return True
        return epoch is not None

    def _may_be_ours(self, raw: object) -> bool:
        """Return whether an order that cannot be read may be of this trader: not where its names are others'."""
        if not isinstance(raw, dict):
            return True
        names = [raw.get(name) for name in ("client_order_id", "order_group_id")]
        return any(name is not None and not isinstance(name, str) for name in names) or self._is_ours(*names)

    def _check_epochs(self, orders: list[Order], before: int) -> None:
        epochs = [self._lease.owner.epoch_of(order.client_order_id or "") for order in orders]
        later = max((epoch for epoch in epochs if epoch is not None), default=0)
        if later >= before:
            raise LaterLease(self.trader, before, later)

    async def _remove(self, order: Order) -> None:
        """Cancel an order and fence its group. Whether that came about shows the next look."""
        spared = (*self._triggered, *self._gone, *(self._lease.groups if self._is_running else ()))
        if order.order_group_id and order.order_group_id not in spared:
            await self._trigger(order.order_group_id, subaccount=order.subaccount)
        cancel = CancelOrder(
            order_id=order.order_id,
            market_ticker=order.ticker,
            exchange_index=self._lease.exchange_index if order.exchange_index is None else order.exchange_index,
            subaccount=order.subaccount,
        )
        try:
            await self._rest.orders.cancel(cancel)
        except NotFound:
            pass  # it has ended meanwhile
        except (*AGAIN, RequestRefused) as exc:
            self._standing = f"order {order.order_id} could not be canceled ({exc})"
            await self._again(1, f"order {order.order_id} could not be canceled", exc)
        else:
            self._canceled[order.order_id] = None
        self._changed_us = self._venue_us()

    # --- a new group ----------------------------------------------------------------------------------------------

    async def _make_group(self) -> str:
        known = {group.id for group in await self._groups()}
        attempt = 0
        while True:
            attempt += 1
            try:
                made = await self._rest.groups.create(
                    self._lease.limit_cx,
                    exchange_index=self._lease.exchange_index,
                    subaccount=self._lease.subaccount,
                )
            except OutcomeUnknown as exc:
                await self._note_strays(known)
                await self._again(attempt, "no order group was made", exc)
            except AGAIN as exc:
                await self._again(attempt, "no order group was made", exc)
            else:
                return made.order_group_id

    async def _note_strays(self, known: set[str]) -> None:
        """Note groups that are new and like the one that was asked for: nothing says whose they are."""
        await self._read_up_to(self._venue_us() + MARGIN_US)
        for group in await self._groups():
            is_alike = group.exchange_index in (None, self._lease.exchange_index) and group.is_auto_cancel_enabled
            if group.id not in known and is_alike and group.contracts_limit_cx in (None, self._lease.limit_cx):
                self.strays[group.id] = None
                known.add(group.id)

    # --- time -----------------------------------------------------------------------------------------------------

    def _venue_us(self) -> int:
        """Return the venue's time, the latest that it can be as far as its clock is known."""
        offset = self._rest.clock_offset()
        return self._clock.wall_us() + (0 if offset is None else offset.high_us)

    async def _again(self, attempt: int, what: str, exc: Exception) -> None:
        wait_s = delay_s(attempt, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S, jitter=random.random())
        if isinstance(exc, HeldBack):
            wait_s = float("inf") if exc.wait_s is None else max(wait_s, exc.wait_s)
        await self._pause(wait_s, f"{what} ({exc})", exc)

    async def _pause(self, seconds: float, why: str, cause: Exception | None = None) -> None:
        """Wait, or give up where there is no time left for it."""
        if self._clock.monotonic() + seconds > self._give_up_s:
            raise self._failed(why) from cause
        await self._sleep(seconds)

    def _failed(self, why: str) -> TakeoverFailed:
        return TakeoverFailed(f"Trader {self.trader}: {why.rstrip('.')}.")
