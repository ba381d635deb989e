"""The supervisor's side of live traders: by what permission they start, behind which fence, and what rests unwatched.

    something missing     stopped, and each missing thing is named; what it may have resting is pulled
    nothing missing       reserved ──► next lease (database) ──► takeover (exchange) ──► new group (database) ──► ready

    no process, and none follows at once    pulled: its groups triggered, and looked at until nothing rests
    its process is silent                   likewise; what is heard of it again starts anew, under another lease

What is asked of the exchange is tried again with back-off until it is proven (traders.errands). A lease is good for one
process: each further one begins with a takeover.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
import redis.asyncio as redis_async
from django.db import Error as DatabaseFault

from feed import keys, venue
from feed.budget import Budget
from feed.kalshi.rest import Rest
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.home import installation_number
from kalshimm.runtime.worker import cancel
from markets.core.orderids import Owner
from traders import allotments, leases
from traders.core.decision import parse_limits
from traders.core.golive import GRANT, Missing
from traders.core.lifetimes import group_limit_cx, order_lifetime_s, resting_most
from traders.core.pipeline import NoStrategies, Tolerances
from traders.core.risk import reserve_ud
from traders.errands import Errands
from traders.fleet import LiveWanted, Wanted, in_thread, read_stored
from traders.grants import told
from traders.groupsweep import sweep
from traders.journal import Checkpoint
from traders.processes import trader_folder
from traders.start import CannotStart, LiveStart, Start, read_start
from traders.takeover import Fence, LaterLease, Lease, Pulled, TakeoverFailed, pull, pull_former, take_over

logger = logging.getLogger(__name__)

REFUSED_AGAIN_S = 5.0
SWEEP_EVERY_S = 3_600.0
RECONCILING = "reconciling"
TAKES_OVER = "what rests of its last lease is pulled before it starts"
PULLS = "its orders are pulled"
PULLS_UNCLAIMED = "orders of it that nobody watches are pulled"
EXPIRED = Missing(GRANT, "the grant has expired")


class NotYet(msgspec.Struct, frozen=True):
    """Why a trader is not where it should be, in the words of its row."""

    state: str
    reason: str


class LiveStarts:
    """All live traders of a home.

    Args:
        client: Without retries of its own: the token budget lies behind it.
    """

    def __init__(self, home: Path, *, client: redis_async.Redis, clock: Clock) -> None:
        self._home, self._client, self._clock = home, client, clock
        self._errands = Errands(clock)
        self._strays = Errands(clock)  # for orders that nobody watches: what a trader itself needs never waits for it
        self._ready: dict[int, LiveStart] = {}
        self._pulled: dict[int, str] = {}  # groups that were triggered, even if that is not noted yet
        self._closed: dict[int, str] = {}  # groups that are closed, though rows read before still name them
        self._refused: dict[int, tuple[str, float]] = {}  # why nothing could be reserved, and when to ask again
        self._said: dict[int, tuple[tuple[str, ...], str]] = {}
        self._budgets: dict[str, Budget] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep_at_s = clock.monotonic()

    async def close(self) -> None:
        """End what is on its way; the next supervisor begins it anew."""
        await self._errands.close()
        await self._strays.close()
        if self._sweeper:
            await cancel(self._sweeper)

    # --- permission -----------------------------------------------------------------------------------------------

    def why_not(self, wanted: Wanted) -> str:
        """Return what a live trader lacks before it may run, each thing named; empty when nothing is missing."""
        assert wanted.live is not None
        missing = wanted.live.missing
        if not missing and wanted.live.expires_us <= self._clock.wall_us():
            missing = (EXPIRED,)  # the database may be away for longer than the grant lasts
        codes = tuple(one.code for one in missing)
        if self._said.get(wanted.id, ((), ""))[0] != codes:  # its words tell how long ago: they change all the time
            self._said[wanted.id] = codes, f"it may not trade live: {told(missing)}" if missing else ""
        return self._said.get(wanted.id, ((), ""))[1]

    async def why_over(self, wanted: Wanted, start: Start) -> str:
        """Return why the lease of a running process is over, empty when it is not.

        Args:
            start: What it was started with.
        """
        its, row = start.live, wanted.live
        if (its is None) != (row is None):
            return f"it runs as {start.mode}, and is set to {wanted.mode}"
        if its is None or row is None:
            return ""
        if its.epoch > row.epoch:  # the row is from a backup, or was read a moment ago
            await self._restore(wanted, its)
            return ""
        if its.epoch < row.epoch:
            return f"lease {row.epoch} has begun, and its own is {its.epoch}"
        is_pulled = self._pulled.get(wanted.id) == its.group_id  # a process that has woken up since is fenced for good
        if its.group_id != row.group_id or is_pulled or not self.is_open(wanted):
            return "its order group was triggered"
        return "" if its.grant == row.grant else "a person has started it under another grant"

    async def _restore(self, wanted: Wanted, live: LiveStart) -> None:
        try:
            await in_thread(leases.restore, wanted.id, live.epoch, live.group_id)
        except DatabaseFault as exc:
            logger.warning("database: %s", exc, extra={"action": "database_lost"})

    # --- a process that is wanted ---------------------------------------------------------------------------------

    def prepare(self, wanted: Wanted, fleet: Iterable[Wanted]) -> NotYet | None:
        """See to it that a trader has a lease for a new process; return what is in the way, None when it is ready."""
        why = self.why_not(wanted)
        if why:
            return NotYet("stopped", why)
        is_due = self._errands.is_due(wanted.id)
        if wanted.id in self._ready:
            return None
        why, again_s = self._refused.get(wanted.id, ("", 0.0))
        if why and self.is_open(wanted):
            return self.pull(wanted, why)
        if is_due and self._clock.monotonic() >= again_s and self._strays.drop(wanted.id):
            self._errands.begin(wanted.id, self._take_over(wanted, tuple(fleet)), TAKES_OVER)
        return NotYet("stopped", why) if why else self._not_yet(wanted.id, TAKES_OVER)

    def take(self, wanted: Wanted) -> LiveStart:
        """Return the lease that is ready, once."""
        return self._ready.pop(wanted.id)

    async def _take_over(self, wanted: Wanted, fleet: tuple[Wanted, ...]) -> None:
        assert wanted.live is not None
        last = self._last_start(wanted)
        try:
            if not await self._has_room(wanted):
                return  # and nothing is sent
            epoch, group_id = await in_thread(leases.next_epoch, wanted.id, above=last.epoch if last else 0)
        except DatabaseFault:
            await self._pull_meanwhile(wanted)
            raise
        lease = msgspec.structs.replace(self._lease(wanted, epoch, group_id), limit_cx=_group_limit_cx(wanted))
        try:
            async with await self._exchange(lease.environment, lease.account) as rest:
                fence = await take_over(rest, lease, clock=self._clock)
        except LaterLease as exc:
            await in_thread(leases.raise_epoch, wanted.id, exc.found)
            raise
        except TakeoverFailed as exc:
            await in_thread(leases.retire, lease, exc.strays)
            raise
        await in_thread(leases.begin, lease, fence)
        self._ready[wanted.id] = self._live_start(wanted, lease, fence, fleet)

    async def _pull_meanwhile(self, wanted: Wanted) -> None:
        """Let nothing of a dead trader rest for as long as the database keeps it from starting (D9)."""
        assert wanted.live is not None
        if not self.is_open(wanted) or self._pulled.get(wanted.id) == wanted.live.group_id:
            return
        lease = self._lease(wanted, wanted.live.epoch, wanted.live.group_id)
        async with await self._exchange(lease.environment, lease.account) as rest:
            await pull(rest, lease, clock=self._clock)
        self._pulled[wanted.id] = wanted.live.group_id

    async def _has_room(self, wanted: Wanted) -> bool:
        """Reserve what a trader may lose; return whether it could be."""
        stored = await in_thread(read_stored, wanted.id)
        try:
            await in_thread(allotments.reserve, wanted.id, worst_ud(wanted, stored))
        except allotments.ReservationRefused as exc:
            self._refused[wanted.id] = str(exc), self._clock.monotonic() + REFUSED_AGAIN_S
            return False
        self._refused.pop(wanted.id, None)
        return True

    def _live_start(self, wanted: Wanted, lease: Lease, fence: Fence, fleet: tuple[Wanted, ...]) -> LiveStart:
        assert wanted.live is not None
        orders = sum(resting_most(1, orders_a_side(one)) for one in fleet if one.id == wanted.id or _shares(one, lease))
        return LiveStart(
            environment=lease.environment,
            rest_url=venue.environment().rest_url,
            key=self._key(lease.environment, lease.account).name,
            installation=lease.owner.installation,
            epoch=lease.owner.epoch,
            group_id=fence.group_id,
            exchange_index=lease.exchange_index,
            grant=wanted.live.grant,
            grant_expires_us=wanted.live.expires_us,
            lifetime_s=order_lifetime_s(orders, self._budget(lease.account).limits.write.refill),
            subaccount=lease.subaccount,
        )

    # --- nothing rests unwatched ----------------------------------------------------------------------------------

    def is_open(self, wanted: Wanted) -> bool:
        """Return whether something of a trader may rest: its newest lease was begun, and is not closed."""
        if wanted.live is None:
            return False
        return wanted.id in self._ready or wanted.live.group_id not in ("", self._closed.get(wanted.id))

    def pull(self, wanted: Wanted, reason: str) -> NotYet | None:
        """See to it that nothing of a trader rests; return what is still to be done, None once that is proven.

        Args:
            reason: Why nobody watches what may rest.
        """
        doing = self._errands.doing(wanted.id)
        if not doing and not self.is_open(wanted):
            return None
        if self._errands.is_due(wanted.id) and self._strays.drop(wanted.id):
            self._errands.begin(wanted.id, self._pull(wanted, reason), PULLS)
        return self._not_yet(wanted.id, "; ".join(filter(None, (reason, PULLS))))

    async def _pull(self, wanted: Wanted, reason: str) -> None:
        assert wanted.live is not None
        lease = self._lease(wanted, wanted.live.epoch, wanted.live.group_id)
        async with await self._exchange(lease.environment, lease.account) as rest:
            pulled = await pull(rest, lease, clock=self._clock)
        self._pulled[wanted.id] = wanted.live.group_id
        await in_thread(leases.close, lease, pulled, reason)
        self._ready.pop(wanted.id, None)
        self._closed[wanted.id] = wanted.live.group_id

    def is_tending(self, trader: int) -> bool:
        """Return whether a trader is being pulled or taken over: then whatever rests of it is looked after."""
        return trader in self._ready or self._errands.doing(trader) != ""

    def pull_unclaimed(self, lease: Lease, note: Callable[[Pulled], Awaitable[None]], *, is_running: bool) -> None:
        """Pull what nobody watches of a trader, unless something is asked for it already, or failed a moment ago.

        Args:
            note: Told once nothing of it rests.
            is_running: The lease is that of a running process, and only what is of earlier ones is pulled.
        """

        async def do() -> None:
            async with await self._exchange(lease.environment, lease.account) as rest:
                pulled = await (pull_former if is_running else pull)(rest, lease, clock=self._clock)
            await note(pulled)

        if self._errands.is_due(lease.owner.trader) and self._strays.is_due(lease.owner.trader):
            self._strays.begin(lease.owner.trader, do(), PULLS_UNCLAIMED)

    def _not_yet(self, trader: int, words: str) -> NotYet:
        trouble = self._errands.trouble(trader)
        return NotYet(RECONCILING, f"{words}: {trouble.why}" if trouble else words)

    # --- leases ---------------------------------------------------------------------------------------------------

    def _lease(self, wanted: Wanted, epoch: int, group_id: str) -> Lease:
        """Return a lease with the groups of those before it, as the database, the start file and we know them."""
        assert wanted.live is not None
        last, ready = self._last_start(wanted), self._ready.get(wanted.id)
        if last and last.group_id == group_id:
            self._check_place(wanted, last)
        groups = (group_id, last.group_id if last else "", ready.group_id if ready else "")
        return Lease(
            owner=Owner(installation_number(self._home), wanted.id, epoch),
            environment=wanted.live.environment,
            account=wanted.live.account,
            ticker=wanted.ticker,
            exchange_index=wanted.live.exchange_index,
            groups=tuple(dict.fromkeys(group for group in groups if group)),
            subaccount=wanted.live.subaccount,
        )

    def _check_place(self, wanted: Wanted, last: LiveStart) -> None:
        """Refuse to look for what a trader has resting where it does not trade.

        Raises:
            TakeoverFailed: Its newest lease is of another environment or subaccount.
        """
        assert wanted.live is not None
        if last.environment != wanted.live.environment:
            raise TakeoverFailed(_elsewhere(last.environment, wanted.live.environment))
        if last.subaccount != wanted.live.subaccount:
            there, here = last.subaccount or 0, wanted.live.subaccount or 0
            raise TakeoverFailed(f"Its newest lease is of subaccount {there}, and it is set to {here}; set it back.")

    def _last_start(self, wanted: Wanted) -> LiveStart | None:
        """Return the live part of the trader's start file: it may be ahead of a database from a backup."""
        try:
            return read_start(trader_folder(self._home, wanted.id)).live
        except CannotStart:
            return None

    # --- the exchange ---------------------------------------------------------------------------------------------

    async def _exchange(self, environment: str, account: str) -> Rest:
        """Return a client with the account's write key.

        Raises:
            KalshimmError: There is no such key, or this installation is on another environment now.
        """
        here = venue.environment()
        if here.name != environment:
            raise TakeoverFailed(_elsewhere(environment, here.name))
        signer = await asyncio.to_thread(keys.open_key, self._home, self._key(environment, account).name)
        return Rest(here, signer, self._clock, limiter=self._budget(account))

    def _key(self, environment: str, account: str) -> keys.KeyEntry:
        found = keys.trading_key(self._home, environment=environment, account=account)
        if found is None:
            raise TakeoverFailed(f"the vault has no key that may trade for {account}; see `keys list`")
        return found

    def _budget(self, account: str) -> Budget:
        return self._budgets.setdefault(account, Budget(self._client, account, self._clock))

    # --- groups that are over -------------------------------------------------------------------------------------

    def sweep_now_and_then(self) -> None:
        """Delete old order groups, beside everything else."""
        if self._sweeper and self._sweeper.done():
            error = None if self._sweeper.cancelled() else self._sweeper.exception()
            if error:
                logger.warning("old order groups stay for now: %s", error, extra={"action": "group_sweep"})
            self._sweeper = None
        if self._sweeper is None and self._clock.monotonic() >= self._sweep_at_s:
            self._sweep_at_s = self._clock.monotonic() + SWEEP_EVERY_S
            self._sweeper = asyncio.create_task(self._sweep(), name="sweep order groups")

    async def _sweep(self) -> None:
        due = await in_thread(leases.due_groups)
        for (environment, account), groups in due.items():
            async with await self._exchange(environment, account) as rest:
                async for group in sweep(rest, groups):
                    await in_thread(leases.forget_group, group)


