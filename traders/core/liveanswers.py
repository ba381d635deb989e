"""What an order is after a request about it was sent, and after each answer to it. Values in, values out.

An answer never takes back what a showing has proven: a refused create that is shown to rest does rest. What it does not
say counts at its worst. Numbers, not the status of the answer, decide what became of an order (C16).
"""

from __future__ import annotations

from msgspec.structs import replace

from traders.core.evidence import LAST, MS_US, RESTING, Seen, Version
from traders.core.intents import Amend, Answered, Cancel, Create, Intent, Outcome, Place, Renew, Take
from traders.core.livechanges import Amending, Cancelling
from traders.core.liveorder import LiveOrder, Standing
from traders.core.orders import OrderStatus
from traders.core.settling import cancel_spacing_us

ON_ARRIVAL = "canceled on arrival"
EXISTS = "an order with its id exists"
NO_ANSWER = "no answer"
NO_NUMBERS = "accepted without numbers"
NOTHING_TO_CANCEL = "nothing to cancel"
NOTHING_TO_AMEND = "nothing to amend"
CLOSED = "market closed"


def wished(order: LiveOrder, intent: Intent) -> LiveOrder:
    """Return the order once a change of it is written down; it may leave from now on."""
    wish = intent.wish
    if order.is_ended or isinstance(wish, Place | Take):
        return order
    order = replace(order, order_id=order.order_id or wish.order_id)  # records know it from nowhere else, perhaps
    if isinstance(wish, Cancel):
        reason = order.cancel.reason if order.cancel else wish.reason
        return replace(order, cancel=Cancelling(reason, intent.number), cancel_tries=order.cancel_tries + 1)
    expires_us = wish.expires_us if isinstance(wish, Renew) else None
    return replace(order, amend=Amending(intent.number, wish.total_cx, expires_us))


def sent(order: LiveOrder, intent: Intent) -> LiveOrder:
    """Return the order when a request about it leaves."""
    if isinstance(intent.wish, Place | Take):
        is_open = order.standing is Standing.WISHED
        return replace(order, standing=Standing.IN_FLIGHT) if is_open else order
    if order.amend is not None and order.amend.number == intent.number:
        return replace(order, amend=replace(order.amend, is_sent=True))
    return order


def answered(order: LiveOrder, intent: Intent, answer: Answered, sent_us: int) -> LiveOrder:
    """Return the order after an answer."""
    wish = intent.wish
    if isinstance(wish, Cancel):
        return _after_cancel(order, answer)
    if isinstance(wish, Place | Take):
        return _after_create(order, wish, answer)
    return _after_amend(order, wish, answer, sent_us)


# Creates


def _after_create(order: LiveOrder, wish: Create, answer: Answered) -> LiveOrder:
    if answer.outcome is Outcome.ACCEPTED:
        return _accepted(order, wish, answer)
    if order.exists:  # something has shown it already, whatever this answer says
        return replace(order, left_us=order.left_us or answer.at_us)
    if answer.outcome is Outcome.EXISTS:
        return replace(order.unsure(EXISTS, 0), exists=True, left_us=answer.at_us)
    if answer.outcome is Outcome.UNKNOWN:
        return replace(order.unsure(answer.code or NO_ANSWER, 0), left_us=answer.at_us)
    told = f"{answer.outcome}: {answer.code}" if answer.outcome is Outcome.NOT_SENT and answer.code else answer.code
    return order.ended(OrderStatus.REFUSED, told or answer.outcome.value, 0)


def _accepted(order: LiveOrder, wish: Create, answer: Answered) -> LiveOrder:
    order = order.filled(answer.filled_cx or 0, answer.order_id)
    if answer.remaining_cx is None:  # accepted, and it does not say what that means: a look will
        return order.unsure(NO_NUMBERS, 0) if order.is_create_open else order
    if not answer.remaining_cx:
        return _over_on_arrival(order)
    shown = Seen(
        order_id=answer.order_id,
        price_cc=wish.limit_cc if isinstance(wish, Take) else wish.price_cc,
        filled_cx=answer.filled_cx or 0,
        remaining_cx=answer.remaining_cx,
        word=RESTING,
        changed_us=answer.engine_us or 0,
        expires_us=None if isinstance(wish, Take) else wish.expires_us,
    )
    order = order.saw(shown)
    return replace(order, rested_us=order.rested_us or answer.at_us)


