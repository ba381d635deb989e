"""What the database knows of one account: orders, fills and positions."""

from __future__ import annotations

from collections import Counter

import msgspec
import psycopg

from feed.schema import FillState, OrderState, RateSample
from tests.faults.records import Record

ORDERS = """
SELECT order_id, client_order_id, ticker, status, filled_cx, remaining_cx, is_external FROM traders_order
WHERE account = %s AND order_id <> ''
"""
FILLS = """
SELECT order_id, trade_id, ticker, CASE WHEN side = 0 THEN count_cx ELSE -count_cx END FROM traders_fill
WHERE account = %s
"""
POSITIONS = "SELECT ticker, position_cx FROM feed_position WHERE account = %s AND subaccount = 0"

CASH = "SELECT exchange_index, balance_ud FROM feed_accountbalance WHERE account = %s"

SETTLEMENTS = "SELECT ticker, result, revenue_ud FROM feed_settlement WHERE account = %s AND subaccount = 0"

LINES = "SELECT number FROM traders_decision WHERE trader = %s"
MARK = "SELECT number FROM traders_journalmark WHERE trader = %s"
ELSEWHERE = (OrderState, FillState, RateSample)  # lines that have tables of their own


class StoredOrder(msgspec.Struct, frozen=True):
    order_id: str
    client_order_id: str
    ticker: str
    status: str
    filled_cx: int
    remaining_cx: int
    is_external: bool


class Stored:
    """One look at the database."""

    def __init__(self, database_url: str, account: str) -> None:
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(ORDERS, (account,)).fetchall()
            self.orders = {row[0]: StoredOrder(*row) for row in rows}
            fills = connection.execute(FILLS, (account,)).fetchall()
            self.fills = {(order_id, trade_id): (ticker, net_cx) for order_id, trade_id, ticker, net_cx in fills}
            self.positions = dict(connection.execute(POSITIONS, (account,)).fetchall())
            rows = connection.execute(SETTLEMENTS, (account,)).fetchall()
            self.settlements = {ticker: (result, revenue_ud) for ticker, result, revenue_ud in rows}
            self.cash_ud = dict(connection.execute(CASH, (account,)).fetchall())

    @property
    def external(self) -> set[str]:
        """The orders that are listed as not ours."""
        return {order.order_id for order in self.orders.values() if order.is_external}

    def filled_position_cx(self, ticker: str) -> int:
        """Return what all fills of a market come to."""
        return sum(net_cx for found, net_cx in self.fills.values() if found == ticker)


def unstored_lines(database_url: str, trader: int, record: Record, *, since: int = 0) -> list[str]:
    """Return which lines of a trader's journal after `since` the database has not, or has twice."""
    with psycopg.connect(database_url) as connection:
        stored = Counter(number for (number,) in connection.execute(LINES, (trader,)).fetchall())
        mark = connection.execute(MARK, (trader,)).fetchone()
    told = [line for line in record.lines if line.number > since]
    found = [f"line {line.number} is stored {stored[line.number]} times: {line.body}"
             for line in told if not isinstance(line.body, ELSEWHERE) and stored[line.number] != 1]  # fmt: skip
    last = mark[0] if mark else 0
    return found if last >= record.last_number else [f"stored up to {last} of {record.last_number}", *found]
