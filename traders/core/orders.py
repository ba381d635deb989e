"""The life of one order, as values.

                 ┌──► refused                      it never rested
    place ───────┤
                 └──► resting ──fill──► resting    part of it traded
                         │ │  └─fill──► filled     all of it traded
                         │ └──decrease──► resting  smaller, same place in the queue
                         └──cancel──► canceled     by us, or by what the reason says

    take ──fill──► filled, or what could not be had canceled: it never rests

`remaining = placed − filled − taken off by decrease or cancel`; only what remains earns and can fill.
Prices are centi-cents on the order's own ladder, counts hundredths of a contract.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from markets.core.units import Side


class OrderStatus(StrEnum):
    RESTING = "resting"
    FILLED = "filled"
    CANCELED = "canceled"
    REFUSED = "refused"


class Order(msgspec.Struct, frozen=True):
    """One order at one moment; a change makes a new value."""

    client_order_id: str
    order_id: str
    side: Side
    price_cc: int
    placed_cx: int
    filled_cx: int
    remaining_cx: int
    status: OrderStatus
    reason: str = ""

    @classmethod
    def resting(cls, order_id: str, side: Side, price_cc: int, count_cx: int) -> Order:
        """Return a new order at rest; `order_id` serves as the client's id too until a venue gives its own."""
        return cls(order_id, order_id, side, price_cc, count_cx, 0, count_cx, OrderStatus.RESTING)

    def after_fill(self, count_cx: int) -> Order:
        """Return the order after `count_cx` of it traded.

        Raises:
            ValueError: More than remains.
        """
        if not 0 < count_cx <= self.remaining_cx:
            raise ValueError(f"{count_cx} cannot fill an order with {self.remaining_cx} remaining")
        left = self.remaining_cx - count_cx
        status = OrderStatus.RESTING if left else OrderStatus.FILLED
        return msgspec.structs.replace(
            self, filled_cx=self.filled_cx + count_cx, remaining_cx=left, status=status, reason=""
        )

    def decreased_to(self, remaining_cx: int) -> Order:
        """Return the smaller order; it keeps its place in the queue.

        Raises:
            ValueError: Not smaller, or nothing would remain (that is a cancel).
        """
        if not 0 < remaining_cx < self.remaining_cx:
            raise ValueError(f"{self.remaining_cx} cannot be decreased to {remaining_cx}")
        return msgspec.structs.replace(self, remaining_cx=remaining_cx, reason="decreased")

    def ended(self, status: OrderStatus, reason: str) -> Order:
        """Return the order canceled or refused, with nothing remaining."""
        return msgspec.structs.replace(self, remaining_cx=0, status=status, reason=reason)


class Fill(msgspec.Struct, frozen=True):
    """Part of an order traded.

    Attributes:
        order: After the fill.
        fee_ud: None is unknown, not zero.
        inferred: Whether it is known from a ticker's volume alone.
        price_cc: Where it is not the order's own: a taker trades at the price of whoever rested.
        time_us: When the venue says that it traded; None where fills come in their order.
    """

    order: Order
    trade_id: str
    count_cx: int
    is_taker: bool
    fee_ud: int | None
    inferred: bool = False
    price_cc: int | None = None
    time_us: int | None = None

    @property
    def paid_cc(self) -> int:
        """The price it traded at, on the order's own ladder."""
        return self.order.price_cc if self.price_cc is None else self.price_cc


class RestingQuote(msgspec.Struct, frozen=True):
    """One order at rest, as strategies and the diff see it.

    Attributes:
        ahead_cx: Others' contracts at our price that match before us; None while nobody knows.
        rested_us: When it came to rest at its price.
        expires_us: When the venue takes it off by itself; None when it does not.
    """

    client_order_id: str
    side: Side
    price_cc: int
    remaining_cx: int
    ahead_cx: int | None = None
    rested_us: int = 0
    expires_us: int | None = None
