"""The exchange as a whole: is it open, when will it be, how fresh is what it tells of an account.

Source: openapi.yaml 3.34; facts.md section 7.1.
"""

from __future__ import annotations

from msgspec import field

from feed.kalshi.wire.bodies import Body
from feed.kalshi.wire.kinds import TimeUs


class ShardStatus(Body, frozen=True, kw_only=True):
    exchange_index: int
    exchange_active: bool
    trading_active: bool
    description: str = ""
    transfers_active: bool | None = field(default=None, name="intra_exchange_transfers_active")


class ExchangeStatus(Body, frozen=True, kw_only=True):
    """The top level says what is so on shard 0. Cancels need an active exchange, everything else active trading."""

    exchange_active: bool
    trading_active: bool
    transfers_active: bool | None = field(default=None, name="intra_exchange_transfers_active")
    estimated_resume_us: TimeUs | None = field(default=None, name="exchange_estimated_resume_time")
    shards: tuple[ShardStatus, ...] = field(default=(), name="exchange_index_statuses")


class Hours(Body, frozen=True, kw_only=True):
    """Times of day such as `03:00` in New York; a closing time of `00:00` is the end of the day."""

    open_time: str
    close_time: str


class Week(Body, frozen=True, kw_only=True):
    start_us: TimeUs = field(name="start_time")
    end_us: TimeUs = field(name="end_time")
    monday: tuple[Hours, ...] = ()
    tuesday: tuple[Hours, ...] = ()
    wednesday: tuple[Hours, ...] = ()
    thursday: tuple[Hours, ...] = ()
    friday: tuple[Hours, ...] = ()
    saturday: tuple[Hours, ...] = ()
    sunday: tuple[Hours, ...] = ()


class MaintenanceWindow(Body, frozen=True, kw_only=True):
    start_us: TimeUs = field(name="start_datetime")
    end_us: TimeUs = field(name="end_datetime")


class Schedule(Body, frozen=True, kw_only=True):
    standard_hours: tuple[Week, ...] = ()
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()


class UserDataTimestamp(Body, frozen=True, kw_only=True):
    """What the account's reads show: everything up to this time, perhaps nothing after it."""

    as_of_us: TimeUs = field(name="as_of_time")
