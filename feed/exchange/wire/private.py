"""Kalshi's wire form of what only the owner sees: orders, fills, positions, balances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from feed.exchange.trading.accounts import RESTING, Fill, Order
from feed.exchange.trading.positions import Position
from feed.exchange.wire.public import SIDE_WORDS, money, ms, rfc3339, seconds, trade_prices
from markets.core.units import Side, format_count

if TYPE_CHECKING:
    from feed.exchange.trading.groups import OrderGroup


def _direction(side: Side) -> dict[str, str]:
    return {"outcome_side": SIDE_WORDS[side], "book_side": side.book_side, "side": SIDE_WORDS[side], "action": "buy"}


def _counts(order: Order) -> dict[str, str]:
    remaining = order.remaining_cx if order.status == RESTING else 0
    return {
        "initial_count_fp": format_count(order.initial_cx),
        "fill_count_fp": format_count(order.fill_cx),
        "remaining_count_fp": format_count(remaining),
        "taker_fill_cost_dollars": money(order.taker_cost_ud),
        "maker_fill_cost_dollars": money(order.maker_cost_ud),
        "taker_fees_dollars": money(order.taker_fees_ud),
        "maker_fees_dollars": money(order.maker_fees_ud),
    }


def order_body(order: Order, user_id: str) -> dict[str, Any]:
    """Return an order as the REST reads show it."""
    return {
        "order_id": order.order_id,
        "user_id": user_id,
        "client_order_id": order.client_order_id,
        "ticker": order.ticker,
        **_direction(order.side),
        "type": "limit",
        "status": order.status,
        **trade_prices(order.yes_price_cc),
        **_counts(order),
        "expiration_time": rfc3339(order.expires_us) if order.expires_us else None,
        "created_time": rfc3339(order.created_us),
        "last_update_time": rfc3339(order.updated_us),
        "self_trade_prevention_type": order.self_trade_prevention,
        "order_group_id": order.order_group_id or None,
        "cancel_order_on_pause": order.cancel_on_pause,
        "subaccount_number": order.subaccount,
        "exchange_index": order.exchange_index,
    }


def order_message(order: Order, user_id: str) -> dict[str, Any]:
    """Return an order as the `user_orders` channel sends it (`ticker`, not `market_ticker`)."""
    body: dict[str, Any] = {
        "order_id": order.order_id,
        "user_id": user_id,
        "ticker": order.ticker,
        "exchange_index": order.exchange_index,
        "status": order.status,
        "side": SIDE_WORDS[order.side],
        "is_yes": order.side is Side.YES,
        "outcome_side": SIDE_WORDS[order.side],
        "book_side": order.side.book_side,
        "yes_price_dollars": trade_prices(order.yes_price_cc)["yes_price_dollars"],
        **_counts(order),
        "client_order_id": order.client_order_id,
        "self_trade_prevention_type": order.self_trade_prevention,
        "created_time": rfc3339(order.created_us),
        "created_ts_ms": ms(order.created_us),
        "last_update_time": rfc3339(order.updated_us),
        "last_updated_ts_ms": ms(order.updated_us),
        "subaccount_number": order.subaccount,
    }
    if order.expires_us:
        body["expiration_time"] = rfc3339(order.expires_us)
        body["expiration_ts_ms"] = ms(order.expires_us)
    if order.order_group_id:
        body["order_group_id"] = order.order_group_id
    if order.reason:
        body["last_update_reason"] = order.reason
    return body


def group_message(group_id: str, event_type: str, at_us: int, *, limit_cx: int | None) -> dict[str, Any]:
    """Return a message of the `order_group_updates` channel; the limit is there when it is new."""
    body: dict[str, Any] = {"event_type": event_type, "order_group_id": group_id, "ts_ms": ms(at_us)}
    if limit_cx is not None:
        body["contracts_limit_fp"] = format_count(limit_cx)
    return body


def _group_limit(group: OrderGroup) -> dict[str, Any]:
    # Nothing says that a trigger switches the guard off, and no field tells of one: a client hears it on the channel.
    return {
        "contracts_limit_fp": format_count(group.limit_cx),
        "is_auto_cancel_enabled": True,
        "exchange_index": group.exchange_index,
    }


def group_row(group: OrderGroup) -> dict[str, Any]:
    """Return a group as the list of groups shows it."""
    return {"id": group.group_id, **_group_limit(group)}


def group_body(group: OrderGroup, resting: Iterable[Order]) -> dict[str, Any]:
    """Return one group with the ids of its resting orders."""
    return {**_group_limit(group), "orders": [order.order_id for order in resting]}


def group_created(group: OrderGroup) -> dict[str, Any]:
    return {
        "order_group_id": group.group_id,
        "subaccount": group.subaccount,
        "exchange_index": group.exchange_index,
    }


def fill_row(fill: Fill) -> dict[str, Any]:
    """Return a fill as GET /portfolio/fills lists it: without client_order_id."""
    return {
        "fill_id": fill.trade_id,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "ticker": fill.ticker,
        "market_ticker": fill.ticker,
        "exchange_index": fill.exchange_index,
        **_direction(fill.side),
        "count_fp": format_count(fill.count_cx),
        **trade_prices(fill.yes_price_cc),
        "is_taker": fill.is_taker,
        "fee_cost": money(fill.fee_ud),
        "created_time": rfc3339(fill.at_us),
        "ts": seconds(fill.at_us),
        "subaccount_number": fill.subaccount,
    }


def fill_message(fill: Fill) -> dict[str, Any]:
    """Return a fill as the `fill` channel sends it."""
    body = {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "market_ticker": fill.ticker,
        "exchange_index": fill.exchange_index,
        "is_taker": fill.is_taker,
        **_direction(fill.side),
        "purchased_side": SIDE_WORDS[fill.side],
        "yes_price_dollars": trade_prices(fill.yes_price_cc)["yes_price_dollars"],
        "count_fp": format_count(fill.count_cx),
        "fee_cost": money(fill.fee_ud),
        "post_position_fp": format_count(fill.post_position_cx),
        "ts_ms": ms(fill.at_us),
        "ts": seconds(fill.at_us),
        "subaccount": fill.subaccount,
    }
    if fill.client_order_id:
        body["client_order_id"] = fill.client_order_id
    return body


def position_row(position: Position) -> dict[str, Any]:
    return {
        "ticker": position.ticker,
        "exchange_index": position.exchange_index,
        "position_fp": format_count(position.position_cx),
        "market_exposure_dollars": money(position.cost_ud),
        "total_traded_dollars": money(position.traded_ud),
        "realized_pnl_dollars": money(position.realized_ud),
        "fees_paid_dollars": money(position.fees_ud),
        "last_updated_ts": rfc3339(position.updated_us),
    }


def event_position_row(event_ticker: str, positions: list[Position], *, returned_ud: int) -> dict[str, Any]:
    """Return the sums of an event; its exposure is what it cost, less the collateral returned for it."""
    return {
        "event_ticker": event_ticker,
        "total_cost_dollars": money(sum(p.traded_ud for p in positions)),
        "total_cost_shares_fp": format_count(sum(p.volume_cx for p in positions)),
        "event_exposure_dollars": money(sum(p.cost_ud for p in positions) - returned_ud),
        "realized_pnl_dollars": money(sum(p.realized_ud for p in positions)),
        "fees_paid_dollars": money(sum(p.fees_ud for p in positions)),
    }


def position_message(position: Position, user_id: str) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "market_ticker": position.ticker,
        "position_fp": format_count(position.position_cx),
        "position_cost_dollars": money(position.cost_ud),
        "realized_pnl_dollars": money(position.realized_ud),
        "fees_paid_dollars": money(position.fees_ud),
        "position_fee_cost_dollars": money(position.fees_ud),
        "volume_fp": format_count(position.volume_cx),
        "subaccount": position.subaccount,
    }
