"""Live orders' records as lines of the journal, and back.

Intent, Sent, Answered   ◄──► OrderIntent, OrderSent, OrderAnswer
Booked, Told             ◄─── FillState, OrderState, which the engine writes in their place
"""

from __future__ import annotations

from msgspec.structs import astuple, replace

from feed.schema import FillState, JournalBody, OrderAnswer, OrderIntent, OrderSent, OrderState
from markets.core.units import Side
from traders.core.intents import (
    Answered,
    Booked,
    Cancel,
    Decrease,
    Intent,
    Outcome,
    Place,
    Record,
    Renew,
    Sent,
    Take,
    Told,
    Wish,
)
from traders.core.orders import OrderStatus

PLACE, TAKE, DECREASE, RENEW, CANCEL = "place", "take", "decrease", "renew", "cancel"


def body_of(record: Intent | Sent | Answered) -> OrderIntent | OrderSent | OrderAnswer:
    """Return the line that keeps a record."""
    match record:
        case Intent(number, client_order_id, wish, written_us):
            return _told(OrderIntent(number, client_order_id, "", written_us), wish)
        case Sent(number, at_us):
            return OrderSent(number, at_us)
        case Answered():
            return OrderAnswer(*astuple(record))


def _told(line: OrderIntent, wish: Wish) -> OrderIntent:
    match wish:
        case Place(side, price_cc, count_cx, until_us):
            return replace(line, verb=PLACE, side=int(side), price_cc=price_cc, count_cx=count_cx, expires_us=until_us)
        case Take(side, limit_cc, count_cx):
            return replace(line, verb=TAKE, side=int(side), price_cc=limit_cc, count_cx=count_cx)
        case Decrease(order_id, side, price_cc, total_cx, less_cx):
            line = replace(line, verb=DECREASE, order_id=order_id, side=int(side), price_cc=price_cc)
            return replace(line, count_cx=total_cx, less_cx=less_cx)
        case Renew(order_id, side, price_cc, total_cx, renewed_us):
            line = replace(line, verb=RENEW, order_id=order_id, side=int(side), price_cc=price_cc)
            return replace(line, count_cx=total_cx, expires_us=renewed_us)
        case Cancel(order_id, reason):
            return replace(line, verb=CANCEL, order_id=order_id, reason=reason)


def record_of(body: JournalBody) -> Record | None:
    """Return the record that a line keeps, None for a line about something else.

    Raises:
        ValueError: It is not of our making: a verb, an outcome or a status that there is not, a figure that is missing.
    """
    match body:
        case OrderIntent():
            return Intent(body.number, body.client_order_id, _wish(body), body.written_us)
        case OrderSent(number, at_us):
            return Sent(number, at_us)
        case OrderAnswer():
            answer = Answered(*astuple(body))
            return replace(answer, outcome=Outcome(body.outcome))
        case FillState():
            return Booked(body.client_order_id, body.order_id, body.trade_id, body.count_cx)
        case OrderState():
            status = OrderStatus(body.status)
            return Told(body.client_order_id, body.order_id, body.filled_cx, status, body.reason)
    return None


def _wish(line: OrderIntent) -> Wish:
    if line.verb == CANCEL:
        return Cancel(line.order_id, line.reason)
    side, price_cc, count_cx = line.side, line.price_cc, line.count_cx
    if side is None or price_cc is None or count_cx is None:
        raise ValueError(f"intent {line.number} has no side, price or count")
    match line.verb:
        case "place":
            return Place(Side(side), price_cc, count_cx, line.expires_us)
        case "take":
            return Take(Side(side), price_cc, count_cx)
        case "decrease" if line.less_cx is not None:
            return Decrease(line.order_id, Side(side), price_cc, count_cx, line.less_cx)
        case "renew" if line.expires_us is not None:
            return Renew(line.order_id, Side(side), price_cc, count_cx, line.expires_us)
    raise ValueError(f"intent {line.number} is of no kind that there is: {line.verb!r}")
