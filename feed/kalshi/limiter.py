"""The venue's token budget, decided by values: whether a request may leave now, and what it costs.

    Ask ──charges(limits, costs)──► Charge, one for each bucket ──take(levels, now)──► Granted | Refused

    bucket      refilled with          billed by
    read        the read refill        every read
    write       the write refill       unscoped and auto-routed writes, shard 0, batches
    write:N     the write refill each  single writes that name shard N, and auto-routed ones
    renew       20 % of the write refill, ours alone: no renewal leaves without it

Of each write bucket the last 30 % are for cancels, and the 10 % above them for renewals too: creates wait first, then
renewals, cancels last. A 429 empties the buckets that were billed and holds everything but cancels back for a
jittered while that doubles.

Amounts are micro-tokens and times microseconds, so that a refill of n tokens a second is n micro-tokens a
microsecond: exact. All of it is integer arithmetic that fits a double, because feed/budget.py has the same decision
in Redis.

Source: facts.md section 3 (2026-10); design.md section 5, "Budget".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

TOKEN_UT = 1_000_000  # micro-tokens
DEFAULT_COST = 10
CANCELS_ALONE_PERCENT = 30  # of a write bucket
RENEWALS_TOO_PERCENT = 10  # above that
READS_SPARED_PERCENT = 10  # requests sent evenly may arrive in bunches
RENEWAL_SHARE = 5  # renewals get one part in five of the write refill
PENALTY_FIRST_US = 100_000
PENALTY_MOST_US = 5_000_000
PENALTY_FORGOTTEN_US = 10_000_000  # after so long without a 429 the next one is a first one again
AUTO_ROUTE = -1

READ, WRITE, RENEW = "read", "write", "renew"


class Work(enum.Enum):
    """What a request is for, most urgent first. Whatever takes risk away counts as a cancel: decreases, triggers."""

    CANCEL = "cancel"
    RENEW = "renew"  # an amend that only moves the expiry
    CREATE = "create"  # also amends of price or size, and every other write
    READ = "read"


class Ask(msgspec.Struct, frozen=True):
    """One request that wants to leave.

    Args:
        method: HTTP method.
        path: The endpoint below `/trade-api/v2`, with or without values in its variable segments.
        items: Orders in a batch; 1 for anything else.
        exchange_index: The shard that the write names; None or -1 lets the venue route it. 0 is also right for
            writes without a shard.
        is_batch: Batches bill the unscoped bucket, whatever their items name.
    """

    work: Work
    method: str
    path: str
    items: int = 1
    exchange_index: int | None = 0
    is_batch: bool = False


class Granted(msgspec.Struct, frozen=True):
    """Send it: its tokens are taken."""


class Refused(msgspec.Struct, frozen=True):
    """Do not send it now; nothing was taken.

    Args:
        reason: `BUDGET_SPENT`, `HELD_AFTER_429`, `EXCEEDS_BUDGET` (never fits whole) or `BUDGET_UNREACHABLE`.
        bucket: The bucket that decided.
        wait_us: After which asking again may help; None when it never will as it stands.
        fits: How many items of the batch would be granted right now.
    """

    reason: str
    bucket: str = ""
    wait_us: int | None = None
    fits: int = 0


class Limiter(Protocol):
    """What the REST client asks before each request and tells after a 429."""

    async def acquire(self, ask: Ask) -> Granted | Refused:
        """Take the tokens of one request, or say why not; never waits for tokens."""
        ...

    async def rate_limited(self, ask: Ask) -> None:
        """Learn that the venue answered 429 to a request that was granted."""
        ...


class Rate(msgspec.Struct, frozen=True):
    """A bucket of the venue: tokens a second, and how many it holds."""

    refill: int
    capacity: int


class Limits(msgspec.Struct, frozen=True):
    """The account's buckets, as `GET /account/limits` tells, and the shards that have a write bucket of their own."""

    read: Rate
    write: Rate
    shards: tuple[int, ...] = ()


BASIC = Limits(read=Rate(200, 200), write=Rate(100, 100), shards=(1, 2, 3))  # until the venue has told


