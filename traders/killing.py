"""Carries a kill out at the exchange: cancels, fences, and proves that nothing rests. No store, no Django, no budget.

    plan      who is meant: accounts with a key that trades, and the traders' start files
    carry out of each account, at the same time

        whole account   cancel-all ─┐
        (refused: by the batch)     ├──► reads newer than that ──► does anything in scope rest? ──no──► confirmed
        else            triggers ───┘         ▲                        │ yes
                                              └── cancel, batch by batch ◄┘

The order groups of all traders in scope are triggered too: what a process that wakes up later still sends is refused.
Only the exchange's own word counts as proof; until then orders are unconfirmed, and it goes on trying.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from feed import keys
from feed.kalshi import environments
from feed.kalshi.environments import Environment
from feed.kalshi.errors import Forbidden, NotFound, ProtocolViolation, VenueError
from feed.kalshi.rest import Rest
from feed.kalshi.transport import Connection
from feed.kalshi.wire.orders import CancelOrder
from feed.kalshi.wire.portfolio import Order
from kalshimm.errors import ConfigurationError, KalshimmError, OutcomeUnknown
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.home import installation_number, running_exchange
from markets.core import orderids
from traders.core.kills import ACCOUNT, ALL, Kill, Target

logger = logging.getLogger(__name__)

BATCH = 20  # cancels of 2 tokens each in one request
FIRST_WAIT_S, MOST_WAIT_S = 0.1, 2.0
LOOK_AGAIN_S = 0.05
RESTING = "resting"
# What is tried again for as long as there is time. Also a refusal: nobody knows for how long it will be one.
AGAIN = (OutcomeUnknown, VenueError)
TRIGGERS_FIRST_S = 0.5
# A slow answer is tried anew soon: all that is asked here is safe to repeat.
BRIEF = Connection(connect_timeout_s=2.0, answer_timeout_s=4.0, deadline_s=4.0, first_wait_s=0.1)


class Leased(msgspec.Struct, frozen=True):
    """What of a trader's start file matters here, of whichever version that is.

    Attributes:
        group_id, shard: Of its order group.
    """

    target: Target
    environment: str
    rest_url: str
    group_id: str
    shard: int
    subaccount: int | None


class Party(msgspec.Struct, frozen=True):
    """One account that something is to be done on.

    Attributes:
        is_whole: Every order of the account goes, others' too.
        traders: Numbers of the traders whose orders go; None means every one of this installation.
        leased: Whose groups are triggered.
    """

    account: str
    environment: str
    rest_url: str
    key: str
    is_whole: bool
    traders: frozenset[int] | None
    leased: tuple[Leased, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What was achieved on one account.

    Attributes:
        resting: Orders in scope that rest; None while that could not be read.
        canceled: Those that were canceled one by one, after cancel-all and triggers.
        confirmed_ms: From the beginning until the proof that nothing rests.
        why: What was in the way last; empty when nothing is.
    """

    account: str
    environment: str
    is_confirmed: bool
    resting: int | None = None
    canceled: int = 0
    triggered: int = 0
    confirmed_ms: int | None = None
    why: str = ""

    def __str__(self) -> str:
        where = f"account {self.account} ({self.environment})"
        if self.is_confirmed:
            fenced = f"{self.triggered} order groups triggered" + (f"; {self.why}" if self.why else "")
            return f"{where}: confirmed, 0 resting, {self.confirmed_ms} ms; {fenced}"
        count = "it could not be read what rests" if self.resting is None else f"{self.resting} orders"
        return f"{where}: unconfirmed, {count}: {self.why}"


# ---- who is meant ----------------------------------------------------------------------------------------------------


def read_targets(home: Path) -> list[tuple[Target, Leased | None]]:
    """Return every trader that has been started here, live ones with their lease, by their start files.

    Also those of another version; one that tells nothing is logged.
    """
    found: list[tuple[Target, Leased | None]] = []
    for path in sorted((home / "traders").glob("*/start.json")):
        try:
            start = msgspec.json.decode(path.read_bytes(), type=_Start)
        except (OSError, msgspec.MsgspecError) as exc:
            logger.warning("%s cannot be read: %s", path, exc, extra={"action": "kill_start_unread"})
            continue
        target, live, leased = Target(start.trader, start.name, start.account, start.event), start.live, None
        if live is not None:
            leased = Leased(
                target, live.environment, live.rest_url, live.group_id, live.exchange_index, live.subaccount
            )
        found.append((target, leased))
    return found


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


def plan(home: Path, kill: Kill, *, ours_only: bool) -> tuple[list[Party], list[Outcome]]:
    """Return the accounts that a kill means, and what cannot be done at all, each with its reason.

    Args:
        ours_only: Spare orders that are not of this installation.
    """
    leased = [lease for target, lease in read_targets(home) if lease is not None and kill.covers(target)]
    is_wide = kill.kind in (ALL, ACCOUNT)
    wanted = {(one.environment, one.target.account) for one in leased}
    try:
        entries = keys.Vault(home).entries()
    except keys.VaultError as exc:
        return [], [Outcome(account, name, False, why=str(exc)) for name, account in sorted(wanted) or [("?", "?")]]
    if is_wide:
        wanted |= {(e.environment, e.account) for e in entries if e.may_trade and kill.key in ("", e.account)}
    parties, impossible = [], []
    for environment, account in sorted(wanted):
        mine = tuple(one for one in leased if (one.environment, one.target.account) == (environment, account))
        try:
            parties.append(
                Party(
                    account=account,
                    environment=environment,
                    rest_url=_address(home, environment, mine),
                    key=_key(home, environment, account),
                    is_whole=is_wide and not ours_only,
                    traders=None if is_wide else frozenset(one.target.trader for one in mine),
                    leased=mine,
                )
            )
        except KalshimmError as exc:
            impossible.append(Outcome(account, environment, False, why=str(exc)))
    return parties, impossible


