"""An account's truth, as the desk tells it, into ordinary tables: the latest of everything, fills and settlements once.

    order        one row with what its trader's journal says of it: once the account has told, its word is the state
    fill         one row with the journal's: the venue's fee wins, the trader and its position come from the journal
    everything   the row of its key, replaced by what comes from a later entry of the stream
    whole entry  what it leaves out is over: orders rest no more, positions are flat, groups and queue places are gone

Every statement may be repeated, and an older entry never wins: `told_at` is the place on the stream, as a time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from feed import schema
from feed.sinks.base import Entry, Gathered, to_time
from feed.sinks.orders import UPSERT_FILL_TOLD, fill_values, order_statement, order_values
from kalshimm.runtime.database import AsyncConnection

ALL_SHARDS = -1
LATER = " WHERE {table}.told_at <= excluded.told_at"


def _upsert(table: str, key: tuple[str, ...], columns: tuple[str, ...]) -> str:
    """Return the statement that puts the latest of each key into a table."""
    names = (*key, *columns, "told_at")
    values = ", ".join(["%s"] * len(names))
    sets = ", ".join(f"{name} = excluded.{name}" for name in (*columns, "told_at"))
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values}) "  # noqa: S608 - names of this module
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}" + LATER.format(table=table)
    )


POSITION = _upsert(
    "feed_position",
    ("account", "ticker", "subaccount"),
    ("position_cx", "cost_ud", "realized_ud", "fees_ud", "is_agreed"),
)
QUEUE = _upsert("feed_queueposition", ("account", "order_id"), ("ahead_cx", "as_of"))
BALANCE = _upsert("feed_accountbalance", ("account", "subaccount", "exchange_index"), ("balance_ud",))
GROUP = _upsert("feed_ordergroup", ("account", "group_id"), ("event", "limit_cx", "is_triggered", "exchange_index"))
SETTLEMENT = _upsert(
    "feed_settlement",
    ("account", "ticker", "subaccount"),
    (
        *("result", "yes_cx", "yes_cost_ud", "no_cx", "no_cost_ud"),
        *("revenue_ud", "fee_ud", "value_cc", "settled_at"),
    ),
)
STATE = _upsert("feed_accountstate", ("account",), ("state", "reason", "user_data_at", "attestation_at"))
DIFFERENCE = _upsert("feed_accountdifference", ("account", "kind", "subject", "found_at"), ("detail",))

# What an entry says is all there is: rows that it has not touched say something older.
NO_OTHER_QUEUE = "DELETE FROM feed_queueposition WHERE account = %s AND told_at < %s"
NO_OTHER_BALANCE = "DELETE FROM feed_accountbalance WHERE account = %s AND told_at < %s"
NO_OTHER_GROUP = """
UPDATE feed_ordergroup SET event = 'deleted', told_at = %(told_at)s
WHERE account = %(account)s AND told_at < %(told_at)s AND event <> 'deleted'
"""
NO_OTHER_POSITION = """
UPDATE feed_position SET position_cx = 0, cost_ud = 0, is_agreed = true, told_at = %(told_at)s
WHERE account = %(account)s AND told_at < %(told_at)s AND (position_cx <> 0 OR NOT is_agreed)
"""
# An order that the entry lists may still have a row of an older entry: with a later venue time it was left as it is.
NO_OTHER_ORDER = """
UPDATE traders_order SET is_complete = true, remaining_cx = 0, told_at = %(told_at)s, updated_at = %(told_at)s,
    status = CASE WHEN status = 'resting' THEN 'gone' ELSE status END