def _over_on_arrival(order: LiveOrder) -> LiveOrder:
    if order.end_is_final or order.is_complete:
        return order
    is_whole = order.known_cx >= order.wished_cx
    status, reason = (OrderStatus.FILLED, "") if is_whole else (OrderStatus.CANCELED, ON_ARRIVAL)
    return order.ended(status, reason, order.known_cx, is_final=True)


# Cancels


def _after_cancel(order: LiveOrder, answer: Answered) -> LiveOrder:
    outcome, cancel = answer.outcome, order.cancel
    if outcome is Outcome.ACCEPTED:
        return _canceled(order, answer.reduced_cx)
    if order.is_ended or cancel is None or cancel.number != answer.number:
        return order
    spacing_us = cancel_spacing_us(order.cancel_tries)
    if outcome is Outcome.NOT_SENT:  # nobody refused it: it is due again, and waits with whoever sends
        order, spacing_us = replace(order, cancel_tries=order.cancel_tries - 1), 0
    order = replace(order, cancel_from_us=answer.at_us + spacing_us)
    if outcome is Outcome.CLOSED:
        return replace(order.unsure(CLOSED, answer.at_us), cancel=None)
    is_unknown = outcome is Outcome.UNKNOWN
    is_nothing = outcome is Outcome.NOT_FOUND
    order = replace(order, cancel=Cancelling(cancel.reason, 0, is_unknown=is_unknown, waits_for_look=is_nothing))
    return order.unsure(NOTHING_TO_CANCEL, answer.at_us) if is_nothing else order


def _canceled(order: LiveOrder, reduced_cx: int | None) -> LiveOrder:
    """Return it canceled for good, with all filled that it had and the cancel did not take off.

    One that took off more than it can have had says only that somebody had enlarged it: a look will tell the rest.
    """
    if order.end_is_final or order.is_complete:
        return order
    if reduced_cx is None or reduced_cx > order.most_cx - order.known_cx:
        reduced_cx = 0
    reason = order.cancel.reason if order.cancel else "canceled"
    ended = order.ended(OrderStatus.CANCELED, reason, order.most_cx - reduced_cx, is_final=True)
    return replace(ended, exists=True)


# Amends


def _after_amend(order: LiveOrder, wish: Amend, answer: Answered, sent_us: int) -> LiveOrder:
    outcome = answer.outcome
    if outcome is Outcome.ACCEPTED:
        return _amended(order, wish, answer, sent_us)
    if order.is_ended or order.amend is None or order.amend.number != answer.number:
        return order
    if outcome is Outcome.UNKNOWN:
        return replace(order, amend=replace(order.amend, is_sent=True, left_us=answer.at_us))
    order = replace(order, amend=None)
    return order.unsure(NOTHING_TO_AMEND, answer.at_us) if outcome is Outcome.NOT_FOUND else order


def _amended(order: LiveOrder, wish: Amend, answer: Answered, sent_us: int) -> LiveOrder:
    if order.amend is not None and order.amend.number == answer.number:
        order = replace(order, amend=None)
    if order.is_ended:
        return order
    order = replace(order, exists=True)
    if answer.remaining_cx == 0:  # all of the new total had filled
        return order.ended(OrderStatus.FILLED, "", wish.total_cx, is_final=True)
    version: Version = (sent_us if answer.engine_us is None else answer.engine_us) // MS_US, LAST
    if version > order.version:
        expires_us = wish.expires_us if isinstance(wish, Renew) else order.expires_us
        order = replace(order, total_cx=wish.total_cx, expires_us=expires_us, version=version)
    return order.counted()
