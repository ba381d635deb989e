"""What the exchange grants its members: usage level, budget, location attestation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from feed.exchange.budgets import DEFAULT_TIER, TIERS, Bucket, Budget, Limit, reaches

UPGRADE = "advanced"


class Member:
    """One account's standing with the exchange.

    region_expires_s: Unix time at which its location attestation lapses; None when it never attested.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.region_expires_s: int | None = None

    def limits_body(self) -> dict[str, Any]:
        tier = TIERS[self.budget.tier]
        grant = {"exchange_instance": "event_contract", "level": self.budget.tier, "source": "manual"}
        return {
            "usage_tier": self.budget.tier,
            "read": tier.read,
            "write": tier.write,
            "grants": [grant] if reaches(self.budget.tier, UPGRADE) else [],
        }


class Members:
    """All members by account name, and the callers nobody knows by their address."""

    def __init__(self, *, shards: Iterable[int], tier: str = DEFAULT_TIER, anonymous_per_s: int | None = None) -> None:
        self._shards = tuple(shards)
        self._tier = tier
        self._members: dict[str, Member] = {}
        self._anonymous_per_s = anonymous_per_s
        self._anonymous: dict[str, Bucket] = {}

    def of(self, account: str, now_us: int) -> Member:
        """Return the member of that account name, admitted on first use."""
        if account not in self._members:
            self._members[account] = Member(self._budget(self._tier, now_us))
        return self._members[account]

    def set_tier(self, account: str, tier: str, now_us: int) -> None:
        """Give a member another usage level, with full buckets.

        Raises:
            KeyError: There is no such tier.
        """
        self.of(account, now_us).budget = self._budget(tier, now_us)

    def admits(self, address: str, cost: int, now_us: int) -> bool:
        """Return whether somebody without a key may be served, and count it."""
        if self._anonymous_per_s is None:
            return True
        limit = Limit(self._anonymous_per_s, self._anonymous_per_s)
        bucket = self._anonymous.setdefault(address, Bucket(limit, now_us))
        if not bucket.holds(cost, now_us):
            return False
        bucket.take(cost)
        return True

    def _budget(self, tier: str, now_us: int) -> Budget:
        return Budget(tier, shards=self._shards, now_us=now_us)
