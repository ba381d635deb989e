"""Carries a kill out at the exchange: cancels, fences, and proves that nothing rests. No store, no Django, no budget.

    plan        who is meant: accounts with a key that trades, and the traders' start files
    carry out   of each account, all at the same time and each again until it is done

        trigger every order group in scope   what was on its way, and what a process that wakes up sends, is refused
        cancel-all, of a whole account       where it is refused, order by order
        look at what rests                   and cancel that, batch by batch

Confirmed is what the exchange itself has shown: by a reading newer than everything that was asked for, and than the
kill, nothing in scope rests, and every group is triggered or gone. Until then it goes on trying.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from feed import keys
from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.errors import (
    Conflict,
    Forbidden,
    NotFound,
    ProtocolViolation,
    RateLimited,
    RequestRefused,
    Unauthorized,
    VenueError,
)
from feed.kalshi.rest import Rest
from feed.kalshi.transport import Connection
from feed.kalshi.wire.orders import CancelOrder, GroupListed
from feed.kalshi.wire.portfolio import Order
from kalshimm.errors import KalshimmError, OutcomeUnknown
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.home import installation_number, running_exchange
from kalshimm.runtime.worker import set_within
from markets.core import orderids
from traders.core.kills import ACCOUNT, ALL, Kill, Target
from traders.processes import living

logger = logging.getLogger(__name__)

BATCH = 20  # cancels of 2 tokens each in one request
FIRST_WAIT_S, MOST_WAIT_S = 0.1, 2.0
LOOK_AGAIN_S = 0.05
LOOK_AGAIN_MOST_S = 0.5
RESTING = "resting"
# What a request may end with, and what is tried again for as long as there is time.
AGAIN = (OutcomeUnknown, VenueError)
TRIGGERS_AT_ONCE = 8
LISTENS_S = 0.5
# A slow answer is tried anew soon: all that is asked here is safe to repeat.
BRIEF = Connection(connect_timeout_s=2.0, answer_timeout_s=4.0, deadline_s=4.0, first_wait_s=0.1)


class Leased(msgspec.Struct, frozen=True):
    """What of a trader's start file matters here, of whichever version that is.

    Attributes:
        group_id, shard: Of its order group.
        is_living: Whether its process lives; of one that may, for all that is known, it is taken to.
    """

    target: Target
    environment: str
    rest_url: str
    group_id: str
    shard: int
    subaccount: int | None
    is_living: bool = True


class Party(msgspec.Struct, frozen=True):
    """One account that something is to be done on.

    Attributes:
        keys: Names of keys that may trade for it, those that are known to first.
        is_whole: Every order of the account goes, others' too.
        traders: Numbers of the traders whose orders go; None means every one of this installation.
        leased: Whose groups are triggered, those of living processes first.
    """

    account: str
    environment: str
    rest_url: str
    keys: tuple[str, ...]
    is_whole: bool
    traders: frozenset[int] | None
    leased: tuple[Leased, ...]


class Plan(NamedTuple):
    """What a kill means.

    Attributes:
        parties: Accounts to be asked.
        impossible: What cannot be done at all, each with its reason.
        left_out: In words, what is in scope and needs nothing done.
        is_anybody: Whether it names a trader that was ever started here, or an account with a key.
    """

    parties: list[Party]
    impossible: list[Outcome]
    left_out: list[str]
    is_anybody: bool


class Outcome(msgspec.Struct, frozen=True):
    """What was achieved on one account.

    Attributes:
        resting: Orders in scope that rest; None while that could not be read.
        canceled: Those that were canceled one by one, beside cancel-all and triggers.
        triggered, gone: Order groups in scope: triggered now, or no more at the exchange.
        confirmed_ms: From the beginning until the proof that nothing rests.
        why: What is in the way; empty when nothing is.
    """

    account: str
    environment: str
    is_confirmed: bool
    resting: int | None = None
    canceled: int = 0
    triggered: int = 0
    gone: int = 0
    confirmed_ms: int | None = None
    why: str = ""

    def __str__(self) -> str:
        where = f"account {self.account} ({self.environment})"
        if self.is_confirmed:
            fences = f"{self.triggered} order groups triggered" + (f", {self.gone} gone" if self.gone else "")
            return f"{where}: confirmed, 0 resting, {self.confirmed_ms} ms; {fences}"
        count = "it could not be read what rests" if self.resting is None else f"{self.resting} orders rest"
        return f"{where}: unconfirmed, {count}: {self.why}"


# ---- who is meant ----------------------------------------------------------------------------------------------------


def read_targets(home: Path) -> tuple[list[tuple[Target, Leased | None]], list[str]]:
    """Return every trader that was started here, live ones with their lease, and which start files tell nothing.

    A start file of another version tells what matters here, too.
    """
    found: list[tuple[Target, Leased | None]] = []
    unread: list[str] = []
    for path in sorted((home / "traders").glob("*/start.json")):
        try:
            start = msgspec.json.decode(path.read_bytes(), type=_Start)
        except (OSError, msgspec.MsgspecError) as exc:
            unread.append(f"{path} cannot be read ({exc})")
            continue
        target, live, leased = Target(start.trader, start.name, start.account, start.event), start.live, None
        if live is not None:
            leased = Leased(
                target, live.environment, live.rest_url, live.group_id, live.exchange_index, live.subaccount
            )
        found.append((target, leased))
    return found, unread


class _Live(msgspec.Struct, frozen=True):
    environment: str
    rest_url: str
    group_id: str
    exchange_index: int
    subaccount: int | None = None


class _Start(msgspec.Struct, frozen=True):
    trader: int
    name: str
    account: str
    event: str = ""
    live: _Live | None = None


def plan(home: Path, kill: Kill, *, ours_only: bool) -> Plan:
    """Return what a kill means here.

    Args:
        ours_only: Spare orders that are not of this installation.
    """
    targets, unread = read_targets(home)
    alive = living(home)
    leased = [
        replace(lease, is_living=target.trader in alive)
        for target, lease in targets
        if lease is not None and kill.covers(target)
    ]
    leased.sort(key=lambda one: not one.is_living)
    is_wide = kill.kind in (ALL, ACCOUNT)
    is_whole = is_wide and not ours_only
    wanted = {(one.environment, one.target.account) for one in leased}
    impossible = [_unknown(why) for why in unread]  # whose orders, and behind which fence, nobody can tell
    try:
        entries = [entry for entry in keys.Vault(home).entries() if entry.may_trade is not False]
    except keys.VaultError as exc:
        impossible += [Outcome(account, name, False, why=str(exc)) for name, account in sorted(wanted)]
        return Plan([], impossible or [_unknown(str(exc))], [], True)
    if is_wide:
        wanted |= {(e.environment, e.account) for e in entries if kill.key in ("", e.account)}
    plan = Plan([], impossible, [], bool(wanted) or any(kill.covers(target) for target, _ in targets))
    for environment, account in sorted(wanted):
        mine = tuple(one for one in leased if (one.environment, one.target.account) == (environment, account))
        fitting = [entry for entry in entries if (entry.environment, entry.account) == (environment, account)]
        rest_url = _address(home, environment, mine)
        if not rest_url:
            plan.left_out.append(f"account {account} ({environment}): no local exchange runs in this home")
        elif not fitting:
            why = "no key in the vault may trade for it; see `keys list`, and cancel at the exchange"
            plan.impossible.append(Outcome(account, environment, False, why=why))
        else:
            party = Party(
                account=account,
                environment=environment,
                rest_url=rest_url,
                keys=tuple(entry.name for entry in sorted(fitting, key=lambda one: not one.may_trade)),
                is_whole=is_whole,
                traders=None if is_wide else frozenset(one.target.trader for one in mine),
                leased=mine,
            )
            plan.parties.append(party)
    return plan


def _unknown(why: str) -> Outcome:
    return Outcome("?", "?", False, why=why)


def _address(home: Path, environment: str, leased: Iterable[Leased]) -> str:
    """Return where an environment answers; empty for a local exchange that does not run: nothing rests there."""
    told = next((one.rest_url for one in leased if environments.answers_at(environment, one.rest_url)), "")
    if environment != "local":
        return told or environments.resolve(environment).rest_url
    running = running_exchange(home)
    return next((url for url in (running.rest if running else "", told) if url and _listens(url)), "")


def _listens(url: str) -> bool:
    """Return whether somebody listens at an address of this machine."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=LISTENS_S):
            return True
    except OSError:
        return False


