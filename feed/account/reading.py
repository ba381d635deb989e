"""From what the venue says of an account, by channel and by read, to the messages of `kmm:account:{id}`."""

from __future__ import annotations

from feed import schema
from feed.kalshi import events
from feed.kalshi.wire import orders as order_wire
from feed.kalshi.wire import portfolio as wire

MS_US = 1_000
TRIGGERED = {"triggered": True, "created": False, "reset": False}


def told_order(event: events.OrderEvent, now_us: int) -> schema.AccountOrder:
    """Return an order as the channel tells it."""
    return schema.AccountOrder(
        order_id=event.order_id,
        client_order_id=event.client_order_id,
        ticker=event.ticker,
        side=event.side,
        yes_price_cc=event.yes_price_cc,
        initial_cx=event.initial_cx,
        filled_cx=event.filled_cx,
        remaining_cx=event.remaining_cx,
        status=event.status,
        reason=event.reason,
        group_id=event.group_id,
        exchange_index=event.exchange_index,
        subaccount=event.subaccount or 0,
        expires_us=None if event.expires_ms is None else event.expires_ms * MS_US,
        time_us=first_us(event.updated_ms, event.sending_ms, event.created_ms, now_us=now_us),
        is_external=False,
        is_complete=False,
    )


def read_order(order: wire.Order) -> schema.AccountOrder:
    """Return an order as a read shows it."""
    return schema.AccountOrder(
        order_id=order.order_id,
        client_order_id=order.client_order_id or "",
        ticker=order.ticker,
        side=order.outcome_side,
        yes_price_cc=order.yes_price_cc,
        initial_cx=order.initial_count_cx,
        filled_cx=order.fill_count_cx,
        remaining_cx=order.remaining_count_cx,
        status=order.status,
        reason="",
        group_id=order.order_group_id or "",
        exchange_index=order.exchange_index,
        subaccount=order.subaccount or 0,
        expires_us=order.expiration_us,
        time_us=order.last_update_us or order.created_us or 0,
        is_external=False,
        is_complete=False,
    )


def told_fill(event: events.FillEvent, now_us: int) -> schema.AccountFill:
    """Return a fill as the channel tells it."""
    return schema.AccountFill(
        order_id=event.order_id,
        trade_id=event.trade_id,
        client_order_id=event.client_order_id,
        ticker=event.ticker,
        side=event.side,
        yes_price_cc=event.yes_price_cc,
        count_cx=event.count_cx,
        is_taker=event.is_taker,
        fee_ud=event.fee_ud,
        exchange_index=event.exchange_index,
        subaccount=event.subaccount or 0,
        time_us=first_us(event.time_ms, event.sending_ms, now_us=now_us),
        is_external=None,
    )


def read_fill(fill: wire.Fill) -> schema.AccountFill:
    """Return a fill as a read lists it: without our client order id."""
    return schema.AccountFill(
        order_id=fill.order_id,
        trade_id=fill.trade_id,
        client_order_id="",
        ticker=fill.ticker,
        side=fill.outcome_side,
        yes_price_cc=fill.yes_price_cc,
        count_cx=fill.count_cx,
        is_taker=fill.is_taker,
        fee_ud=fill.fee_ud,
        exchange_index=fill.exchange_index,
        subaccount=fill.subaccount or 0,
        time_us=fill.created_us or fill.second_us or 0,
        is_external=None,
    )


def read_position(row: wire.MarketPosition, subaccount: int) -> tuple[schema.AccountPosition, int | None]:
    """Return a position and when the venue last changed it."""
    position = schema.AccountPosition(
        ticker=row.ticker,
        subaccount=subaccount,
        position_cx=row.position_cx,
        cost_ud=row.exposure_ud,
        realized_ud=row.realized_pnl_ud,
        fees_ud=row.fees_paid_ud,
        is_agreed=True,
    )
    return position, row.last_updated_us


def read_settlement(row: wire.Settlement, subaccount: int) -> schema.AccountSettlement:
    """Return a settlement; the venue's rows do not name their subaccount, so the read asks for each alone."""
    return schema.AccountSettlement(
        ticker=row.ticker,
        result=row.market_result,
        yes_cx=row.yes_count_cx,
        yes_cost_ud=row.yes_total_cost_ud,
        no_cx=row.no_count_cx,
        no_cost_ud=row.no_total_cost_ud,
        revenue_ud=row.revenue_ud,
        fee_ud=row.fee_ud,
        value_cc=row.value_cc,
        settled_us=row.settled_us,
        subaccount=subaccount,
    )


def read_balance(balance: wire.Balance, numbered: list[tuple[int, int, int]]) -> schema.AccountBalance:
    return schema.AccountBalance(balance.balance_ud, read_shards(balance), numbered)


def read_shards(balance: wire.Balance) -> list[tuple[int, int]]:
    """Return cash as (shard, micro-dollars)."""
    return sorted((shard.exchange_index, shard.balance_ud) for shard in balance.by_shard)


def told_group(event: events.GroupEvent) -> schema.AccountGroup:
    return schema.AccountGroup(event.group_id, event.event_type, event.limit_cx, TRIGGERED.get(event.event_type), None)


def read_group(group: order_wire.GroupListed) -> schema.AccountGroup:
    # Whether a trigger shows in `is_auto_cancel_enabled` is not documented: only the channel tells of one.
    return schema.AccountGroup(group.id, "listed", group.contracts_limit_cx, None, group.exchange_index)


def first_us(*times_ms: int | None, now_us: int) -> int:
    """Return the first time that the venue said, else when the message came."""
    return next((time_ms * MS_US for time_ms in times_ms if time_ms is not None), now_us)
