"""What about live orders a person should hear of, once.

OVERDUE      an order was in doubt for 60 s
CAME_BACK    one that counted as over was shown to live
GREW         one was shown to be larger than it was wished
STRANGE      one has a status that nobody knows
STRAY        one carries the trader's name, and its records do not know it
FENCED       nothing new is sent any more

And of others: POSITION_DRIFT (traders.core.drift), OWN_BOOK (ownbook), QUEUE_READING (livequeue).
"""

from __future__ import annotations

import msgspec

from traders.core.liveorder import STRANGE, LiveOrder


class Alert(msgspec.Struct, frozen=True):
    code: str
    text: str
    client_order_id: str = ""


def alerts(before: LiveOrder, after: LiveOrder) -> list[Alert]:
    """Return what is alarming about a change of an order."""
    found = [
        ("CAME_BACK", before.is_ended and not after.is_ended, f"it was {before.end}: {before.end_reason}"),
        ("GREW", after.most_cx > max(before.most_cx, after.wished_cx), f"{after.most_cx} of {after.wished_cx} wished"),
        ("STRANGE", after.why.startswith(STRANGE) and after.why != before.why, after.why),
    ]
    return [Alert(code, text, after.client_order_id) for code, is_so, text in found if is_so]
