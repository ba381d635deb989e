"""What the venue shows of orders, as far as live orders look at it: the shape of `feed.schema`'s account messages.

    resting              it stands
    canceled, executed   it is over, and the count of its fills is final
    gone                 the venue does not know it any more: over, but not by its own word
    anything else        kept as it is; nothing follows from it (C19)

Channels tell times in milliseconds, reads more finely: two showings within one are told apart by what has filled.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from markets.core.units import Side, yes_price_cc
from traders.core.orders import OrderStatus

RESTING, GONE = "resting", "gone"
FINAL = {"canceled": OrderStatus.CANCELED, "executed": OrderStatus.FILLED}
TRIGGERED, DELETED = "triggered", "deleted"
MS_US = 1_000

Version = tuple[int, int]
"""Milliseconds of the venue's newest change, and what had filled by then."""

LAST = 1 << 62  # in place of the latter: nothing else of that millisecond is newer


class ShownOrder(Protocol):
    """An order as the account's stream or a read shows it (AccountOrder)."""

    @property
    def order_id(self) -> str: ...
    @property
    def client_order_id(self) -> str: ...
    @property
    def ticker(self) -> str: ...
    @property
    def side(self) -> int: ...
    @property
    def yes_price_cc(self) -> int: ...
    @property
    def filled_cx(self) -> int: ...
    @property
    def remaining_cx(self) -> int: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def expires_us(self) -> int | None: ...
    @property
    def time_us(self) -> int: ...


class ShownFill(Protocol):
    """A fill (AccountFill)."""

    @property
    def order_id(self) -> str: ...
    @property
    def trade_id(self) -> str: ...
    @property
    def client_order_id(self) -> str: ...
    @property
    def ticker(self) -> str: ...
    @property
    def yes_price_cc(self) -> int: ...
    @property
    def count_cx(self) -> int: ...
    @property
    def is_taker(self) -> bool: ...
    @property
    def fee_ud(self) -> int | None: ...
    @property
    def time_us(self) -> int: ...


class ShownGroup(Protocol):
    """An order group (AccountGroup)."""

    @property
    def group_id(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def is_triggered(self) -> bool | None: ...


class Seen(msgspec.Struct, frozen=True):
    """One showing of an order.

    Attributes:
        price_cc: On its own ladder.
        word: The venue's status.
        changed_us: Venue time of its newest change, 0 when unknown.
        as_of_us: A read shows everything up to then; 0 for what was told and not read.
    """

    order_id: str
    price_cc: int
    filled_cx: int
    remaining_cx: int
    word: str
    changed_us: int
    reason: str = ""
    expires_us: int | None = None
    as_of_us: int = 0

    @property
    def total_cx(self) -> int:
        return self.filled_cx + self.remaining_cx

    @property
    def proof_us(self) -> int:
        """The newest moment at which this is known to have been so."""
        return max(self.changed_us, self.as_of_us)

    @property
    def version(self) -> Version:
        """How new it is. What changes later in the very millisecond of a read is not in it."""
        return max(self.changed_us // MS_US, self.as_of_us // MS_US - 1), self.filled_cx


def seen(order: ShownOrder, *, as_of_us: int = 0) -> Seen:
    """Return what a message shows of an order."""
    return Seen(
        order_id=order.order_id,
        price_cc=yes_price_cc(Side(order.side), order.yes_price_cc),
        filled_cx=order.filled_cx,
        remaining_cx=order.remaining_cx,
        word=order.status,
        changed_us=order.time_us,
        reason=order.reason,
        expires_us=order.expires_us,
        as_of_us=as_of_us,
    )
