"""Invariant 10: the account's requests stay within its tokens, and the reserve for cancels is never used by creates.

Buckets are filled and emptied here once more, by the exchange's ledger and the venue's terms (facts.md section 3). A
create counts when its trader sent it: whoever was faster on the way was granted later. All markets of a rig lie on the
shard that shares its bucket with whatever names none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tests.faults.invariants import Party
from tests.faults.ledger import BATCHED, CREATE, Ledger, Request

SECOND_US = 1_000_000
DEFAULT_COST, CHEAP_COST = 10, 2
KEPT_PERCENT = 30  # of the write bucket: for cancels alone
TOO_MANY = 429
CHEAP = (("DELETE", re.compile(f"{CREATE}(/[^/]+)?")), ("GET", re.compile(r"/portfolio/orders/[^/]+")))
# What nobody but the rig's own hand asks for, or a trader's last resort: neither waits for tokens.
UNPACED = re.compile(r"/portfolio/order_groups.*|/portfolio/orders/[^/]+/queue_position")
SHOWN = 3


class Bucket(msgspec.Struct, frozen=True):
    """Tokens a second, and how many it holds."""

    refill: int
    capacity: int


class Allowance(msgspec.Struct, frozen=True):
    """What the exchange grants the account."""

    read: Bucket
    write: Bucket

    @classmethod
    def told(cls, limits: dict[str, Any]) -> Allowance:
        """Return it from the answer to GET /account/limits."""
        read, write = (Bucket(limits[one]["refill_rate"], limits[one]["bucket_capacity"]) for one in ("read", "write"))
        return cls(read, write)


class Payment(msgspec.Struct, frozen=True):
    """One request that costs tokens."""

    at_us: int
    cost: int
    keeps: int  # tokens that it must leave
    request: Request


def cost_of(request: Request) -> int:
    """Return what a request costs; a batch pays for each of its items."""
    is_cheap = any(request.method == method and path.fullmatch(request.path) for method, path in CHEAP)
    items = max(1, len(request.creates or request.changes)) if request.path == BATCHED else 1
    return items * (CHEAP_COST if is_cheap else DEFAULT_COST)


def overspent(ledger: Ledger, parties: Sequence[Party], allowance: Allowance, *, since: int = 0) -> list[str]:
    """Return the requests after line `since` for which there were not the tokens, or only those that cancels need."""
    asked = [
        request for request in ledger.requests
        if request.account == ledger.account and not UNPACED.fullmatch(request.path)
    ]  # fmt: skip
    kept, left_us = allowance.write.capacity * KEPT_PERCENT // 100, _left_us(parties)
    writes = [_write(request, left_us, kept) for request in asked if request.is_write]
    reads = [Payment(request.at_us, cost_of(request), 0, request) for request in asked if not request.is_write]
    found = [*_unpaid(writes, allowance.write, since), *_unpaid(reads, allowance.read, since)]
    return found[:SHOWN] + ([f"I10 and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def _write(request: Request, left_us: dict[str, int], kept: int) -> Payment:
    creates = request.creates
    if not creates:
        return Payment(request.at_us, cost_of(request), 0, request)
    return Payment(min(request.at_us, left_us.get(creates[0], request.at_us)), cost_of(request), kept, request)


def _left_us(parties: Sequence[Party]) -> dict[str, int]:
    """Return when each create left its trader, by client order id."""
    return {
        name: sent.at_us
        for party in parties
        for name, intent in party.record.creates().items()
        if (sent := party.record.sent.get(intent.body.number)) is not None
    }


def _unpaid(payments: Iterable[Payment], bucket: Bucket, since: int) -> list[str]:
    """Return what was not covered; a 429 costs nothing, and is a problem only where there was too little."""
    found, micro, filled_us = [], bucket.capacity * SECOND_US, 0
    for payment in sorted(payments, key=lambda one: one.at_us):
        micro = min(bucket.capacity * SECOND_US, micro + (payment.at_us - filled_us) * bucket.refill)
        filled_us, request = payment.at_us, payment.request
        left = micro // SECOND_US - payment.cost
        if left < payment.keeps and request.number > since:
            short = "of what cancels need" if left >= 0 else "tokens that were not there"
            found.append(f"I10 {request.method} {request.path} at {payment.at_us} took {payment.keeps - left} {short}")
        if request.status != TOO_MANY:
            micro -= payment.cost * SECOND_US
    return found
