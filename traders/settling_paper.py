"""Paper settlement: what a market paid is booked for each of its dry-run traders, whose processes ended with it.

    catalogue: paid out, with a result ──► every dry-run trader of the market, once:
        its lock, journal and checkpoint, as its own process would take them
        orders that a crash left open ──► canceled; then a line that says what was paid; what was never sent is sent
        writer ──► decision `settled`, Settlement of account `paper` and the trader: it is due no more

A result that can still be disputed or amended pays nothing yet, at the exchange neither. The line stands in the
trader's file before anything else knows of it, and is the last there: whoever is cut short goes on at the next run.
Traders without a position are booked, too: each has its end, and what a crash kept from the database reaches it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec
from django.db import transaction
from django.db.models import Exists, OuterRef
from redis.exceptions import RedisError

from feed.models import Settlement
from feed.schema import VERSION, JournalBody, JournalEntry, OrderState, SettledState
from kalshimm.errors import AlreadyRunning, HomeNotWritable
from kalshimm.ops.services import audit
from kalshimm.runtime import streams
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.locks import exclusive
from markets.core.settlement import settlement_value_ud
from markets.core.units import CONTRACT_CX
from markets.formatting import contracts, dollars, price
from markets.models import Market
from markets.models.catalog import microseconds
from traders import fleet
from traders.core.inventory import Inventory
from traders.core.orders import OrderStatus
from traders.engine import CLOSED, STATUSES
from traders.journal import Checkpoint, Journal, load_checkpoint, recover, save_checkpoint
from traders.models import PAPER, Desired, Mode, Trader
from traders.processes import trader_folder

logger = logging.getLogger(__name__)

ACTOR = "settlement"
REDIS_ERRORS = (RedisError, ConnectionError, TimeoutError)
PAID_OUT = STATUSES["settled"]


class Due(msgspec.Struct, frozen=True):
    """A trader whose market has paid. `value_ud` is the worth of a YES contract where the venue says it."""

    trader: int
    name: str
    ticker: str
    result: str
    value_ud: int | None
    settled_us: int


def settle_due(home: Path, redis_url: str, clock: Clock) -> list[str]:
    """Book what is due and return the names of the traders that it was booked for now."""
    booked: list[str] = []
    for due in _due(clock.wall_us()):
        try:
            if _settle(home, redis_url, due, clock.wall_us()):
                booked.append(due.name)
        except AlreadyRunning:
            logger.info("trader %s still runs: settled later", due.name, extra={"action": "settles_later"})
        except (ValueError, OSError, HomeNotWritable) as exc:  # its own matter: the others are settled
            logger.warning("trader %s is not settled: %s", due.name, exc, extra={"action": "not_settled"})
    return booked


def _due(now_us: int) -> list[Due]:
    booked = Settlement.objects.filter(account=PAPER, ticker=OuterRef("market_ticker"), subaccount=OuterRef("pk"))
    paid = Market.objects.filter(status=PAID_OUT).exclude(result="")
    traders = Trader.objects.filter(
        ~Exists(booked),
        mode=Mode.DRY_RUN,
        desired=Desired.STOPPED,
        state="stopped",
        pid=None,
        market_ticker__in=paid.values("ticker"),
    ).order_by("pk")
    markets = paid.in_bulk({trader.market_ticker for trader in traders})
    return [_due_of(trader, markets[trader.market_ticker], now_us) for trader in traders]


def _due_of(trader: Trader, market: Market, now_us: int) -> Due:
    settled_us = now_us if market.settlement_time is None else microseconds(market.settlement_time)
    return Due(trader.pk, trader.name, market.pk, market.result, market.settlement_value_ud, settled_us)


def _settle(home: Path, redis_url: str, due: Due, now_us: int) -> bool:
    """Book one trader's settlement unless its file has it; return whether that was now.

    Raises:
        AlreadyRunning: Its process lives.
        ValueError: The result says no value, or its files cannot be read.
        OSError, HomeNotWritable: They cannot be written.
    """
    path = trader_folder(home, due.trader)
    with exclusive(path / "lock", what=f"Trader {due.name}"):
        record = _Record(path, fleet.read_stored(due.trader))
        try:
            line = record.booked_before()
            is_new = line is None
            if line is None:
                line = settled_state(record.state.inventory, due)
                record.append([*_left_open(record.state), line], due, now_us)
            _show(due, line)
            asyncio.run(_send(record.journal, redis_url))
        finally:
            record.journal.close()
    return is_new


class _Record:
    """What a trader's process left behind, taken up as its next process would."""

    def __init__(self, path: Path, stored: Checkpoint) -> None:
        self._path = path
        kept = load_checkpoint(path / "checkpoint.json")
        self.journal = Journal(path / "journal", first_number=max((kept or stored).number, stored.number))
        self.state = recover(kept, self.journal.entries(), stored, path).state
        self.journal.acknowledge(stored.number)

    def booked_before(self) -> SettledState | None:
        """Return the line if the file has it already; it is not acknowledged until the database has it."""
        bodies = (entry.body for entry in self.journal.entries())
        return next((body for body in bodies if isinstance(body, SettledState)), None)

    def append(self, bodies: Iterable[JournalBody], due: Due, now_us: int) -> None:
        self._keep()  # what was taken from the database must stand in the file before a line follows it
        for body in bodies:
            number = self.journal.last_number + 1
            entry = JournalEntry(VERSION, due.trader, number, now_us, PAPER, Mode.DRY_RUN.value, due.ticker, body)
            self.journal.append(entry)
            self.state = self.state.after(entry)
        self._keep()

    def _keep(self) -> None:
        save_checkpoint(self._path / "checkpoint.json", self.state)