class Costs(msgspec.Struct, frozen=True):
    """Tokens of each endpoint, as `GET /account/endpoint_costs` tells; an item's cost for batches."""

    default: int = DEFAULT_COST
    exceptions: Mapping[str, int] = {}

    @classmethod
    def told(cls, default: int, entries: Iterable[tuple[str, str, int]]) -> Costs:
        """Return the costs of (method, path, cost) entries in the venue's own spelling."""
        return cls(default, {endpoint(method, path): cost for method, path, cost in entries})

    def of(self, method: str, path: str) -> int:
        """Return the tokens of one request, or of one item of a batch."""
        asked = endpoint(method, path)
        exact = self.exceptions.get(asked)
        if exact is not None:
            return exact
        return next((cost for known, cost in self.exceptions.items() if _covers(known, asked)), self.default)


class Charge(msgspec.Struct, frozen=True):
    """What one bucket is asked for: `items` times `unit_ut`, leaving at least `floor_ut` in it."""

    bucket: str
    refill: int
    capacity_ut: int
    unit_ut: int
    items: int
    floor_ut: int
    is_held_back: bool  # waits out the time after a 429


class Level(msgspec.Struct, frozen=True):
    """A bucket at a time. `penalties` counts 429s in a row, the last at `penalized_us`; held back until `held_us`."""

    level_ut: int
    at_us: int
    penalties: int = 0
    penalized_us: int = 0
    held_us: int = 0


_VARIABLE = re.compile(r"/(?:[:*][^/]+|\{[^/]+\})")  # :order_id, *endpoint, {order_id}
_PREFIX = "/trade-api/v2"
NAMED_SEGMENTS = ("queue_positions", "batched")  # endpoints of their own where another has an order id


def endpoint(method: str, path: str) -> str:
    """Return one spelling of an endpoint, its variable segments as `*`."""
    return f"{method.upper()} {_VARIABLE.sub('/*', path.removeprefix(_PREFIX))}"


def _covers(known: str, asked: str) -> bool:
    """Whether an endpoint with variable segments means the same as one with their values."""
    pattern, parts = known.split("/"), asked.split("/")
    return len(pattern) == len(parts) and all(
        p == part or (p == "*" and part not in NAMED_SEGMENTS) for p, part in zip(pattern, parts, strict=True)
    )


# Before the venue has told: facts.md section 3.
KNOWN_COSTS = Costs.told(
    DEFAULT_COST,
    [
        ("DELETE", "/portfolio/events/orders", 2),
        ("DELETE", "/portfolio/events/orders/batched", 2),
        ("DELETE", "/portfolio/events/orders/:order_id", 2),
        ("GET", "/portfolio/orders/:order_id", 2),
        ("POST", "/account/api_usage_level/upgrade", 30),
    ],
)


# ---- policy: who pays what -------------------------------------------------------------------------------------------


