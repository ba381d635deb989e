"""What requests cost and who can pay: tiers and token buckets. Source: facts.md section 3 (docs of October 2026).

Two buckets an account, Read and Write, and a Write bucket more for each shard from 1 up. They refill all the time;
a request is refused when any bucket it is billed to holds too little, and then costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

SECOND_US = 1_000_000
DEFAULT_COST = 10
UNSCOPED = 0  # the write bucket of shard 0 and of everything that names no shard

# What does not cost the default, by method and path below /trade-api/v2; a batch pays for each of its items.
COSTS = {
    ("POST", "/account/api_usage_level/upgrade"): 30,
    ("DELETE", "/portfolio/events/orders"): 2,
    ("DELETE", "/portfolio/events/orders/{order_id}"): 2,
    ("DELETE", "/portfolio/events/orders/batched"): 2,
    ("GET", "/portfolio/orders/{order_id}"): 2,
}


class Limit(msgspec.Struct, frozen=True):
    """A bucket's terms: tokens a second, and how many it holds."""

    refill_rate: int
    bucket_capacity: int


class Tier(msgspec.Struct, frozen=True):
    """An API usage level."""

    read: Limit
    write: Limit


def _tier(read: int, write: int, *, read_s: int, write_s: int) -> Tier:
    return Tier(Limit(read, read * read_s), Limit(write, write * write_s))


# Write above basic and read up to advanced hold three seconds of budget, the others one.
TIERS = {
    "basic": _tier(200, 100, read_s=3, write_s=1),
    "advanced": _tier(300, 300, read_s=3, write_s=3),
    "expert": _tier(600, 600, read_s=1, write_s=3),
    "premier": _tier(1_200, 1_200, read_s=1, write_s=3),
    "paragon": _tier(2_400, 2_400, read_s=1, write_s=3),
    "prime": _tier(4_800, 4_800, read_s=1, write_s=3),
    "prestige": _tier(12_000, 9_600, read_s=1, write_s=3),
}
DEFAULT_TIER = "advanced"


def reaches(tier: str, other: str) -> bool:
    """Return whether `tier` is `other` or above it."""
    order = tuple(TIERS)
    return order.index(tier) >= order.index(other)


class Bucket:
    """Tokens that refill with time; counted in millionths, so that whole microseconds refill exactly."""

    def __init__(self, limit: Limit, now_us: int) -> None:
        self._limit = limit
        self._micro = limit.bucket_capacity * SECOND_US
        self._filled_us = now_us

    def tokens(self, now_us: int) -> int:
        """Return the whole tokens in it."""
        self._refill(now_us)
        return self._micro // SECOND_US

    def holds(self, cost: int, now_us: int) -> bool:
        self._refill(now_us)
        return self._micro >= cost * SECOND_US

    def take(self, cost: int) -> None:
        self._micro -= cost * SECOND_US

    def _refill(self, now_us: int) -> None:
        elapsed = max(0, now_us - self._filled_us)  # a clock set back gives nothing
        self._filled_us = now_us
        self._micro = min(self._limit.bucket_capacity * SECOND_US, self._micro + elapsed * self._limit.refill_rate)


def take_from(buckets: Iterable[Bucket], cost: int, now_us: int) -> bool:
    """Take `cost` from each bucket, or from none if any holds too little; say which it was."""
    billed = list(buckets)
    if not all(bucket.holds(cost, now_us) for bucket in billed):
        return False
    for bucket in billed:
        bucket.take(cost)
    return True


class Budget:
    """An account's buckets at its tier."""

    def __init__(self, tier: str, *, shards: Iterable[int], now_us: int) -> None:
        """Fill every bucket.

        Raises:
            KeyError: There is no such tier.
        """
        limits = TIERS[tier]
        self.tier = tier
        self._read = Bucket(limits.read, now_us)
        self._writes = {shard: Bucket(limits.write, now_us) for shard in {UNSCOPED, *shards}}

    def read(self, cost: int, now_us: int) -> bool:
        return take_from([self._read], cost, now_us)

    def write(self, cost: int, now_us: int, *, shard: int | None) -> bool:
        """Pay for a write on a shard; None: it has to be found, which bills every shard."""
        if shard is None:
            return take_from(self._writes.values(), cost, now_us)
        return take_from([self._writes.get(shard, self._writes[UNSCOPED])], cost, now_us)
