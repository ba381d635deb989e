"""Frames of the venue's WebSocket, typed as they come: strings stay strings until convert.py.

Fields we do not name are ignored, fields that may be missing have defaults: the venue adds and drops some without
notice. Source: asyncapi.yaml 3.34; facts.md section 12.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec

Level = tuple[str, str]
# Beyond these a value is damage, and would be refused further on, where it can no longer be told from which frame.
Millis = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_000)]  # up to the year 9999
MarketTicker = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
TradeId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class SnapshotMsg(msgspec.Struct, frozen=True):
    """A side without levels has its key left out; null would mean the same."""

    market_ticker: MarketTicker
    yes_dollars_fp: list[Level] | None = None
    no_dollars_fp: list[Level] | None = None


class DeltaMsg(msgspec.Struct, frozen=True, gc=False):  # no containers: nothing for the collector to look at
    """`delta_fp` is a signed change; `client_order_id` only when an order of this account caused it."""

    market_ticker: MarketTicker
    price_dollars: str
    delta_fp: str
    side: Literal["yes", "no"]
    ts_ms: Millis | None = None
    client_order_id: str | None = None


class TickerMsg(msgspec.Struct, frozen=True):
    market_ticker: MarketTicker
    price_dollars: str | None = None
    yes_bid_dollars: str | None = None
    yes_ask_dollars: str | None = None
    yes_bid_size_fp: str | None = None
    yes_ask_size_fp: str | None = None
    last_trade_size_fp: str | None = None
    volume_fp: str | None = None
    open_interest_fp: str | None = None
    ts_ms: Millis | None = None


class TradeMsg(msgspec.Struct, frozen=True):
    trade_id: TradeId
    market_ticker: MarketTicker
    yes_price_dollars: str
    count_fp: str
    taker_outcome_side: Literal["yes", "no"]
    is_block_trade: bool = False
    ts_ms: Millis | None = None


class SubscribedMsg(msgspec.Struct, frozen=True):
    channel: str
    sid: int


class ErrorMsg(msgspec.Struct, frozen=True):
    """Only the code is needed: an end of a subscription must not be missed for want of words."""

    code: int
    msg: str | None = None
    market_ticker: str | None = None
    market_tickers: list[str] | None = None


class Frame(msgspec.Struct, frozen=True, tag_field="type"):
    """What every frame may carry at the top."""

    sid: int = 0
    seq: Sequence | None = None
    sending_ts_ms: Millis | None = None


class Answer(Frame, frozen=True):
    """A frame that may answer a command of ours, the one of this id; 0 answers none."""

    id: int = 0


class Snapshot(Answer, frozen=True, tag="orderbook_snapshot", kw_only=True):
    msg: SnapshotMsg


class Delta(Frame, frozen=True, tag="orderbook_delta", kw_only=True, gc=False):
    msg: DeltaMsg


class Ticker(Frame, frozen=True, tag="ticker", kw_only=True):
    msg: TickerMsg


class Trade(Frame, frozen=True, tag="trade", kw_only=True):
    msg: TradeMsg


class Subscribed(Answer, frozen=True, tag="subscribed", kw_only=True):
    msg: SubscribedMsg


class Ok(Answer, frozen=True, tag="ok", kw_only=True):
    """Answer to update_subscription (the full list after it) or list_subscriptions (another shape): kept raw."""

    msg: msgspec.Raw = msgspec.Raw(b"null")


class OkMsg(msgspec.Struct, frozen=True):
    """The full list of a subscription's markets after an update; missing when it was asked to be left out."""

    market_tickers: list[str] | None = None


class Unsubscribed(Answer, frozen=True, tag="unsubscribed", kw_only=True):
    pass


class CommandError(Answer, frozen=True, tag="error", kw_only=True):
    msg: ErrorMsg


class LifecycleHead(msgspec.Struct, frozen=True):
    """What is common to market_lifecycle_v2 messages; the rest differs by event type."""

    market_ticker: MarketTicker
    event_type: str


class Lifecycle(Frame, frozen=True, tag="market_lifecycle_v2", kw_only=True):
    msg: msgspec.Raw


class ComboLifecycle(Frame, frozen=True, tag="multivariate_market_lifecycle", kw_only=True):
    msg: msgspec.Raw


class EventLifecycle(Frame, frozen=True, tag="event_lifecycle", kw_only=True):
    msg: msgspec.Raw


class EventFeeUpdate(Frame, frozen=True, tag="event_fee_update", kw_only=True):
    msg: msgspec.Raw


class Fill(Frame, frozen=True, tag="fill", kw_only=True):
    """Private bodies stay raw here and are read by private.py: they are kept whole on their events."""

    msg: msgspec.Raw


class UserOrder(Frame, frozen=True, tag="user_order", kw_only=True):
    msg: msgspec.Raw


class MarketPosition(Frame, frozen=True, tag="market_position", kw_only=True):
    msg: msgspec.Raw


class OrderGroupUpdate(Frame, frozen=True, tag="order_group_updates", kw_only=True):
    msg: msgspec.Raw


class Envelope(msgspec.Struct, frozen=True):
    """Any frame at all, for the ones that fit no type above."""

    type: str = ""
    sid: int = 0
    seq: Sequence | None = None
    msg: msgspec.Raw = msgspec.Raw(b"null")


class AnyMsg(msgspec.Struct, frozen=True):
    market_ticker: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00]*$")] = ""


BookFrame = Snapshot | Delta
BodyFrame = (  # kept as it came, its body read on demand
    Lifecycle | ComboLifecycle | EventLifecycle | EventFeeUpdate | Fill | UserOrder | MarketPosition | OrderGroupUpdate
)
KnownFrame = BookFrame | Ticker | Trade | BodyFrame | Ok | Subscribed | Unsubscribed | CommandError
KNOWN_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in get_args(KnownFrame))

decode_frame = msgspec.json.Decoder(KnownFrame).decode
decode_frames = msgspec.json.Decoder(KnownFrame).decode_lines
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_ok_msg = msgspec.json.Decoder(OkMsg).decode
decode_listed = msgspec.json.Decoder(list[SubscribedMsg]).decode
decode_any_msg = msgspec.json.Decoder(AnyMsg).decode
decode_lifecycle_head = msgspec.json.Decoder(LifecycleHead).decode

_NUMERIC = ("_dollars", "_fp", "fee_cost")  # the ends of names under which the venue sends decimals as strings
_decode_exact = msgspec.json.Decoder(float_hook=str).decode


def numbers_as_texts(data: bytes | memoryview) -> bytes:
    """Return the same JSON with each price, count and amount that came as a number turned into its own digits.

    The venue sends them as strings; one source says that numbers may appear (facts.md section 4).

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: It is no JSON.
    """
    return msgspec.json.encode(_as_texts(_decode_exact(data), is_numeric=False))


def _as_texts(value: Any, *, is_numeric: bool) -> Any:
    match value:
        case dict():
            return {k: _as_texts(v, is_numeric=isinstance(k, str) and k.endswith(_NUMERIC)) for k, v in value.items()}
        case list():
            return [_as_texts(item, is_numeric=is_numeric) for item in value]
        case int() if is_numeric and not isinstance(value, bool):
            return str(value)
    return value
