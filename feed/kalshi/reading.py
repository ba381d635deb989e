"""From typed frames to events in our units, one function a kind; sequences and subscriptions are the session's.

Each raises ValueError (msgspec's errors are such) for a body that cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from feed.kalshi import events
from feed.kalshi.convert import SIDES, count_of, levels, optional_count_cx, optional_price_cc, price_of
from feed.kalshi.wire import frames, private
from markets.core.units import Side, parse_count, parse_dollars, parse_price

AMOUNT_MAX_UD = 10**18

T = TypeVar("T")


def snapshot(frame: frames.Snapshot, *, use_yes_price: bool) -> events.BookSnapshot:
    return events.BookSnapshot(
        frame.sid,
        frame.seq or 0,
        frame.msg.market_ticker,
        levels(Side.YES, frame.msg.yes_dollars_fp or (), use_yes_price=use_yes_price),
        levels(Side.NO, frame.msg.no_dollars_fp or (), use_yes_price=use_yes_price),
        frame.sending_ts_ms,
    )


def ticker(frame: frames.Ticker) -> events.TickerEvent:
    msg = frame.msg
    return events.TickerEvent(
        ticker=msg.market_ticker,
        time_ms=msg.ts_ms,
        sending_ms=frame.sending_ts_ms,
        last_yes_price_cc=optional_price_cc(msg.price_dollars),
        yes_bid_cc=optional_price_cc(msg.yes_bid_dollars),
        yes_ask_cc=optional_price_cc(msg.yes_ask_dollars),
        yes_bid_cx=optional_count_cx(msg.yes_bid_size_fp),
        yes_ask_cx=optional_count_cx(msg.yes_ask_size_fp),
        last_count_cx=optional_count_cx(msg.last_trade_size_fp),
        volume_cx=optional_count_cx(msg.volume_fp),
        open_interest_cx=optional_count_cx(msg.open_interest_fp),
    )


def trade(frame: frames.Trade) -> events.TradeEvent:
    msg = frame.msg
    return events.TradeEvent(
        ticker=msg.market_ticker,
        trade_id=msg.trade_id,
        yes_price_cc=price_of(msg.yes_price_dollars),
        count_cx=count_of(msg.count_fp),
        taker_side=SIDES[msg.taker_outcome_side],
        is_block=msg.is_block_trade,
        time_ms=msg.ts_ms,
        sending_ms=frame.sending_ts_ms,
    )


def body(frame: frames.BodyFrame) -> events.Event:
    """Return the event of a frame whose body is kept."""
    match frame:
        case frames.Fill():
            return fill(frame)
        case frames.UserOrder():
            return order(frame)
        case frames.MarketPosition():
            return position(frame)
        case frames.OrderGroupUpdate():
            return group(frame)
        case frames.EventLifecycle():
            event = private.decode_event(frame.msg)
            return events.EventCreated(
                event.event_ticker, event.series_ticker, event.exchange_index, bytes(frame.msg), frame.sending_ts_ms
            )
        case frames.EventFeeUpdate():
            return event_fee(frame)
        case frames.Lifecycle() | frames.ComboLifecycle():
            head = frames.decode_lifecycle_head(frame.msg)
            return events.LifecycleEvent(head.market_ticker, head.event_type, bytes(frame.msg), frame.sending_ts_ms)


def fill(frame: frames.Fill) -> events.FillEvent:
    msg = _decoded(private.decode_fill, frame.msg)
    return events.FillEvent(
        order_id=msg.order_id,
        trade_id=msg.trade_id,
        client_order_id=msg.client_order_id or "",
        ticker=msg.market_ticker,
        side=SIDES[msg.outcome_side],
        yes_price_cc=parse_price(msg.yes_price_dollars),
        count_cx=_positive_cx(msg.count_fp),
        is_taker=msg.is_taker,
        fee_ud=optional_ud(msg.fee_cost),
        post_position_cx=optional_count_cx(msg.post_position_fp),
        exchange_index=msg.exchange_index,
        subaccount=msg.subaccount,
        time_ms=msg.ts_ms,
        sending_ms=frame.sending_ts_ms,
        body=bytes(frame.msg),
    )


def order(frame: frames.UserOrder) -> events.OrderEvent:
    msg = _decoded(private.decode_order, frame.msg)
    return events.OrderEvent(
        order_id=msg.order_id,
        client_order_id=msg.client_order_id or "",
        ticker=msg.ticker,
        status=msg.status,
        side=SIDES[msg.outcome_side],
        yes_price_cc=parse_price(msg.yes_price_dollars),
        initial_cx=_counted_cx(msg.initial_count_fp),
        filled_cx=_counted_cx(msg.fill_count_fp),
        remaining_cx=_counted_cx(msg.remaining_count_fp),
        fees_ud=_sum_ud(msg.taker_fees_dollars, msg.maker_fees_dollars),
        group_id=msg.order_group_id or "",
        reason=msg.last_update_reason or "",
        exchange_index=msg.exchange_index,
        subaccount=msg.subaccount_number,
        created_ms=msg.created_ts_ms,
        updated_ms=msg.last_updated_ts_ms,
        expires_ms=msg.expiration_ts_ms,
        sending_ms=frame.sending_ts_ms,
        body=bytes(frame.msg),
    )


def position(frame: frames.MarketPosition) -> events.PositionEvent:
    msg = _decoded(private.decode_position, frame.msg)
    return events.PositionEvent(
        ticker=msg.market_ticker,
        position_cx=count_of(msg.position_fp),
        cost_ud=optional_ud(msg.position_cost_dollars),
        realized_ud=optional_ud(msg.realized_pnl_dollars),
        fees_ud=optional_ud(msg.fees_paid_dollars),
        volume_cx=optional_count_cx(msg.volume_fp),
        subaccount=msg.subaccount,
        sending_ms=frame.sending_ts_ms,
        body=bytes(frame.msg),
    )


def group(frame: frames.OrderGroupUpdate) -> events.GroupEvent:
    msg = _decoded(private.decode_group, frame.msg)
    return events.GroupEvent(
        group_id=msg.order_group_id,
        event_type=msg.event_type,
        limit_cx=optional_count_cx(msg.contracts_limit_fp),
        time_ms=msg.ts_ms,
        sending_ms=frame.sending_ts_ms,
        body=bytes(frame.msg),
    )


def event_fee(frame: frames.EventFeeUpdate) -> events.EventFeeUpdate:
    msg = private.decode_event_fee(frame.msg)
    multiplier = bytes(msg.fee_multiplier_override).decode().strip('"')
    return events.EventFeeUpdate(
        event_ticker=msg.event_ticker,
        fee_type=msg.fee_type_override,
        fee_multiplier=None if multiplier == "null" else multiplier,
        body=bytes(frame.msg),
        sending_ms=frame.sending_ts_ms,
    )


def optional_ud(text: str | None) -> int | None:
    """Return an amount in micro-dollars; a missing field stays unknown."""
    if text is None:
        return None
    value = parse_dollars(text)
    if abs(value) > AMOUNT_MAX_UD:
        raise ValueError(f"nobody holds {text} dollars")
    return value


def _sum_ud(*texts: str | None) -> int | None:
    known = [value for value in map(optional_ud, texts) if value is not None]
    return sum(known) if len(known) == len(texts) else None


def _counted_cx(text: str) -> int:
    value = parse_count(text)
    if value < 0:
        raise ValueError(f"a count cannot be negative: {text!r}")
    return count_of(text)


def _positive_cx(text: str) -> int:
    value = _counted_cx(text)
    if value == 0:
        raise ValueError("a fill of nothing")
    return value


def _decoded(decode: Callable[[msgspec.Raw | bytes], T], raw: msgspec.Raw) -> T:
    """Return the body, also when its prices and counts came as numbers."""
    try:
        return decode(raw)
    except msgspec.ValidationError:
        return decode(frames.numbers_as_texts(bytes(raw)))
