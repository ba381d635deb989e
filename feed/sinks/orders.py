"""Orders and fills: one row each, wherever the word comes from.

A trader's journal knows whose an order is, why, and what was refused before it had an id; the account's stream knows
what the venue says. They meet on (account, client order id), or on the venue's order id where a person's order has no
other, in any order of arrival:

    journal   sets trader and mode, and the state too, as long as the account has not told of the order;
              a line with a lower number than the one stored changes nothing
    account   sets the state; a complete order is never taken for an open one again, and of two open or two complete
              states the venue's later one stays (in milliseconds: its channel says no more);
              the time of a fill is the venue's: a trader's clock may be wrong
"""

from __future__ import annotations

from typing import Any

from feed import schema
from feed.sinks.base import to_time
from markets.core.units import DOLLAR_CC, Side

LIVE = "live"

BY_CLIENT_ID = "(account, client_order_id) WHERE client_order_id <> ''"
BY_ORDER_ID = "(account, order_id) WHERE client_order_id = ''"

UPSERT_ORDER_NOTED = f"""
INSERT INTO traders_order AS known (account, client_order_id, order_id, trader_id, ticker, mode, side, price_cc,
    placed_cx, filled_cx, remaining_cx, status, reason, created_at, updated_at, journal_number)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT {BY_CLIENT_ID} DO UPDATE SET
    trader_id = excluded.trader_id, mode = excluded.mode, journal_number = excluded.journal_number,
    order_id = CASE WHEN excluded.order_id <> '' THEN excluded.order_id ELSE known.order_id END,
    created_at = least(known.created_at, excluded.created_at),
    updated_at = greatest(known.updated_at, excluded.updated_at),
    reason = CASE WHEN excluded.reason <> '' THEN excluded.reason ELSE known.reason END,
    placed_cx = CASE WHEN known.told_at IS NULL THEN excluded.placed_cx ELSE known.placed_cx END,
    filled_cx = CASE WHEN known.told_at IS NULL THEN excluded.filled_cx ELSE known.filled_cx END,
    remaining_cx = CASE WHEN known.told_at IS NULL THEN excluded.remaining_cx ELSE known.remaining_cx END,
    price_cc = CASE WHEN known.told_at IS NULL THEN excluded.price_cc ELSE known.price_cc END,
    status = CASE WHEN known.told_at IS NULL THEN excluded.status ELSE known.status END
WHERE known.journal_number < excluded.journal_number
"""  # noqa: S608 - names of this module

INSERT_FILL_NOTED = """
INSERT INTO traders_fill AS known (account, order_id, trade_id, client_order_id, trader_id, ticker, mode, side,
    price_cc, count_cx, is_taker, fee_ud, position_cx, inferred, time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, order_id, trade_id) DO UPDATE SET
    trader_id = excluded.trader_id, client_order_id = excluded.client_order_id, inferred = excluded.inferred,
    position_cx = excluded.position_cx, fee_ud = coalesce(known.fee_ud, excluded.fee_ud)
WHERE known.position_cx IS NULL
"""

_UPSERT_ORDER_TOLD = """
INSERT INTO traders_order AS known (account, client_order_id, order_id, ticker, mode, side, price_cc, placed_cx,
    filled_cx, remaining_cx, status, reason, created_at, updated_at, journal_number, venue_time, is_complete,
    is_external, group_id, exchange_index, subaccount, expires_at, told_at)
VALUES (%s, %s, %s, %s, 'live', %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT {key} DO UPDATE SET
    order_id = excluded.order_id, side = excluded.side, price_cc = excluded.price_cc, placed_cx = excluded.placed_cx,
    filled_cx = greatest(known.filled_cx, excluded.filled_cx), remaining_cx = excluded.remaining_cx,
    status = excluded.status, reason = CASE WHEN excluded.reason <> '' THEN excluded.reason ELSE known.reason END,
    created_at = least(known.created_at, excluded.created_at),
    updated_at = greatest(known.updated_at, excluded.updated_at),
    venue_time = coalesce(excluded.venue_time, known.venue_time), is_complete = excluded.is_complete,
    is_external = excluded.is_external,
    group_id = CASE WHEN excluded.group_id <> '' THEN excluded.group_id ELSE known.group_id END,
    exchange_index = coalesce(excluded.exchange_index, known.exchange_index), subaccount = excluded.subaccount,
    expires_at = excluded.expires_at, told_at = excluded.told_at
WHERE known.told_at IS NULL OR (known.told_at <= excluded.told_at AND (
    known.status = 'gone'
    OR (excluded.is_complete AND NOT known.is_complete)
    OR (excluded.is_complete = known.is_complete
        AND date_trunc('milliseconds', coalesce(excluded.venue_time, 'epoch'))
            >= date_trunc('milliseconds', coalesce(known.venue_time, 'epoch')))
))
"""

