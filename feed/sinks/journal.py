"""Traders' journals: orders, fills, decisions. Every statement may be repeated: an older line never wins."""

from __future__ import annotations

from collections import Counter
from typing import Any

from psycopg.types.json import Jsonb

from feed import schema
from feed.sinks.base import Entry, Gathered, to_time
from kalshimm.runtime.database import AsyncConnection

UPSERT_ORDER = """
INSERT INTO traders_order (account, client_order_id, order_id, trader_id, ticker, mode, side, price_cc, placed_cx,
    filled_cx, remaining_cx, status, reason, created_at, updated_at, journal_number)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, client_order_id) DO UPDATE SET
    order_id = excluded.order_id, placed_cx = excluded.placed_cx, filled_cx = excluded.filled_cx,
    remaining_cx = excluded.remaining_cx, price_cc = excluded.price_cc, status = excluded.status,
    reason = excluded.reason, updated_at = excluded.updated_at, journal_number = excluded.journal_number
WHERE traders_order.journal_number < excluded.journal_number
"""

INSERT_FILL = """
INSERT INTO traders_fill (account, order_id, trade_id, client_order_id, trader_id, ticker, mode, side, price_cc,
    count_cx, is_taker, fee_ud, position_cx, inferred, time)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, order_id, trade_id) DO NOTHING
"""

INSERT_DECISION = """
INSERT INTO traders_decision (time, trader, number, kind, reason, figures) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

RAISE_MARK = """
INSERT INTO traders_journalmark (trader, number) VALUES (%s, %s)
ON CONFLICT (trader) DO UPDATE SET number = greatest(traders_journalmark.number, excluded.number)
"""


class JournalSink:
    """All traders' journal lines; remembers the highest committed number of each for its acknowledgement."""

    stream = schema.JOURNAL
    is_trimmed = True

    def __init__(self) -> None:
        self.acknowledged: dict[int, int] = {}
        self._fresh: dict[int, int] = {}

    def decode(self, entry: Entry) -> schema.JournalEntry:
        decoded = schema.decode_journal(entry.payload)
        if decoded.version != schema.VERSION:
            raise ValueError(f"journal version {decoded.version}, expected {schema.VERSION}")
        return decoded

    def batch(self, connection: AsyncConnection) -> Gathered:
        return Gathered(self, connection)

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        lines: list[schema.JournalEntry] = values
        groups: dict[str, list[tuple[Any, ...]]] = {UPSERT_ORDER: [], INSERT_FILL: [], INSERT_DECISION: []}
        self._fresh = {}
        for line in lines:
            statement, row = _values(line)
            groups[statement].append(row)
            self._fresh[line.trader] = max(line.number, self._fresh.get(line.trader, 0))
        stored: Counter[str] = Counter()
        async with connection.cursor() as cursor:
            for statement, values_list in groups.items():
                if values_list:
                    await cursor.executemany(statement, values_list)
                    stored[_NAMES[statement]] += cursor.rowcount
            await cursor.executemany(RAISE_MARK, list(self._fresh.items()))
        return stored

    async def load(self, connection: AsyncConnection) -> None:
        """Take over what earlier writers have stored: traders wait for its acknowledgement."""
        cursor = await connection.execute("SELECT trader, number FROM traders_journalmark")
        self.acknowledged = dict(await cursor.fetchall())

    def committed(self) -> None:
        for trader, number in self._fresh.items():
            self.acknowledged[trader] = max(number, self.acknowledged.get(trader, 0))
        self._fresh = {}

    def rolled_back(self) -> None:
        self._fresh = {}


_NAMES = {UPSERT_ORDER: "orders", INSERT_FILL: "fills", INSERT_DECISION: "decisions"}


def _values(line: schema.JournalEntry) -> tuple[str, tuple[Any, ...]]:
    time, body = to_time(line.time_us), line.body
    match body:
        case schema.OrderState():
            return UPSERT_ORDER, (
                line.account, body.client_order_id, body.order_id, line.trader, line.ticker, line.mode, body.side,
                body.price_cc, body.placed_cx, body.filled_cx, body.remaining_cx, body.status, body.reason, time, time,
                line.number,
            )  # fmt: skip
        case schema.FillState():
            return INSERT_FILL, (
                line.account, body.order_id, body.trade_id, body.client_order_id, line.trader, line.ticker, line.mode,
                body.side, body.price_cc, body.count_cx, body.is_taker, body.fee_ud, body.position_cx, body.inferred,
                time,
            )  # fmt: skip
        case schema.Decision():
            figures = Jsonb({**body.figures, "repeats": body.repeats})
            return INSERT_DECISION, (time, line.trader, line.number, "decision", body.reason, figures)
        case schema.StateChange():
            return INSERT_DECISION, (time, line.trader, line.number, body.state, body.reason, Jsonb({}))
        case schema.CommandAnswer():
            kind = "done" if body.is_done else "refused"
            return INSERT_DECISION, (
                time, line.trader, line.number, kind, body.reason, Jsonb({"command": body.command_id}),
            )  # fmt: skip
