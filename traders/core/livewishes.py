"""What a command comes to as an intent, or why it does not: decided by the order that it is about.

A decrease names the total that the order shall have (filled + what shall rest), so fills meanwhile make less rest, and
never more; a renewal resends the total that it has, so it enlarges nothing (C11). At most one change of an order is on
its way: two could be carried out in either order, and the later one would bring back what the first took off.
"""

from __future__ import annotations

from traders.core.commands import CancelOrder, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.intents import Amend, Cancel, Create, Decrease, Held, Place, Renew, Take
from traders.core.liveorder import LiveOrder, Standing


def create(command: PlaceOrder | TakeOrder) -> Create:
    """Return the wish of a command for a new order.

    Raises:
        ValueError: It has no size.
    """
    if command.count_cx <= 0:
        raise ValueError(f"an order of {command.count_cx} hundredths is wished")
    if isinstance(command, TakeOrder):
        return Take(command.side, command.limit_cc, command.count_cx)
    return Place(command.side, command.price_cc, command.count_cx, command.expires_us)


def cancel(order: LiveOrder | None, command: CancelOrder, now_us: int) -> Cancel | Held:
    """Return the wish of a cancel, unless one is on its way or cannot be."""
    if order is None or order.is_ended:
        return Held("ENDED")
    if order.cancel and (order.cancel.number or order.cancel.waits_for_look):
        return Held("IN_FLIGHT")
    if not order.order_id:
        return Held("NO_ORDER_ID")
    if now_us < order.cancel_from_us:
        return Held("SPACED", f"again in {order.cancel_from_us - now_us} us")
    return Cancel(order.order_id, order.cancel.reason if order.cancel else command.reason)


def amend(order: LiveOrder | None, command: DecreaseOrder | RenewOrder) -> Amend | Held:
    """Return the wish of a change that leaves an order its place in the queue."""
    if order is None or order.is_ended:
        return Held("ENDED")
    if order.cancel:
        return Held("LEAVING")
    if order.amend:
        return Held("IN_FLIGHT")
    if order.standing is not Standing.RESTING:
        return Held("UNPROVEN", order.why or order.standing.value)
    if isinstance(command, RenewOrder):
        return Renew(order.order_id, order.side, order.price_cc, order.total_cx, command.expires_us)
    less_cx = order.resting_cx - command.remaining_cx
    if less_cx <= 0 or command.remaining_cx <= 0:
        return Held("NOT_SMALLER", f"{order.resting_cx} rest")
    return Decrease(order.order_id, order.side, order.price_cc, order.total_cx - less_cx, less_cx)
