"""From what the strategy wants resting and what rests, the fewest commands that make them equal.

    same price, same size        nothing
    same price, smaller size     decrease: keeps the place in the queue
    anything else                cancel, then place

Cancels come first, so that never two orders stand on one side, whatever is lost on the way.
"""

from __future__ import annotations

import msgspec

from markets.core.units import Side
from traders.core.orders import RestingQuote
from traders.core.types import Quote, Quotes


class CancelOrder(msgspec.Struct, frozen=True):
    client_order_id: str
    reason: str


class DecreaseOrder(msgspec.Struct, frozen=True):
    """Let `remaining_cx` of the order stand."""

    client_order_id: str
    remaining_cx: int


class PlaceOrder(msgspec.Struct, frozen=True):
    side: Side
    price_cc: int
    count_cx: int


Command = CancelOrder | DecreaseOrder | PlaceOrder


def diff(wanted: Quotes, resting: tuple[RestingQuote, ...]) -> tuple[Command, ...]:
    """Return the commands that turn `resting` into `wanted`: cancels, decreases, places, in this order.

    Raises:
        ValueError: More than one quote is wanted on a side, or one without size.
    """
    cancels: list[Command] = []
    decreases: list[Command] = []
    places: list[Command] = []
    for side in Side:
        quote = _wanted(wanted, side)
        kept = _kept(quote, side, resting)
        cancels += [
            CancelOrder(order.client_order_id, _why_canceled(quote, order, wanted.reason))
            for order in resting
            if order.side is side and order is not kept
        ]
        if quote is None:
            continue
        if kept is None:
            places.append(PlaceOrder(side, quote.price_cc, quote.count_cx))
        elif kept.remaining_cx > quote.count_cx:
            decreases.append(DecreaseOrder(kept.client_order_id, quote.count_cx))
    return (*cancels, *decreases, *places)


def _wanted(wanted: Quotes, side: Side) -> Quote | None:
    quotes = [quote for quote in wanted.quotes if quote.side is side]
    if len(quotes) > 1:
        raise ValueError(f"{len(quotes)} quotes are wanted on the {side.book_side}; at most one is allowed")
    if quotes and quotes[0].count_cx <= 0:
        raise ValueError(f"a {side.book_side} without size is wanted")
    return quotes[0] if quotes else None


def _kept(quote: Quote | None, side: Side, resting: tuple[RestingQuote, ...]) -> RestingQuote | None:
    if quote is None:
        return None
    same_price = (order for order in resting if order.side is side and order.price_cc == quote.price_cc)
    return next((order for order in same_price if order.remaining_cx >= quote.count_cx), None)


def _why_canceled(quote: Quote | None, order: RestingQuote, reason: str) -> str:
    if quote is None:
        return reason
    return "repriced" if quote.price_cc != order.price_cc else "resized"