UPSERT_FILL_TOLD = """
INSERT INTO traders_fill AS known (account, order_id, trade_id, client_order_id, ticker, mode, side, price_cc,
    count_cx, is_taker, fee_ud, inferred, time, is_external, exchange_index, subaccount)
VALUES (%s, %s, %s, %s, %s, 'live', %s, %s, %s, %s, %s, false, %s, %s, %s, %s)
ON CONFLICT (account, order_id, trade_id) DO UPDATE SET
    client_order_id = CASE WHEN known.client_order_id = '' THEN excluded.client_order_id ELSE known.client_order_id END,
    fee_ud = coalesce(excluded.fee_ud, known.fee_ud), time = CASE WHEN %s THEN excluded.time ELSE known.time END,
    is_external = coalesce(excluded.is_external, known.is_external),
    exchange_index = coalesce(excluded.exchange_index, known.exchange_index), subaccount = excluded.subaccount
"""

_TOLD_BY_CLIENT_ID = _UPSERT_ORDER_TOLD.format(key=BY_CLIENT_ID)
_TOLD_BY_ORDER_ID = _UPSERT_ORDER_TOLD.format(key=BY_ORDER_ID)


def own_price_cc(side: int, yes_price_cc: int) -> int:
    """Return a Yes price on the side's own ladder."""
    return yes_price_cc if side == Side.YES else DOLLAR_CC - yes_price_cc


def noted_order(line: schema.JournalEntry, body: schema.OrderState) -> tuple[Any, ...]:
    """Return the values of UPSERT_ORDER_NOTED."""
    time = to_time(line.time_us)
    return (
        line.account, body.client_order_id, body.order_id, line.trader, line.ticker, line.mode, body.side,
        body.price_cc, body.placed_cx, body.filled_cx, body.remaining_cx, body.status, body.reason, time, time,
        line.number,
    )  # fmt: skip


def noted_fill(line: schema.JournalEntry, body: schema.FillState) -> tuple[Any, ...]:
    """Return the values of INSERT_FILL_NOTED."""
    return (
        line.account, body.order_id, body.trade_id, body.client_order_id, line.trader, line.ticker, line.mode,
        body.side, body.price_cc, body.count_cx, body.is_taker, body.fee_ud, body.position_cx, body.inferred,
        to_time(body.time_us or line.time_us),
    )  # fmt: skip


def order_statement(order: schema.AccountOrder) -> str:
    """Return the statement that stores an order as the account tells it: by its client order id if it has one."""
    return _TOLD_BY_CLIENT_ID if order.client_order_id else _TOLD_BY_ORDER_ID


def order_values(account: str, order: schema.AccountOrder, told_us: int) -> tuple[Any, ...]:
    """Return the values of `order_statement`."""
    time = to_time(order.time_us or told_us)
    return (
        account, order.client_order_id, order.order_id, order.ticker, order.side,
        own_price_cc(order.side, order.yes_price_cc), order.initial_cx, order.filled_cx, order.remaining_cx,
        order.status, order.reason, time, time, to_time(order.time_us) if order.time_us else None, order.is_complete,
        order.is_external, order.group_id, order.exchange_index, order.subaccount,
        None if order.expires_us is None else to_time(order.expires_us), to_time(told_us),
    )  # fmt: skip


def fill_values(account: str, fill: schema.AccountFill, told_us: int) -> tuple[Any, ...]:
    """Return the values of UPSERT_FILL_TOLD."""
    return (
        account, fill.order_id, fill.trade_id, fill.client_order_id, fill.ticker, fill.side,
        own_price_cc(fill.side, fill.yes_price_cc), fill.count_cx, fill.is_taker, fill.fee_ud,
        to_time(fill.time_us or told_us), fill.is_external, fill.exchange_index, fill.subaccount, fill.time_us > 0,
    )  # fmt: skip
