"""The one poll of an account for everybody: reads of the venue into the account view.

Each turn asks the user-data time first: the lists that follow show everything up to it. A read that fails teaches
nothing, least of all that something is gone (C5); a list with items nobody can read is no proof of absence either.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from feed.account import reading
from feed.account.view import AccountView
from feed.kalshi import attestation
from feed.kalshi.attestation import Urgency
from feed.kalshi.calls import Listing
from feed.kalshi.errors import Forbidden, NotFound
from feed.kalshi.limiter import Costs, Limits, Rate
from feed.kalshi.rest import Rest
from kalshimm.runtime.clock import Clock

logger = logging.getLogger(__name__)

PRIMARY = 0
SUBACCOUNTS = 64  # 0 to 63
HISTORY_US = 86_400_000_000  # what happened in the last day is read at the start
OVERLAP_US = 120_000_000  # reads may lag up to 30 s; what is read twice is booked once
SETTLEMENT_OVERLAP_US = 3_600_000_000
ORDERS_A_TURN = 20  # read one by one


class Periods(msgspec.Struct, frozen=True):
    """Seconds between polls. Source: design.md section 1."""

    orders: float = 5.0
    fills: float = 30.0
    positions: float = 30.0
    queue: float = 10.0
    balances: float = 10.0
    groups: float = 30.0
    standing: float = 3_600.0


class Learned(msgspec.Struct, frozen=True):
    """What the account may spend, and when its keys' region attestation lapses."""

    limits: Limits
    costs: Costs
    attestation_us: int | None