def worst_ud(wanted: Wanted, stored: Checkpoint) -> int:
    """Return what a trader reserves: the most that it may lose, and no less than what it holds has cost.

    Raises:
        ParamsError: Its limits cannot be read.
    """
    return reserve_ud(parse_limits(wanted.limits), stored.inventory.position.cost_ud)


def as_left(start: Start) -> Wanted:
    """Return a live trader as its start file tells of it: its row is gone, and what it has resting is not.

    Raises:
        ValueError: It is the start file of a paper trader.
    """
    live = start.live
    if live is None:
        raise ValueError(f"trader {start.trader} is no live one")
    row = LiveWanted(
        missing=(),
        grant=live.grant,
        expires_us=live.grant_expires_us,
        environment=live.environment,
        account=start.account,
        exchange_index=live.exchange_index,
        epoch=live.epoch,
        group_id=live.group_id,
        subaccount=live.subaccount,
    )
    return Wanted(
        id=start.trader,
        name=start.name,
        ticker=start.ticker,
        mode=start.mode,
        desired="stopped",
        state="draining",
        restarts=0,
        strategies=start.strategies,
        limits=start.limits,
        facts=start.facts,
        live=row,
    )


def orders_a_side(wanted: Wanted) -> int:
    """Return how many orders a trader's strategies let rest on a side."""
    try:
        return wanted.strategies.parse().tolerances.orders_a_side
    except NoStrategies:
        return Tolerances().orders_a_side


def _group_limit_cx(wanted: Wanted) -> int:
    return group_limit_cx(parse_limits(wanted.limits), orders_a_side=orders_a_side(wanted))


def _shares(other: Wanted, lease: Lease) -> bool:
    """Return whether another trader's orders are renewed from the same token budget."""
    return other.live is not None and other.desired != "stopped" and other.live.account == lease.account


def _elsewhere(there: str, here: str) -> str:
    return f"its last lease is on {there}, and KALSHI_ENV is {here}: set it back, or look there for what rests"
