"""A paper order from the moment it is sent, and what is on its way to the paper exchange."""

from __future__ import annotations

from collections import deque

import msgspec

from markets.core.book import OrderBook
from markets.core.fees import OrderRounding
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.orders import Order
from traders.core.papertakes import Levels, in_reach

Change = CancelOrder | DecreaseOrder | RenewOrder


class PaperOrder(msgspec.Struct):
    """One order that rests, or will.

    Attributes:
        rests_us: When it came to rest, or will.
        expires_us: As the exchange knows it; `wanted_until_us` as it will once everything sent has arrived.
        wanted_cx: What of it shall remain once everything sent has arrived.
        is_leaving: A cancel has been sent, or it has expired.
        held: Changes that took effect while it was undecided whether it had filled before, with their numbers.
        has_left: One of those is a cancel.
    """

    order: Order
    rests_us: int
    expires_us: int | None
    wanted_until_us: int | None
    wanted_cx: int
    rounding: OrderRounding = OrderRounding()
    is_at_rest: bool = False
    is_leaving: bool = False
    has_left: bool = False
    held: deque[tuple[int, Change]] = msgspec.field(default_factory=deque)


class Found(msgspec.Struct, frozen=True):
    """What a new order would find in the book: the level it joins, what is better, the other side."""

    level_cx: int = 0
    better_cx: int = 0
    opposite_cc: int = 0
    reach: Levels = ()


class OnWay(msgspec.Struct):
    """A command that has been sent, and what it would find if it arrived now."""

    at_us: int
    command: Command
    client_order_id: str
    found: Found = Found()


def look(command: Command, book: OrderBook) -> Found:
    """Return what a new order would find in the book as it is."""
    if isinstance(command, TakeOrder):
        return Found(reach=in_reach(book, command.side, command.limit_cc))
    if not isinstance(command, PlaceOrder):
        return Found()
    side, price_cc = command.side, command.price_cc
    return Found(book.size_cx(side, price_cc), book.better_cx(side, price_cc), book.best_cc[side.other])