# ---- what is done ----------------------------------------------------------------------------------------------------


class Carrying:
    """A kill on its way on one account.

    Args:
        installation: By whose number our orders are known; None where the whole account goes.
        has_other_key: Whether to give up at once where this one is not accepted.
        say: Told whenever something new is in the way.

    Raises:
        Unauthorized, Forbidden: The key is not accepted, or may not, and there is another.
    """

    def __init__(
        self,
        party: Party,
        rest: Rest,
        clock: Clock,
        *,
        installation: int | None,
        has_other_key: bool,
        say: Callable[[str], None],
    ) -> None:
        self._party, self._rest, self._clock, self._say = party, rest, clock, say
        self._installation, self._has_other_key = installation, has_other_key
        self._groups = {one.group_id for one in party.leased}
        self._triggered: set[str] = set()
        self._gone: set[str] = set()
        self._untriggered: dict[str, str] = {}  # whose group is not, and why
        self._refused: set[str] = set()  # and for good
        self._denied: RequestRefused | None = None  # of a trigger: the key may not
        self._at_once = asyncio.Semaphore(TRIGGERS_AT_ONCE)
        self._listing = asyncio.Lock()
        self._ids: set[str] | None = None  # of the account's groups
        self._moved = asyncio.Event()
        self._changed_us: int | None = None
        self._canceled: set[str] = set()
        self._resting: int | None = None
        self._why = ""

    async def run(self, within_s: float) -> Outcome:
        """Go on until it is proven that nothing in scope rests, or cannot be, or the time is over."""
        began_s, confirmed_ms = self._clock.monotonic(), None
        tasks = [asyncio.create_task(self._trigger(one)) for one in self._party.leased]
        if self._party.is_whole:
            tasks.append(asyncio.create_task(self._cancel_all()))
        try:
            async with asyncio.timeout(within_s):
                if await self._prove():
                    confirmed_ms = round((self._clock.monotonic() - began_s) * 1_000)
        except TimeoutError:
            self._say(f"account {self._party.account}: the time is over")
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        if confirmed_ms is None:
            unforeseen = next((one for one in ended if isinstance(one, Exception)), None)
            if unforeseen is not None:
                raise unforeseen
        return Outcome(
            account=self._party.account,
            environment=self._party.environment,
            is_confirmed=confirmed_ms is not None,
            resting=self._resting,
            canceled=len(self._canceled),
            triggered=len(self._triggered),
            gone=len(self._gone),
            confirmed_ms=confirmed_ms,
            why="" if confirmed_ms is not None else self._untold() or self._why,
        )

    def _untold(self) -> str:
        return "; ".join(f"the order group of trader {name} is not triggered: {why}" for name, why in self._open())

    def _open(self) -> list[tuple[str, str]]:
        left = [one for one in self._party.leased if one.group_id not in self._triggered | self._gone]
        return [(one.target.name, self._untriggered.get(one.group_id, "nobody answered yet")) for one in left]

    # What is asked for

    async def _cancel_all(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._rest.orders.cancel_all()
            except AGAIN as exc:
                if _is_final(exc):  # not for every member (facts.md section 7.4)
                    self._blocked(f"cancel-all is refused ({exc}): order by order")
                    return
                await self._again(attempt, "cancel-all", exc)
            else:
                self._note_change()
                return

    async def _trigger(self, leased: Leased) -> None:
        """Trigger a trader's group until the exchange says that it is, or that there is none."""
        attempt, shard = 0, leased.shard
        async with self._at_once:
            while True:
                attempt += 1
                try:
                    if not leased.is_living and await self._is_gone(leased):
                        self._gone.add(leased.group_id)
                        break
                    await self._rest.groups.trigger(leased.group_id, exchange_index=shard, subaccount=leased.subaccount)
                    self._triggered.add(leased.group_id)
                    break
                except AGAIN as exc:
                    try:
                        listed = await self._listed(leased) if isinstance(exc, NotFound) else None
                    except AGAIN as unread:
                        await self._again(attempt, f"the group of trader {leased.target.name}", unread)
                        continue
                    if isinstance(exc, NotFound) and listed is None:
                        self._gone.add(leased.group_id)
                        break
                    shard = shard if listed is None or listed.exchange_index is None else listed.exchange_index
                    self._untriggered[leased.group_id] = str(exc)
                    if listed is None and _is_final(exc):
                        self._refused.add(leased.group_id)
                        self._denied = exc if isinstance(exc, Unauthorized | Forbidden) else self._denied
                        self._moved.set()
                        return
                    await self._again(attempt, f"the group of trader {leased.target.name}", exc)
        self._note_change()

    async def _is_gone(self, leased: Leased) -> bool:
        """Return whether the account has no such group: of traders that ended long ago, by one list for all of them.

        A living one's may be too new to be listed.
        """
        async with self._listing:
            if self._ids is None:
                listed = await self._rest.groups.groups()  # of all subaccounts
                if listed.unreadable:
                    raise ProtocolViolation(f"{len(listed.unreadable)} order groups cannot be read.")
                self._ids = {group.id for group in listed.items}
        return leased.group_id not in self._ids

    async def _listed(self, leased: Leased) -> GroupListed | None:
        """Return a group as the account lists it: one that another shard has is not gone."""
        listed = await self._rest.groups.groups(subaccount=leased.subaccount)
        if listed.unreadable:
            raise ProtocolViolation(f"{len(listed.unreadable)} order groups cannot be read.")
        return next((group for group in listed.items if group.id == leased.group_id), None)

    # What is shown

    async def _prove(self) -> bool:
        """Look, and cancel what is found, until nothing rests behind all fences; False when a fence is refused."""
        attempt = 0
        while True:
            attempt += 1
            try:
                if self._changed_us is None:  # its answer tells how far the clocks are apart
                    await self._rest.exchange.user_data_timestamp()
                    self._note_change()
                self._moved.clear()
                is_fenced, may_be = not self._open(), self._groups - self._triggered - self._gone - self._refused
                if self._denied is not None and self._has_other_key:
                    raise self._denied
                found = await self._look()
                if found:
                    await self._cancel(found)
                elif is_fenced:
                    return True
                elif not may_be:
                    return False
                else:
                    await set_within(self._moved, LOOK_AGAIN_MOST_S)
            except (Unauthorized, Forbidden) as exc:
                if self._has_other_key:
                    raise
                await self._again(attempt, "what rests", exc)
            except AGAIN as exc:
                await self._again(attempt, "what rests", exc)

    async def _look(self) -> list[Order]:
        """Return what rests, by a reading that shows everything done here."""
        if self._changed_us is None:
            raise ProtocolViolation("The exchange's answers do not say when they were made, so nothing can be proven.")
        as_of_us = -1
        while as_of_us <= self._changed_us:
            await asyncio.sleep(0 if as_of_us < 0 else LOOK_AGAIN_S)
            as_of_us = (await self._rest.exchange.user_data_timestamp()).as_of_us
        listed = await self._rest.portfolio.orders(status=RESTING).all()
        found = list({order.order_id: order for order in listed.items if self._is_meant(order)}.values())
        if listed.unreadable:
            self._resting = None
            raise ProtocolViolation(f"{len(listed.unreadable)} resting orders cannot be read.")
        self._resting = len(found)
        return found

    def _is_meant(self, order: Order) -> bool:
        if self._party.is_whole or order.order_group_id in self._groups:
            return True
        made = orderids.decode(order.client_order_id or "")
        if made is None or made.installation != self._installation:
            return False
        return self._party.traders is None or made.trader in self._party.traders

    async def _cancel(self, orders: Sequence[Order]) -> None:
        for start in range(0, len(orders), BATCH):
            batch = [
                CancelOrder(
                    order_id=order.order_id, market_ticker=order.ticker, exchange_index=order.exchange_index or 0,
                    subaccount=order.subaccount,
                )
                for order in orders[start : start + BATCH]
            ]  # fmt: skip
            results = await self._rest.orders.cancel_many(batch)
            self._note_change()
            for one, result in zip(batch, results, strict=True):
                if not isinstance(result, Exception):
                    self._canceled.add(one.order_id)
                elif not isinstance(result, NotFound):
                    self._blocked(str(result))

    def _note_change(self) -> None:
        """Note the latest moment, by the venue's clock, at which what was asked for may have happened."""
        offset = self._rest.clock_offset()
        if offset is not None:
            now_us = self._clock.wall_us() + offset.high_us
            self._changed_us = max(now_us, self._changed_us or 0)
        self._moved.set()

    async def _again(self, attempt: int, what: str, exc: Exception) -> None:
        self._blocked(f"{what}: {exc}")
        await asyncio.sleep(delay_s(attempt, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S, jitter=random.random()))

    def _blocked(self, why: str) -> None:
        if why != self._why:
            self._say(f"account {self._party.account}: {why}")
        self._why = why


def _is_final(exc: Exception) -> bool:
    """Return whether asking again will be refused again: not while the exchange is paused, or counts our requests."""
    return isinstance(exc, RequestRefused) and not isinstance(exc, Conflict | RateLimited)


async def carry_out(home: Path, party: Party, clock: Clock, *, within_s: float, say: Callable[[str], None]) -> Outcome:
    """Kill on one account with the first key that is accepted; return what was proven within the time.

    Whatever goes wrong is this account's alone, and told as not confirmed.
    """
    why, until_s = "", clock.monotonic() + within_s
    for place, name in enumerate(party.keys):
        try:
            installation = None if party.is_whole else _installation(home)
            signer = keys.open_key(home, name)
            environment = Environment(party.environment, party.rest_url, "")
            async with Rest(environment, signer, clock, connection=BRIEF) as rest:
                has_other_key = place + 1 < len(party.keys)
                carrying = Carrying(party, rest, clock, installation=installation, has_other_key=has_other_key, say=say)
                return await carrying.run(max(0.1, until_s - clock.monotonic()))
        except Exception as exc:
            why = str(exc) if isinstance(exc, KalshimmError) else f"{type(exc).__name__}: {exc}"
            say(f"account {party.account}, key {name}: {why}")
            if not isinstance(exc, KalshimmError):
                logger.exception("a kill went wrong", extra={"action": "kill_failed", "account": party.account})
    return Outcome(party.account, party.environment, False, why=why)


def _installation(home: Path) -> int:
    """Return the number by which our orders are known; none is made here: orders at rest would not have it."""
    if not (home / "installation").exists():
        raise KalshimmError(
            f"{home / 'installation'} is missing: nobody can tell which orders are ours. Kill the whole account, or "
            "put it back from a backup."
        )
    return installation_number(home)


def carry_out_all(
    home: Path, parties: Sequence[Party], clock: Clock, *, within_s: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Kill on all of these accounts at the same time."""

    async def all_of_them() -> list[Outcome]:
        return await asyncio.gather(*(carry_out(home, party, clock, within_s=within_s, say=say) for party in parties))

    return asyncio.run(all_of_them())
