"""What happens on a WebSocket, in our words and units: the events that a session returns.

    Confirmed, Removed, Listed    the set of subscriptions and of markets that count as subscribed
    Gap                           before the event of the same frame, if that one can still be used
    BookSnapshot, BookDelta       in sequence, at own-side prices
    TickerEvent, TradeEvent
    LifecycleEvent, EventCreated, EventFeeUpdate
    FillEvent, OrderEvent, PositionEvent, GroupEvent      of this account alone
    Refused                       the venue's error reply, with what to do about it
    Malformed                     a frame kept as it came, with the reason
    Ignored                       a type we do not know, kept as it came

Private events and those of the lifecycle carry their body as the venue sent it: what we do not name is still there.
None is what the venue did not say. Times named `_ms` are the venue's, milliseconds since 1970 UTC.
"""

from __future__ import annotations

import msgspec

from feed.kalshi.commanderrors import Remedy
from markets.core.units import Side


class BookSnapshot(msgspec.Struct, frozen=True):
    """The whole book of one market: (own-side price_cc, count_cx) pairs."""

    sid: int
    seq: int
    ticker: str
    yes: list[tuple[int, int]]
    no: list[tuple[int, int]]
    sending_ms: int | None


class BookDelta(msgspec.Struct, frozen=True):
    """A signed change of one level. `time_ms` is exchange time, None where the venue sent none."""

    sid: int
    seq: int
    ticker: str
    side: int
    price_cc: int
    delta_cx: int
    time_ms: int | None
    sending_ms: int | None
    client_order_id: str | None


class TickerEvent(msgspec.Struct, frozen=True):
    """None is a field the venue did not send, or a side without a quote."""

    ticker: str
    time_ms: int | None
    sending_ms: int | None
    last_yes_price_cc: int | None
    yes_bid_cc: int | None
    yes_ask_cc: int | None
    yes_bid_cx: int | None
    yes_ask_cx: int | None
    last_count_cx: int | None
    volume_cx: int | None
    open_interest_cx: int | None


class TradeEvent(msgspec.Struct, frozen=True):
    ticker: str
    trade_id: str
    yes_price_cc: int
    count_cx: int
    taker_side: Side
    is_block: bool
    time_ms: int | None
    sending_ms: int | None


class LifecycleEvent(msgspec.Struct, frozen=True):
    """A market's life, of plain markets and of combos; `event_type` is the venue's word."""

    ticker: str
    event_type: str
    body: bytes
    sending_ms: int | None


class EventCreated(msgspec.Struct, frozen=True):
    """An event (the parent of markets) exists."""

    event_ticker: str
    series_ticker: str
    exchange_index: int | None
    body: bytes
    sending_ms: int | None


class EventFeeUpdate(msgspec.Struct, frozen=True):
    """An event's own fees: both None when they were taken away. `fee_multiplier` is the venue's decimal text."""

    event_ticker: str
    fee_type: str | None
    fee_multiplier: str | None
    body: bytes
    sending_ms: int | None


class FillEvent(msgspec.Struct, frozen=True):
    """One match of one of our orders; `post_position_cx` is the position after it, + YES, − NO."""

    order_id: str
    trade_id: str
    client_order_id: str
    ticker: str
    side: Side
    yes_price_cc: int
    count_cx: int
    is_taker: bool
    fee_ud: int | None
    post_position_cx: int | None
    exchange_index: int | None
    subaccount: int | None
    time_ms: int | None
    sending_ms: int | None
    body: bytes


class OrderEvent(msgspec.Struct, frozen=True):
    """An order after a change. `status` and `reason` are the venue's words, whatever they are."""

    order_id: str
    client_order_id: str
    ticker: str
    status: str
    side: Side
    yes_price_cc: int
    initial_cx: int
    filled_cx: int
    remaining_cx: int
    fees_ud: int | None
    group_id: str
    reason: str
    exchange_index: int | None
    subaccount: int | None
    created_ms: int | None
    updated_ms: int | None
    expires_ms: int | None
    sending_ms: int | None
    body: bytes


class PositionEvent(msgspec.Struct, frozen=True):
    """A net position after a change: + YES, − NO."""

    ticker: str
    position_cx: int
    cost_ud: int | None
    realized_ud: int | None
    fees_ud: int | None
    volume_cx: int | None
    subaccount: int | None
    sending_ms: int | None
    body: bytes


class GroupEvent(msgspec.Struct, frozen=True):
    """An order group: created, triggered, reset, deleted, limit_updated."""

    group_id: str
    event_type: str
    limit_cx: int | None
    time_ms: int | None
    sending_ms: int | None
    body: bytes


class Confirmed(msgspec.Struct, frozen=True):
    """A subscription exists, or holds exactly these markets now."""

    sid: int
    channel: str
    markets: frozenset[str]


class Removed(msgspec.Struct, frozen=True):
    """A subscription is over; `reason` is empty when we asked for it."""

    sid: int
    channel: str
    markets: frozenset[str]
    reason: str


class Listed(msgspec.Struct, frozen=True):
    """The venue's own list of subscriptions; `unknown` are (sid, channel) that we hold for no subscription of ours."""

    known: frozenset[int]
    unknown: tuple[tuple[int, str], ...]


class Gap(msgspec.Struct, frozen=True):
    """Messages of a subscription are missing, doubled backwards or out of order."""

    sid: int
    channel: str
    expected: int
    received: int
    markets: frozenset[str]


class Refused(msgspec.Struct, frozen=True):
    """The venue refused a command (`action`); `tickers` are those that were meant, as far as known.

    `is_whole` is False when the venue names some of those that were sent: the rest was not at fault.
    """

    action: str
    code: int
    message: str
    sid: int
    channel: str
    tickers: tuple[str, ...]
    is_whole: bool
    remedy: Remedy


class Malformed(msgspec.Struct, frozen=True):
    """A frame that cannot be used; `ticker` names the market whose book it spoils, if that can be told."""

    ticker: str
    reason: str
    frame: bytes


class Ignored(msgspec.Struct, frozen=True):
    """A frame of a type we have no use for, RFQs among them; kept as it came."""

    type: str
    frame: bytes


PrivateEvent = FillEvent | OrderEvent | PositionEvent | GroupEvent
Event = (
    BookSnapshot
    | BookDelta
    | TickerEvent
    | TradeEvent
    | LifecycleEvent
    | EventCreated
    | EventFeeUpdate
    | PrivateEvent
    | Confirmed
    | Removed
    | Listed
    | Gap
    | Refused
    | Malformed
    | Ignored
)
