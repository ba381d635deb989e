"""What live orders come to for those who decide: values over any number of them."""

from __future__ import annotations

from collections.abc import Iterable

from traders.core.diff import InFlight
from traders.core.exposure import Unproven
from traders.core.liveorder import LiveOrder
from traders.core.orders import RestingQuote


def resting(orders: Iterable[LiveOrder]) -> tuple[RestingQuote, ...]:
    """Return what is proven to rest, oldest first, also what is being canceled."""
    return tuple(
        RestingQuote(
            client_order_id=order.client_order_id,
            side=order.side,
            price_cc=order.price_cc,
            remaining_cx=order.resting_cx,
            rested_us=order.rested_us,
            expires_us=order.expires_us,
        )
        for order in sorted(orders, key=lambda one: one.number)
        if order.resting_cx
    )


def unproven(orders: Iterable[LiveOrder]) -> tuple[Unproven, ...]:
    """Return what may rest besides, or may have filled without being booked, at its most."""
    return tuple(Unproven(one.side, one.price_cc, one.unproven_cx) for one in orders if one.unproven_cx)


def in_flight(orders: Iterable[LiveOrder]) -> InFlight:
    """Return the sides on which a command of a kind has to wait."""
    known = tuple(orders)
    return InFlight(
        creates=frozenset(order.side for order in known if order.is_create_open),
        cancels=frozenset(order.side for order in known if order.cancel),
        amends=frozenset(order.side for order in known if order.amend),
        is_taking=any(order.is_take for order in known),
    )