class Polls:
    """Reads of one account, by name as in Periods.

    Args:
        learned: Called with the account's standing.
    """

    def __init__(self, rest: Rest, view: AccountView, clock: Clock, learned: Callable[[Learned], None]) -> None:
        self._rest, self._view, self._clock, self._learned = rest, view, clock, learned
        self._fills_from_us: int | None = None
        self._settlements_from_us: int | None = None
        self._has_history = False
        self._subaccounts: frozenset[int] | None = None
        self._listed: set[int] = set()  # subaccounts that were seen in a list of cash, whether they may be read or not
        self._unseen = {"orders", "positions", "groups"}
        self.reads: dict[str, Callable[[int], Awaitable[None]]] = {
            "orders": self._orders,
            "fills": self._fills,
            "positions": self._positions,
            "queue": self._queue,
            "balances": self._balances,
            "groups": self._groups,
            "standing": self._standing,
            "missing": self._missing,
        }

    @property
    def has_seen_all(self) -> bool:
        """Whether what the view leaves out is not there; before each list was read whole once it is only unknown."""
        return not self._unseen

    def _seen(self, name: str, *lists: Listing[Any]) -> None:
        if not any(listed.unreadable for listed in lists):
            self._unseen.discard(name)

    async def user_data_us(self) -> int:
        return (await self._rest.exchange.user_data_timestamp()).as_of_us

    async def _orders(self, as_of_us: int) -> None:
        portfolio = self._rest.portfolio
        if not self._has_history:
            recent = await portfolio.orders(min_us=self._clock.wall_us() - HISTORY_US).all()
            for order in recent.items:
                self._view.on_polled_order(reading.read_order(order), self._clock.wall_us())
            self._has_history = True
        resting = await portfolio.orders(status="resting").all()
        orders = [reading.read_order(order) for order in resting.items]
        self._view.on_resting_orders(orders, _proven_us(resting, as_of_us), self._clock.wall_us())
        self._seen("orders", resting)
        await self._missing(as_of_us)

    async def _missing(self, as_of_us: int) -> None:
        """Read one by one the orders that a list left out or a fill named."""
        for order_id in sorted(self._view.wanted().order_ids)[:ORDERS_A_TURN]:
            try:
                order = await self._rest.portfolio.order(order_id)
            except NotFound:
                self._view.on_order_not_found(order_id, as_of_us)
            else:
                self._view.on_polled_order(reading.read_order(order), self._clock.wall_us())

    async def _fills(self, as_of_us: int) -> None:
        from_us = self._fills_from_us or self._clock.wall_us() - HISTORY_US
        listed = await self._rest.portfolio.fills(min_us=from_us).all()
        self._view.on_polled_fills(map(reading.read_fill, listed.items), self._clock.wall_us())
        self._fills_from_us = max(from_us, as_of_us - OVERLAP_US)
        for order_id in self._view.orders_without_fills()[:ORDERS_A_TURN]:
            of_order = await self._rest.portfolio.fills(order_id=order_id).all()
            self._view.on_polled_fills(map(reading.read_fill, of_order.items), self._clock.wall_us())
        await self._settlements(as_of_us)

    async def _settlements(self, as_of_us: int) -> None:
        from_us = self._settlements_from_us or self._clock.wall_us() - HISTORY_US
        for subaccount in sorted(await self._mine()):
            listed = await self._rest.portfolio.settlements(min_us=from_us, subaccount=subaccount).all()
            self._view.on_settlements(reading.read_settlement(row, subaccount) for row in listed.items)
        self._settlements_from_us = max(from_us, as_of_us - SETTLEMENT_OVERLAP_US)

    async def _positions(self, as_of_us: int) -> None:
        lists = []
        for subaccount in sorted(await self._mine() | self._view.positions.subaccounts()):
            listed = await self._rest.portfolio.positions(subaccount=subaccount).all()
            rows = [reading.read_position(row, subaccount) for row in listed.items]
            self._view.on_positions(rows, subaccount, _proven_us(listed, as_of_us))
            lists.append(listed)
        self._seen("positions", *lists)

    async def _mine(self) -> frozenset[int]:
        """Return the subaccounts to read; where none can be seen the primary one, whose refusal then tells."""
        if not self._subaccounts:
            self._subaccounts = await self._visible()
        return self._subaccounts or frozenset({PRIMARY})

    async def _visible(self) -> frozenset[int]:
        """Return the subaccounts that the key may read: a position may be older than every fill that we read.

        A key may be pinned to one of them, and no endpoint says to which: the others are refused. What cannot be read
        now is kept for visible: the reads themselves will say so.
        """
        known = self._subaccounts or frozenset()
        try:
            listed = await self._rest.funds.subaccount_balances()
        except Forbidden:
            numbers, is_pinned = set(known) or set(range(PRIMARY, SUBACCOUNTS)), True
        else:
            numbers, is_pinned = {PRIMARY, *(row.subaccount for row in listed.items)}, False
            if listed.unreadable:
                numbers |= known
        visible = set()
        for number in sorted(numbers):
            if await self._may_read(number):
                visible.add(number)
                if is_pinned:
                    break
        return frozenset(visible)

    async def _may_read(self, subaccount: int) -> bool:
        try:
            await self._rest.portfolio.balance(subaccount=subaccount)
        except Forbidden:
            return False
        return True

    async def _queue(self, as_of_us: int) -> None:
        if not any(order.remaining_cx for order in self._view.orders.values()):
            self._view.on_queue([], as_of_us)
            return
        ahead: list[tuple[str, int]] = []
        subaccounts = {order.subaccount for order in self._view.orders.values() if order.remaining_cx}
        for subaccount in sorted(subaccounts):
            listed = await self._rest.portfolio.queue_positions(subaccount=subaccount)
            ahead += [(row.order_id, row.ahead_cx) for row in listed.items]
        self._view.on_queue(ahead, as_of_us)

    async def _balances(self, _as_of_us: int) -> None:
        balance, known = await self._rest.portfolio.balance(), self._view.balance
        self._view.on_balance(reading.read_balance(balance, known.numbered if known else []))
        numbered = await self._numbered_balances(reading.read_shards(balance))
        self._view.on_balance(reading.read_balance(balance, numbered))

    async def _numbered_balances(self, mine: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Return the cash of the subaccounts but the primary one; one that was opened meanwhile is read from now on.

        Args:
            mine: What the key itself is shown: all that one may see that is pinned to a subaccount.
        """
        try:
            listed = await self._rest.funds.subaccount_balances()
        except Forbidden:
            return sorted((number, *shard) for number in await self._mine() if number != PRIMARY for shard in mine)
        rows = [(row.subaccount, row.exchange_index, row.balance_ud) for row in listed.items]
        if self._subaccounts:
            opened = {number for number, _, _ in rows} - self._listed
            # A key that is pinned to one is shown the others' cash, and may not read them.
            self._subaccounts |= {number for number in sorted(opened) if await self._may_read(number)}
            self._listed |= opened
        return sorted((number, shard, ud) for number, shard, ud in rows if number != PRIMARY and shard is not None)

    async def _groups(self, _as_of_us: int) -> None:
        listed = await self._rest.groups.groups()
        groups = [reading.read_group(group) for group in listed.items]
        if listed.unreadable:
            for group in groups:
                self._view.on_group(group)
            return
        self._view.on_groups(groups)
        self._seen("groups", listed)

    async def _standing(self, _as_of_us: int) -> None:
        """Learn the limits and costs of the account, and look after the attestation of its keys."""
        told = await self._rest.account.limits()
        priced = await self._rest.account.endpoint_costs()
        status = await self._rest.exchange.status()
        expires_us = await self._attestation_us()
        limits = Limits(
            read=Rate(told.read.refill_rate, told.read.bucket_capacity),
            write=Rate(told.write.refill_rate, told.write.bucket_capacity),
            shards=tuple(sorted(s.exchange_index for s in status.shards if s.exchange_index > 0)),
        )
        costs = Costs.told(priced.default_cost, [(e.method, e.path, e.cost) for e in priced.endpoint_costs])
        self._learned(Learned(limits, costs, expires_us))
        self._warn_of_attestation(expires_us)
        self._subaccounts = await self._visible()

    async def _attestation_us(self) -> int | None:
        try:
            return (await self._rest.account.keys()).region_expiration_us
        except Forbidden:  # a key pinned to a subaccount may not look at keys
            return None

    def _warn_of_attestation(self, expires_us: int | None) -> None:
        now_us = self._clock.wall_us()
        urgency = attestation.urgency(expires_us, now_us)
        if expires_us is None or urgency is Urgency.NONE:
            return
        fields = {"action": "attestation", "expires_us": expires_us}
        if urgency is Urgency.NOTICE:
            left = attestation.days_left(expires_us, now_us)
            logger.info("the keys' region attestation lapses in %d days", left, extra=fields)
        elif urgency is Urgency.WARNING:
            left = attestation.days_left(expires_us, now_us)
            message = "the keys' region attestation lapses in %d days: renew it on the venue's site"
            logger.warning(message, left, extra=fields | {"alert": "ATTESTATION_LAPSES"})
        else:
            message = "the keys' region attestation has lapsed: sports, elections and entertainment are closed to them"
            logger.error(message, extra=fields | {"alert": "ATTESTATION_LAPSED"})


def _proven_us(listed: Listing[Any], as_of_us: int) -> int:
    """Return the time up to which what a list leaves out is proven absent: none if an item could not be read."""
    return 0 if listed.unreadable else as_of_us
