"""The itemised cash book of a member: every change of a balance is one entry with its kind.

    opening + deposits − withdrawals + fills − fees + netting + settlements + rewards + transfers = balance

holds for each balance, that is for each (shard, subaccount), because nothing changes a balance but an entry.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

Balance = tuple[int, int]  # (shard, subaccount)


class Kind(StrEnum):
    """Why a balance changed."""

    OPENING = "opening"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRANSFER = "transfer"
    FILL = "fill"
    FEE = "fee"
    NETTING = "netting"
    SETTLEMENT = "settlement"
    REWARD = "reward"


class Entry(msgspec.Struct, frozen=True):
    """One change of one balance; `amount_ud` is signed, `reference` names what caused it (trade, market, program)."""

    at_us: int
    kind: Kind
    exchange_index: int
    subaccount: int
    amount_ud: int
    reference: str = ""


class Ledger:
    """Entries, oldest first, and the balances they add up to."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.cash_ud: dict[Balance, int] = {}

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        where = (entry.exchange_index, entry.subaccount)
        self.cash_ud[where] = self.cash_ud.get(where, 0) + entry.amount_ud

    def total_ud(self, kind: Kind, where: Balance | None = None) -> int:
        """Return the sum of one kind, in all or in one (shard, subaccount)."""
        return sum(
            e.amount_ud for e in self.entries if e.kind is kind and where in (None, (e.exchange_index, e.subaccount))
        )