def _key(home: Path, environment: str, account: str) -> str:
    entry = keys.trading_key(home, environment=environment, account=account)
    if entry is None:
        raise keys.VaultError(
            f"No key in the vault may trade on {environment} as {account}; see `keys list`, and cancel at the exchange."
        )
    return entry.name


def _address(home: Path, environment: str, leased: Iterable[Leased]) -> str:
    told = next((one.rest_url for one in leased if environments.answers_at(environment, one.rest_url)), "")
    if told:
        return told
    if environment != "local":
        return environments.resolve(environment).rest_url
    running = running_exchange(home)
    if running is None:
        raise ConfigurationError("KALSHI_ENV", "is local, and no local exchange runs in this home: nothing rests there")
    return running.rest


# ---- what is done ----------------------------------------------------------------------------------------------------


class Carrying:
    """A kill on its way on one account.

    Args:
        say: Told whenever something new is in the way.
    """

    def __init__(self, home: Path, party: Party, rest: Rest, clock: Clock, *, say: Callable[[str], None]) -> None:
        self._party, self._rest, self._clock, self._say = party, rest, clock, say
        self._began_s = clock.monotonic()
        self._installation = installation_number(home) if (home / "installation").exists() else None
        self._groups = {one.group_id for one in party.leased}
        self._triggered: set[str] = set()
        self._changed_us = 0
        self._canceled: set[str] = set()
        self._resting: int | None = None
        self._confirmed_ms: int | None = None
        self._why = ""

    async def run(self, within_s: float) -> Outcome:
        """Go on until nothing in scope rests by the exchange's own word, or the time is over."""
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
                if self._party.is_whole:
                    await self._cancel_all()
                triggers = [tasks.create_task(self._trigger(one)) for one in self._party.leased]
                if triggers and not self._party.is_whole:
                    await asyncio.wait(triggers, timeout=TRIGGERS_FIRST_S)
                await self._prove()
        except TimeoutError:
            self._say(f"account {self._party.account}: the time is over")
        return Outcome(
            account=self._party.account,
            environment=self._party.environment,
            is_confirmed=self._confirmed_ms is not None,
            resting=self._resting,
            canceled=len(self._canceled),
            triggered=len(self._triggered),
            confirmed_ms=self._confirmed_ms,
            why=self._why,
        )

    async def _cancel_all(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._rest.orders.cancel_all()
            except (Forbidden, NotFound) as exc:  # not for every member (facts.md section 7.4)
                self._blocked(f"cancel-all is refused ({exc}): order by order")
            except AGAIN as exc:
                await self._again(attempt, "cancel-all", exc)
                continue
            self._note_change()
            return

    async def _trigger(self, leased: Leased) -> None:
        """Trigger a trader's group until the exchange says that it is, or that there is none."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._rest.groups.trigger(
                    leased.group_id, exchange_index=leased.shard, subaccount=leased.subaccount
                )
            except NotFound:
                pass
            except AGAIN as exc:
                await self._again(attempt, f"the group of trader {leased.target.name}", exc)
                continue
            self._triggered.add(leased.group_id)
            self._note_change()
            return

    async def _prove(self) -> None:
        attempt = 0
        while True:
            attempt += 1
            try:
                found = await self._look()
                if not found:
                    self._confirmed_ms = round((self._clock.monotonic() - self._began_s) * 1_000)
                    self._why = ""
                    return
                await self._cancel(found)
            except AGAIN as exc:
                await self._again(attempt, "what rests", exc)

    async def _look(self) -> list[Order]:
        """Return what rests, by a reading that shows everything done here."""
        as_of_us = -1
        while as_of_us <= self._changed_us:
            await asyncio.sleep(0 if as_of_us < 0 else LOOK_AGAIN_S)
            as_of_us = (await self._rest.exchange.user_data_timestamp()).as_of_us
        listed = await self._rest.portfolio.orders(status=RESTING).all()
        found = [order for order in listed.items if self._is_meant(order)]
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
        self._changed_us = self._clock.wall_us() + (0 if offset is None else offset.high_us)

    async def _again(self, attempt: int, what: str, exc: Exception) -> None:
        self._blocked(f"{what}: {exc}")
        await asyncio.sleep(delay_s(attempt, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S, jitter=random.random()))

    def _blocked(self, why: str) -> None:
        if why != self._why:
            self._say(f"account {self._party.account}: {why}")
        self._why = why


async def carry_out(home: Path, party: Party, clock: Clock, *, within_s: float, say: Callable[[str], None]) -> Outcome:
    """Kill on one account; return what was proven within the time."""
    try:
        signer = keys.open_key(home, party.key)
    except keys.VaultError as exc:
        return Outcome(party.account, party.environment, False, why=str(exc))
    environment = Environment(party.environment, party.rest_url, "")
    async with Rest(environment, signer, clock, connection=BRIEF) as rest:
        return await Carrying(home, party, rest, clock, say=say).run(within_s)


def carry_out_all(
    home: Path, parties: Sequence[Party], clock: Clock, *, within_s: float, say: Callable[[str], None]
) -> list[Outcome]:
    """Kill on all of these accounts at the same time."""

    async def all_of_them() -> list[Outcome]:
        return await asyncio.gather(*(carry_out(home, party, clock, within_s=within_s, say=say) for party in parties))

    return asyncio.run(all_of_them())
