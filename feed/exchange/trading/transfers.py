"""Moving cash inside a member's account: between subaccounts, between shards, and by itself towards an allocation.

    same shard      at once; listed among the subaccount transfers
    other shard     accepted now, done later in up to three steps that are not undone when a later one fails:
                    subaccount → primary, primary → primary on the other shard, primary → subaccount
    allocation      every 10 s what is free on the primary's shards moves towards the percentages asked for

Source: openapi.yaml (ApplySubaccountTransfer, IntraExchangeInstanceTransfer, SetTargetBalanceAllocation), facts.md
sections 5.6 and 7.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from feed.exchange.pauses import EXCHANGE_IS_PAUSED
from feed.exchange.trading.accounts import PRIMARY, Account
from feed.exchange.trading.collateral import Reservation
from feed.exchange.trading.ledger import Balance, Kind
from feed.exchange.trading.orders import INSUFFICIENT_BALANCE, NOT_FOUND, Refusal

if TYPE_CHECKING:
    from feed.exchange.world import World

SECOND_US = 1_000_000
STEP_AFTER_US = 200_000  # each step of a move between shards
REBALANCE_EVERY_US = 10 * SECOND_US
GRAIN_UD = 100  # $0.0001: what a transfer between shards is counted in

PENDING, COMPLETE = "pending", "complete"
REPEATED = Refusal(409, "transfer_already_exists")
SAME_PLACE = Refusal(400, "invalid_parameters", "source and destination are the same")


class Transfer(msgspec.Struct, kw_only=True):
    """One move of cash; a balance is (shard, subaccount)."""

    transfer_id: str
    client_transfer_id: str
    source: Balance
    destination: Balance
    amount_ud: int
    created_us: int
    status: str = PENDING

    @property
    def crosses_shards(self) -> bool:
        return self.source[0] != self.destination[0]


class Allocation(msgspec.Struct, frozen=True):
    """How a member wants the primary's free cash spread: percent by shard, empty for not at all."""

    percents: dict[int, int] = {}
    reservation: Reservation = "sum"


class Transfers:
    """The transfer desk of one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def request(
        self, account: Account, source: Balance, destination: Balance, amount_ud: int, *, client_transfer_id: str = ""
    ) -> Transfer | Refusal:
        """Start a move of cash; inside a shard it is done when this returns."""
        refusal = self._refusal(account, source, destination, amount_ud, client_transfer_id)
        if refusal is not None:
            return refusal
        transfer = Transfer(
            transfer_id=self._world.new_id(),
            client_transfer_id=client_transfer_id,
            source=source,
            destination=destination,
            amount_ud=amount_ud,
            created_us=self._world.now_us,
        )
        account.transfers.append(transfer)
        if transfer.crosses_shards:
            self._later(account, transfer, _steps(source, destination))
        else:
            self._move(account, source, destination, transfer)
            transfer.status = COMPLETE
        return transfer

    def _refusal(
        self, account: Account, source: Balance, destination: Balance, amount_ud: int, client_transfer_id: str
    ) -> Refusal | None:
        if source[1] not in account.subaccounts or destination[1] not in account.subaccounts:
            return NOT_FOUND
        if source == destination:
            return SAME_PLACE
        if client_transfer_id and any(
            t.client_transfer_id == client_transfer_id
            and (t.source[0], t.destination[0]) == (source[0], destination[0])
            for t in account.transfers
        ):
            return REPEATED
        pauses = self._world.pauses
        if pauses.exchange_paused(source[0]) or pauses.exchange_paused(destination[0]):
            return EXCHANGE_IS_PAUSED
        if self._free_ud(account, source) < amount_ud:
            return INSUFFICIENT_BALANCE
        return None

    def _free_ud(self, account: Account, where: Balance, reservation: Reservation | None = None) -> int:
        return self._world.clearing.collateral.available_ud(account, *where, reservation=reservation)

    def _move(self, account: Account, source: Balance, destination: Balance, transfer: Transfer) -> None:
        now, reference = self._world.now_us, transfer.transfer_id
        account.post(Kind.TRANSFER, -transfer.amount_ud, source, at_us=now, reference=reference)
        account.post(Kind.TRANSFER, transfer.amount_ud, destination, at_us=now, reference=reference)
        self._world.clearing.spent(account, source)

    def _later(self, account: Account, transfer: Transfer, steps: Sequence[tuple[Balance, Balance]]) -> None:
        self._world.schedule(self._world.now_us + STEP_AFTER_US, lambda: self._step(account, transfer, steps))

    def _step(self, account: Account, transfer: Transfer, steps: Sequence[tuple[Balance, Balance]]) -> None:
        """Do the first of the steps left; where the cash has gone meanwhile the move stays as it stands."""
        source, destination = steps[0]
        pauses = self._world.pauses
        if pauses.exchange_paused(source[0]) or pauses.exchange_paused(destination[0]):
            self._later(account, transfer, steps)
            return
        if self._free_ud(account, source) < transfer.amount_ud:
            return
        self._move(account, source, destination, transfer)
        if steps[1:]:
            self._later(account, transfer, steps[1:])
        else:
            transfer.status = COMPLETE

    # --- allocation -----------------------------------------------------------------------------------------------

    def allocate(self, account: Account, allocation: Allocation) -> None:
        """Replace what the member wants, and act on it every 10 s from now."""
        account.allocation = allocation
        self._rebalance_later(account, allocation)

    def _rebalance_later(self, account: Account, allocation: Allocation) -> None:
        if allocation.percents:
            due_us = self._world.now_us + REBALANCE_EVERY_US
            self._world.schedule(due_us, lambda: self._rebalance(account, allocation))

    def _rebalance(self, account: Account, allocation: Allocation) -> None:
        if account.allocation is not allocation:
            return  # replaced meanwhile
        shards = {shard for shard, subaccount in account.cash_ud if subaccount == PRIMARY} | set(allocation.percents)
        free = {
            shard: max(0, self._free_ud(account, (shard, PRIMARY), allocation.reservation))
            for shard in sorted(shards)
            if not self._world.pauses.exchange_paused(shard)
        }
        for source, destination, amount_ud in moves(free, allocation.percents):
            transfer = Transfer(
                transfer_id=self._world.new_id(),
                client_transfer_id="",
                source=(source, PRIMARY),
                destination=(destination, PRIMARY),
                amount_ud=amount_ud,
                created_us=self._world.now_us,
                status=COMPLETE,
            )
            account.transfers.append(transfer)
            self._move(account, transfer.source, transfer.destination, transfer)
        self._rebalance_later(account, allocation)


def moves(free_ud: dict[int, int], percents: dict[int, int]) -> list[tuple[int, int, int]]:
    """Return (from shard, to shard, amount) that bring free cash to the percentages, in whole $0.0001."""
    total = sum(free_ud.values())
    change = {shard: total * percents.get(shard, 0) // 100 - free for shard, free in free_ud.items()}
    wanting = {shard: amount // GRAIN_UD * GRAIN_UD for shard, amount in change.items() if amount > 0}
    found = []
    for source, amount in change.items():
        left = -amount // GRAIN_UD * GRAIN_UD
        for destination, wanted in wanting.items():
            part = min(left, wanted)
            if part > 0:
                found.append((source, destination, part))
                wanting[destination] -= part
                left -= part
    return found


def _steps(source: Balance, destination: Balance) -> list[tuple[Balance, Balance]]:
    path = [source, (source[0], PRIMARY), (destination[0], PRIMARY), destination]
    return [(a, b) for a, b in pairwise(path) if a != b]