def settled_state(held: Inventory, due: Due) -> SettledState:
    """Return what settlement makes of an inventory.

    Raises:
        ValueError: The result needs a value that the venue has not said, or contradicts it.
    """
    value_ud = settlement_value_ud(due.result, due.value_ud)  # type: ignore[arg-type]  # a word of the venue's
    payout = held.payout(value_ud)
    after = held.paid_out(payout)
    return SettledState(
        result=due.result,
        value_cc=value_ud // CONTRACT_CX,
        paid_ud=payout.paid_ud,
        fee_ud=payout.fee_ud,
        position_cx=held.position_cx,
        cost_ud=held.position.cost_ud,
        cash_ud=after.cash_ud,
        fees_ud=after.position.fees_ud,
        settled_us=due.settled_us,
        reason=_said(held, after, due.result, value_ud, payout.paid_ud),
    )


def _said(held: Inventory, after: Inventory, result: str, value_ud: int, paid_ud: int) -> str:
    how = f"settled {result}" if result in ("yes", "no") else f"settled at {price(value_ud // CONTRACT_CX)}"
    if not held.fills:
        return f"{how}: nothing was traded"
    side, count = held.position.side, contracts(abs(held.position_cx))
    paid = "nothing was held" if side is None else f"{count} {side.name.title()} contracts paid {dollars(paid_ud)}"
    unknown = ", before fees that are not known" if after.unknown_fees else ""
    return f"{how}: {paid}, result {dollars(after.cash_ud, plus=True)}{unknown}"


def _left_open(state: Checkpoint) -> list[OrderState]:
    """Return the ends of paper orders that stood in the memory of a process that crashed."""
    return [
        msgspec.structs.replace(order, remaining_cx=0, status=OrderStatus.CANCELED.value, reason=CLOSED)
        for order in state.open_orders
    ]


def _show(due: Due, line: SettledState) -> None:
    """Let the trader's row say it, with an audit row beside the change; what it reserved is free."""
    reason = f"{CLOSED}; {line.reason}"
    with transaction.atomic():
        rows = Trader.objects.filter(pk=due.trader, state="stopped").exclude(state_reason=reason)
        if rows.update(state_reason=reason, reserved_ud=None):
            audit(
                ACTOR, "trader.settled", due.name, market=due.ticker, result=line.result, position_cx=line.position_cx,
                cost_ud=line.cost_ud, paid_ud=line.paid_ud, fee_ud=line.fee_ud, cash_ud=line.cash_ud,
            )  # fmt: skip
            logger.info("trader %s: %s", due.name, line.reason, extra={"action": "trader_settled"})


async def _send(journal: Journal, redis_url: str) -> None:
    """Send what has not been stored; where Redis does not take it, the file keeps it for the next run."""
    client = streams.connect(redis_url)
    try:
        await journal.send(client)
    except REDIS_ERRORS as exc:
        logger.warning("Redis did not take a settlement: %s", exc, extra={"action": "redis_lost"})
    finally:
        await client.aclose()