def charges(ask: Ask, limits: Limits, costs: Costs = KNOWN_COSTS) -> tuple[Charge, ...]:
    """Return what a request takes from each bucket that the venue bills, and from our own for renewals."""
    unit_ut = costs.of(ask.method, ask.path) * TOKEN_UT
    if ask.work is Work.READ:
        return (_charge(READ, limits.read, unit_ut, ask, READS_SPARED_PERCENT),)
    floor = {
        Work.CANCEL: 0,
        Work.RENEW: CANCELS_ALONE_PERCENT,
        Work.CREATE: CANCELS_ALONE_PERCENT + RENEWALS_TOO_PERCENT,
    }[ask.work]
    billed = tuple(_charge(bucket, limits.write, unit_ut, ask, floor) for bucket in write_buckets(ask, limits.shards))
    if ask.work is not Work.RENEW:
        return billed
    share = Rate(limits.write.refill // RENEWAL_SHARE, max(limits.write.capacity // RENEWAL_SHARE, DEFAULT_COST))
    return (*billed, _charge(RENEW, share, unit_ut, ask, 0))


def write_buckets(ask: Ask, shards: Sequence[int]) -> tuple[str, ...]:
    """Return the buckets that the venue bills for a write."""
    if ask.is_batch or ask.exchange_index == 0:
        return (WRITE,)
    if ask.exchange_index is None or ask.exchange_index == AUTO_ROUTE:
        return (WRITE, *(shard_bucket(shard) for shard in shards if shard > 0))
    return (shard_bucket(ask.exchange_index),)


def shard_bucket(shard: int) -> str:
    return f"{WRITE}:{shard}"


def _charge(bucket: str, rate: Rate, unit_ut: int, ask: Ask, floor_percent: int) -> Charge:
    capacity_ut = rate.capacity * TOKEN_UT
    return Charge(
        bucket=bucket,
        refill=rate.refill,
        capacity_ut=capacity_ut,
        unit_ut=unit_ut,
        items=ask.items,
        floor_ut=capacity_ut * floor_percent // 100,
        is_held_back=ask.work is not Work.CANCEL,
    )


def most_items(asked: Sequence[Charge]) -> int:
    """Return how many items of this kind a batch may hold at all: what full buckets can pay."""
    return min((charge.capacity_ut - charge.floor_ut) // max(charge.unit_ut, 1) for charge in asked)


# ---- arithmetic: the same in Redis -----------------------------------------------------------------------------------


def take(
    levels: Mapping[str, Level], asked: Sequence[Charge], now_us: int
) -> tuple[dict[str, Level], Granted | Refused]:
    """Take every charge or none.

    Args:
        levels: Buckets as they were left; one that is missing is full.

    Returns:
        The levels after, and the answer; of several buckets that refuse, the one that waits longest tells why.
    """
    after = {**levels, **{charge.bucket: refilled(levels.get(charge.bucket), charge, now_us) for charge in asked}}
    refusals = [refusal for charge in asked if (refusal := _refusal(after[charge.bucket], charge, now_us))]
    if refusals:
        worst = max(refusals, key=lambda refusal: (refusal.wait_us is None, refusal.wait_us or 0))
        fits = min(_fits(after[charge.bucket], charge, now_us) for charge in asked)
        return after, Refused(worst.reason, worst.bucket, worst.wait_us, fits)
    for charge in asked:
        level = after[charge.bucket]
        left_ut = level.level_ut - charge.unit_ut * charge.items
        after[charge.bucket] = msgspec.structs.replace(level, level_ut=left_ut)
    return after, Granted()


def refilled(level: Level | None, charge: Charge, now_us: int) -> Level:
    """Return a bucket with what has run into it; a clock that stepped back brings nothing."""
    if level is None:
        return Level(charge.capacity_ut, now_us)
    elapsed_us = max(0, now_us - level.at_us)
    level_ut = min(charge.capacity_ut, level.level_ut + charge.refill * elapsed_us)
    return msgspec.structs.replace(level, level_ut=level_ut, at_us=now_us)


def _held_us(level: Level, charge: Charge, now_us: int) -> int:
    """Return how long a bucket is still held back; a hold longer than any we set is a clock that stepped back."""
    left_us = level.held_us - now_us
    return left_us if charge.is_held_back and 0 < left_us <= PENALTY_MOST_US else 0


def _refusal(level: Level, charge: Charge, now_us: int) -> Refused | None:
    wanted_ut = charge.unit_ut * charge.items + charge.floor_ut
    if wanted_ut > charge.capacity_ut:
        return Refused("EXCEEDS_BUDGET", charge.bucket)
    held_us = _held_us(level, charge, now_us)
    short_ut = wanted_ut - level.level_ut
    if short_ut <= 0:
        return Refused("HELD_AFTER_429", charge.bucket, held_us) if held_us else None
    if charge.refill == 0:
        return Refused("BUDGET_SPENT", charge.bucket)
    return Refused("BUDGET_SPENT", charge.bucket, max(held_us, -(-short_ut // charge.refill)))


def _fits(level: Level, charge: Charge, now_us: int) -> int:
    if _held_us(level, charge, now_us):
        return 0
    return max(0, level.level_ut - charge.floor_ut) // max(charge.unit_ut, 1)


def drain(
    levels: Mapping[str, Level], asked: Sequence[Charge], now_us: int, *, jitter_permille: int
) -> dict[str, Level]:
    """Return the levels after a 429: what was billed is empty, and held back for a while.

    Args:
        jitter_permille: 0..1000, takes up to half of the while away, so that many clients do not come back at once.
    """
    after = dict(levels)
    for charge in asked:
        level = refilled(levels.get(charge.bucket), charge, now_us)
        is_recent = 0 <= now_us - level.penalized_us < PENALTY_FORGOTTEN_US
        penalties = level.penalties + 1 if is_recent and level.penalties else 1
        full_us = min(PENALTY_MOST_US, PENALTY_FIRST_US * 2 ** min(penalties - 1, 10))
        held_us = now_us + full_us - full_us * jitter_permille // 2_000
        after[charge.bucket] = Level(0, now_us, penalties, now_us, held_us)
    return after
