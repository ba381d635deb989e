"""An account's standing: keys, limits, costs, subaccounts, money between shards.

Source: openapi.yaml 3.34; facts.md sections 2.3, 3, 5.6 and 7.6.
"""

from __future__ import annotations

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import CentsUd, DollarsUd, Hidden, SecondsUs

EVENT_CONTRACT = "event_contract"


class ApiKey(Body, frozen=True, kw_only=True):
    """A key pinned to a subaccount acts on that one alone."""

    api_key_id: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    subaccount: int | None = None


class ApiKeys(Body, frozen=True, kw_only=True):
    """`region_expiration_us`: once it has passed, no key may trade sports, elections or entertainment."""

    api_keys: tuple[ApiKey, ...]
    region_expiration_us: SecondsUs | None = field(default=None, name="api_key_region_expiration_ts")


class KeyRegistered(Body, frozen=True, kw_only=True):
    api_key_id: str
    warning: str | None = None


class KeyGenerated(Body, frozen=True, kw_only=True):
    """The private key is told this once."""

    api_key_id: str
    private_key: Hidden
    key_type: str | None = None
    warning: str | None = None


class BucketLimit(Body, frozen=True, kw_only=True):
    """Tokens a second, and how many the bucket holds."""

    refill_rate: int
    bucket_capacity: int


class Grant(Body, frozen=True, kw_only=True):
    exchange_instance: str
    level: str
    source: str | None = None
    expires_us: SecondsUs | None = field(default=None, name="expires_ts")


class AccountLimits(Body, frozen=True, kw_only=True):
    usage_tier: str
    read: BucketLimit
    write: BucketLimit
    grants: tuple[Grant, ...] = ()


class EndpointCost(Body, frozen=True, kw_only=True):
    """`path` in the venue's spelling, such as `/trade-api/v2/portfolio/orders/:order_id`."""

    method: str
    path: str
    cost: int


class EndpointCosts(Body, frozen=True, kw_only=True):
    """What is not listed costs the default."""

    default_cost: int
    endpoint_costs: tuple[EndpointCost, ...] = ()


class SubaccountCreated(Body, frozen=True, kw_only=True):
    number: int = field(name="subaccount_number")


class SubaccountBalance(Body, frozen=True, kw_only=True):
    subaccount: int = field(name="subaccount_number")
    exchange_index: int | None = None
    balance_ud: DollarsUd = field(name="balance")
    updated_us: SecondsUs | None = field(default=None, name="updated_ts")


class SubaccountTransfer(Body, frozen=True, kw_only=True):
    transfer_id: str
    from_subaccount: int
    to_subaccount: int
    amount_ud: CentsUd = field(name="amount_cents")
    created_us: SecondsUs | None = field(default=None, name="created_ts")
    exchange_index: int | None = None


class Netting(Body, frozen=True, kw_only=True):
    """Whether collateral of mutually exclusive positions is given back."""

    subaccount: int = field(name="subaccount_number")
    enabled: bool
    exchange_index: int | None = None


class TransferStarted(Body, frozen=True, kw_only=True):
    transfer_id: str


class Transfer(Body, frozen=True, kw_only=True):
    """Money between exchange instances or shards; `status` is `pending` or `complete`."""

    transfer_id: str
    source: str
    destination: str
    source_shard: int | None = field(default=None, name="source_exchange_shard")
    destination_shard: int | None = field(default=None, name="destination_exchange_shard")
    amount_ud: DollarsUd = field(name="amount")
    status: str
    created_us: SecondsUs | None = field(default=None, name="created_ts")


class ShardShare(Body, frozen=True, kw_only=True):
    exchange_index: int
    percent: int


class Allocation(Body, frozen=True, kw_only=True):
    """How the balance is spread over the shards; `resting_margin_reservation` is `sum`, `max` or `none`."""

    shares: tuple[ShardShare, ...] = field(name="allocations")
    resting_margin_reservation: str | None = None
