"""What is written down of a live order: every wish before it is sent, and what became of it.

    Intent ──► Sent ──► Answered          each is a line of the trader's journal; the intent is durable before the rest
       └─────────────► Answered(NOT_SENT)

    Booked     a fill that the trader counts
    Told       an order as it was told: it rests, or is over with all of its fills

An intent is sent once or never: a new wish, also a second cancel of the same order, is a new intent with a new number.
After a crash one without `Sent` may have left all the same, and counts as sent unless it is answered NOT_SENT.

Outcomes, and what of feed.kalshi.errors they are:

    ACCEPTED    the venue took it; the numbers of its answer say what that means
    DECLINED    RequestRefused: not done, for the reason in `code`
    EXISTS      AlreadyExists: of a create, proof that an order with its id is there
    NOT_FOUND   NotFound: of a cancel or amend, that the order has ended or never was
    CLOSED      a cancel refused because the market is closed
    NOT_SENT    NeverSent, HeldBack, RateLimited, or dropped by us: certainly not done
    UNKNOWN     OutcomeUnknown, or the call was cancelled: perhaps done

Prices are on the order's own ladder, times microseconds since 1970 by the exchange's clock as far as it is known.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from markets.core.units import Side
from traders.core.orders import OrderStatus


class Place(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Let an order rest, post-only."""

    side: Side
    price_cc: int
    count_cx: int
    expires_us: int | None = None


class Take(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Trade at once what can be had at `limit_cc` or better."""

    side: Side
    limit_cc: int
    count_cx: int


class Decrease(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Let an order have `total_cx` in all: what has filled and what shall rest, so fills meanwhile cannot enlarge it.

    `less_cx` is the same wish as a difference from what it is known to have. Either may be sent, as an amend to that
    count or as a decrease by that many: where nobody else changes the order, both leave the same total.
    """

    order_id: str
    side: Side
    price_cc: int
    total_cx: int
    less_cx: int


class Renew(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Let an order stand until `expires_us`, with the price and the total that it has."""

    order_id: str
    side: Side
    price_cc: int
    total_cx: int
    expires_us: int


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Take off whatever remains of an order."""

    order_id: str
    reason: str


Create = Place | Take
Amend = Decrease | Renew
Wish = Place | Take | Decrease | Renew | Cancel


class Intent(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """One wish. `number` rises by one for ever; `client_order_id` is that of the order it is about."""

    number: int
    client_order_id: str
    wish: Wish
    written_us: int


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """The request of an intent leaves now."""

    number: int
    at_us: int


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    DECLINED = "declined"
    EXISTS = "exists"
    NOT_FOUND = "not found"
    CLOSED = "closed"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """What came of an intent.

    Attributes:
        code: Why it was not done, or what came instead of an answer.
        order_id: Of what was placed.
        filled_cx: Of a create, what it filled on arrival.
        remaining_cx: What rests after a create or an amend; None where the answer does not say.
        reduced_cx: What a cancel took off.
        engine_us: The venue's time of it; None where the answer does not say.
    """

    number: int
    at_us: int
    outcome: Outcome
    code: str = ""
    order_id: str = ""
    filled_cx: int | None = None
    remaining_cx: int | None = None
    reduced_cx: int | None = None
    engine_us: int | None = None


class Booked(msgspec.Struct, frozen=True, array_like=True, tag=23):
    """A fill that is counted."""

    client_order_id: str
    order_id: str
    trade_id: str
    count_cx: int


class Told(msgspec.Struct, frozen=True, array_like=True, tag=24):
    """An order as it was told outwards."""

    client_order_id: str
    order_id: str
    filled_cx: int
    status: OrderStatus
    reason: str = ""


Record = Intent | Sent | Answered | Booked | Told


class Held(msgspec.Struct, frozen=True):
    """A wish that did not become an intent.

    FENCED        nothing new may be sent: the group was triggered, or something stayed unsettled
    IN_FLIGHT     one of the kind is on its way on that side already
    ENDED         the order is over, or not known
    LEAVING       the order is being canceled
    UNPROVEN      what the order is now is not known
    NOT_SMALLER   it would not get smaller, or nothing would remain
    NO_ORDER_ID   the venue's id of the order is not known yet; the cancel follows once it is
    SPACED        the last cancel was refused a moment ago
    """

    code: str
    detail: str = ""