WHERE account = %(account)s AND told_at < %(told_at)s AND NOT is_complete AND order_id <> ALL(%(listed)s::text[])
"""
WHOLE = (NO_OTHER_ORDER, NO_OTHER_POSITION, NO_OTHER_GROUP)

COUNTED = {
    POSITION: "positions", QUEUE: "queue positions", BALANCE: "balances", GROUP: "groups", SETTLEMENT: "settlements",
    STATE: "account states", DIFFERENCE: "differences", UPSERT_FILL_TOLD: "fills",
}  # fmt: skip


class AccountSink:
    """One account's stream. Others read it too, and find their way into it by its whole entries: it is not trimmed."""

    is_trimmed = False

    def __init__(self, stream: str) -> None:
        self.stream = stream

    async def load(self, connection: AsyncConnection) -> None:
        """Nothing is remembered."""

    def decode(self, entry: Entry) -> tuple[int, schema.AccountEntry]:
        """Return the entry behind its place on the stream, as microseconds since 1970 by the store's clock."""
        decoded = schema.decode_account(entry.payload)
        if decoded.version != schema.VERSION:
            raise ValueError(f"account version {decoded.version}, expected {schema.VERSION}")
        milliseconds, _, number = entry.id.partition("-")
        return int(milliseconds) * 1_000 + min(int(number), 999), decoded

    def batch(self, connection: AsyncConnection) -> Gathered:
        return Gathered(self, connection)

    async def store(self, connection: AsyncConnection, values: list[Any]) -> Counter[str]:
        stored: Counter[str] = Counter()
        for told_us, entry in values:
            stored += await _store_entry(connection, told_us, entry)
        return stored

    def committed(self) -> None:
        """Nothing is remembered."""

    def rolled_back(self) -> None:
        """Nothing is remembered."""


async def _store_entry(connection: AsyncConnection, told_us: int, entry: schema.AccountEntry) -> Counter[str]:
    told_at = to_time(told_us)
    rows: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for update in entry.updates:
        for statement, values in _statements(entry.account, update, told_us):
            rows[statement].append(values)
    stored: Counter[str] = Counter()
    async with connection.cursor() as cursor:
        for statement, values_list in rows.items():
            await cursor.executemany(statement, values_list)
            stored[COUNTED.get(statement, "orders")] += cursor.rowcount
        kinds = {type(update) for update in entry.updates}
        if schema.AccountQueue in kinds:
            await cursor.execute(NO_OTHER_QUEUE, (entry.account, told_at))
        if schema.AccountBalance in kinds:
            await cursor.execute(NO_OTHER_BALANCE, (entry.account, told_at))
        listed = [update.order_id for update in entry.updates if isinstance(update, schema.AccountOrder)]
        for statement in WHOLE if entry.is_whole else ():
            await cursor.execute(statement, {"account": entry.account, "told_at": told_at, "listed": listed})
    return stored


def _time(time_us: int | None) -> datetime | None:
    return None if time_us is None else to_time(time_us)


def _statements(account: str, update: schema.AccountUpdate, told_us: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Return the statements that store an update, each with its values."""
    told_at = to_time(told_us)
    match update:
        case schema.AccountOrder():
            return [(order_statement(update), order_values(account, update, told_us))]
        case schema.AccountFill():
            return [(UPSERT_FILL_TOLD, fill_values(account, update, told_us))]
        case schema.AccountPosition() as p:
            figures = (p.position_cx, p.cost_ud, p.realized_ud, p.fees_ud, p.is_agreed)
            return [(POSITION, (account, p.ticker, p.subaccount, *figures, told_at))]
        case schema.AccountQueue(ahead=ahead, as_of_us=as_of_us):
            return [(QUEUE, (account, order_id, ahead_cx, to_time(as_of_us), told_at)) for order_id, ahead_cx in ahead]
        case schema.AccountBalance(total_ud=total_ud, by_shard=by_shard, numbered=numbered):
            rows = [(0, ALL_SHARDS, total_ud), *((0, *shard) for shard in by_shard), *numbered]
            return [(BALANCE, (account, *row, told_at)) for row in rows]
        case schema.AccountGroup() as g:
            return [(GROUP, (account, g.group_id, g.event, g.limit_cx, g.is_triggered, g.exchange_index, told_at))]
        case schema.AccountSettlement() as s:
            held = (s.yes_cx, s.yes_cost_ud, s.no_cx, s.no_cost_ud)
            paid = (s.revenue_ud, s.fee_ud, s.value_cc, to_time(s.settled_us))
            return [(SETTLEMENT, (account, s.ticker, s.subaccount, s.result, *held, *paid, told_at))]
        case schema.AccountDifference() as d:
            return [(DIFFERENCE, (account, d.kind, d.subject, to_time(d.found_us), d.detail, told_at))]
        case schema.AccountHealth() as h:
            known = (_time(h.user_data_us), _time(h.attestation_us))
            return [(STATE, (account, h.state, h.reason, *known, told_at))]
