"""Orders of this installation at rest that nobody watches: found by what their client order ids say (I2).

    its trader                                        its order
    ──────────────────────────────────────────────────────────────────────────────────────
    has a process, a pull or a takeover under way     claimed
    has a process under a later lease                 FORMER_LEASE
    has neither                                       NOBODY_WATCHES
    is not in the database, and has no process        UNKNOWN_TRADER

Whatever was told of an order before its trader's standing changed says nothing about now: the account's word may be
seconds behind a pull that is already proven. So an order is judged by signs of life that are newer than that change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from markets.core.orderids import OrderId, decode
from markets.core.units import Side

UNKNOWN_TRADER, FORMER_LEASE, NOBODY_WATCHES = "unknown_trader", "former_lease", "nobody_watches"
WORDS = {
    UNKNOWN_TRADER: "the database has no such trader",
    FORMER_LEASE: "its lease is over, and its trader runs under a later one",
    NOBODY_WATCHES: "its trader has no process, and is not pulled or taken over",
}
OTHER_INSTALLATION, NOT_MADE_HERE = "another installation's", "not placed by kalshimm"
MARGIN_US = 2_000_000  # the venue's clock and ours may differ, and a channel may tell later than a read shows


class Resting(msgspec.Struct, frozen=True, kw_only=True):
    """An order at rest, as the account tells it.

    Attributes:
        price_cc: On its own side's ladder.
        since_us: When it was placed, as far as that is known.
        seen_us: The newest moment at which it is known to have rested.
    """

    account: str
    ticker: str
    order_id: str
    client_order_id: str
    side: Side
    price_cc: int
    remaining_cx: int
    since_us: int
    seen_us: int
    exchange_index: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a trader: by default nobody knows it.

    Attributes:
        epoch: Of its newest lease.
        has_process: One that may have live orders.
        is_tended: What rests of it is being pulled, also on the way to its next lease.
    """

    is_known: bool = False
    epoch: int = 0
    has_process: bool = False
    is_tended: bool = False


class Unclaimed(msgspec.Struct, frozen=True):
    """An order that nobody watches, who wished it, and why it is nobody's (a key of WORDS)."""

    order: Resting
    named: OrderId
    why: str


class Since:
    """Since when it has stood with each trader as it does. None is forgotten: its order may be told of late."""

    def __init__(self, began_us: int) -> None:
        self._began_us = began_us
        self._since: dict[int, tuple[Standing, int]] = {}

    def look(self, standings: Mapping[int, Standing], now_us: int) -> dict[int, int]:
        """Return since when each stands so; one that was not looked at before, as long as we have looked at any."""
        for trader, standing in standings.items():
            before = self._since.get(trader)
            if before is None or before[0] != standing:
                self._since[trader] = standing, now_us if before else self._began_us
        return {trader: since_us for trader, (_, since_us) in self._since.items()}

    def pulled(self, trader: int, at_us: int) -> None:
        """Let what was seen of a trader's orders before they were pulled count no more."""
        if trader in self._since:
            self._since[trader] = self._since[trader][0], at_us


def named_traders(orders: Iterable[Resting], installation: int) -> set[int]:
    """Return the traders of this installation that orders name."""
    return {named.trader for order in orders if (named := _named(order, installation))}


def unclaimed(
    orders: Iterable[Resting],
    standings: Mapping[int, Standing],
    *,
    installation: int,
    since_us: Mapping[int, int] | None = None,
) -> list[Unclaimed]:
    """Return the orders of this installation that nobody watches.

    Args:
        standings: By trader; one that is not there is not known.
        since_us: Since when each stands so; None takes every sign of life for one of now.
    """
    found = []
    for order in orders:
        named = _named(order, installation)
        why = _why(named, standings.get(named.trader, Standing())) if named else ""
        if named is None or not why:
            continue
        if since_us is None or order.seen_us > since_us.get(named.trader, 0) + MARGIN_US:
            found.append(Unclaimed(order, named, why))
    return found


def whose(client_order_id: str) -> str:
    """Return whose an order is that this installation has not placed."""
    return OTHER_INSTALLATION if decode(client_order_id) else NOT_MADE_HERE


def _named(order: Resting, installation: int) -> OrderId | None:
    named = decode(order.client_order_id)
    return named if named and named.installation == installation else None


def _why(named: OrderId, standing: Standing) -> str:
    if standing.is_tended:
        return ""
    if standing.has_process:
        return FORMER_LEASE if standing.is_known and named.epoch < standing.epoch else ""
    return NOBODY_WATCHES if standing.is_known else UNKNOWN_TRADER
