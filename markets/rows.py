"""Rows of the history tables as the values of `markets.core.tape`, read a batch at a time by their keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from kalshimm.errors import KalshimmError
from markets.core.tape import Delta, Gap, Snapshot, Ticker, Trade

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BATCH_ROWS = 5_000

Row = tuple[Any, ...]


class Kind(msgspec.Struct, frozen=True):
    """A table of events: `key` orders its rows and begins with their time; it is selected first."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


SNAPSHOTS = Kind(
    "markets_book_snapshot",
    ("time", "market", "conn", "seq"),
    ("yes_price_cc", "yes_count_cx", "no_price_cc", "no_count_cx", "is_ours"),
)
DELTAS = Kind("markets_book_delta", ("time", "market", "conn", "seq"), ("side", "price_cc", "delta_cx"))
TRADES = Kind("markets_trade", ("time", "market", "trade_id"), ("yes_price_cc", "count_cx", "taker_side", "is_block"))
TICKERS = Kind(
    "markets_ticker",
    ("time", "market", "conn", "digest"),
    (
        "last_yes_price_cc", "yes_bid_cc", "yes_ask_cc", "yes_bid_cx", "yes_ask_cx", "last_count_cx", "volume_cx",
        "open_interest_cx",
    ),
)  # fmt: skip
GAPS = Kind("feed_feedgap", ("time", "id"), ("connection_id", "ticker", "reason", "expected", "received", "sid"))


def batches(kind: Kind, since: datetime, until: datetime, *, which: str, values: dict[str, Any]) -> Iterator[list[Row]]:
    """Yield the rows in `since` ≤ time < `until` that satisfy `which`, ordered by their key, some thousands at a time.

    Each batch begins behind the last key of the one before: no cursor and no transaction stay open in between.

    Args:
        which: A condition with its values named as in `values`: `market = %(market)s`.
    """
    key = ", ".join(kind.key)
    select = f"SELECT {', '.join((*kind.key, *kind.columns))} FROM {kind.table} WHERE {which}"  # noqa: S608
    begin = f"{select} AND time >= %(since)s AND time < %(until)s ORDER BY {key} LIMIT {BATCH_ROWS}"
    go_on = f"{select} AND ({key}) > ({_placeholders(kind)}) AND time < %(until)s ORDER BY {key} LIMIT {BATCH_ROWS}"
    statement, values = begin, values | {"since": since, "until": until}
    while rows := every(statement, values):
        yield rows
        if len(rows) < BATCH_ROWS:
            return
        statement, values = go_on, values | {f"last_{name}": v for name, v in zip(kind.key, rows[-1], strict=False)}


def _placeholders(kind: Kind) -> str:
    return ", ".join(f"%(last_{name})s" for name in kind.key)


@contextmanager
def one_view(*, most_ms: int) -> Iterator[None]:
    """Let the statements of the block see the tables as of one moment, and take no longer than `most_ms` each.

    Whoever is in a transaction already keeps the view it gives.

    Raises:
        KalshimmError: A statement took longer.
    """
    is_outermost = not connection.in_atomic_block
    try:
        with transaction.atomic(using=connection.alias):
            with connection.cursor() as cursor:
                if is_outermost:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", (str(most_ms),))
            yield
    except OperationalError as exc:
        if not isinstance(exc.__cause__, QueryCanceled):
            raise
        raise KalshimmError(f"History was not read within {most_ms / 1_000:g} s; is the database busy?") from exc


class Identities:
    """The 63-bit identities of connections by their small numbers, read when a number is first met."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def __getitem__(self, number: int) -> int:
        if number not in self._known:
            self._known |= dict(every("SELECT id, identity FROM feed_connection", ()))
        return self._known[number]

    def find(self, number: int | None) -> int | None:
        return None if number is None else self[number]


def snapshot(row: Row, identities: Identities) -> Snapshot:
    time, _, conn, seq, yes_cc, yes_cx, no_cc, no_cx, is_ours = row
    yes, no = (tuple(zip(*side, strict=True)) for side in ((yes_cc, yes_cx), (no_cc, no_cx)))
    return Snapshot(to_us(time), identities[conn], seq, yes, no, is_ours)


def delta(row: Row, identities: Identities) -> Delta:
    time, _, conn, seq, side, price_cc, delta_cx = row
    return Delta(to_us(time), identities[conn], seq, side, price_cc, delta_cx)


def trade(row: Row, _: Identities) -> Trade:
    return Trade(to_us(row[0]), *row[2:])


def ticker(row: Row, identities: Identities) -> Ticker:
    return Ticker(to_us(row[0]), identities[row[2]], *row[4:])


def gap(row: Row, identities: Identities) -> Gap:
    return Gap(to_us(row[0]), identities.find(row[2]), *row[3:])


def require_aware(name: str, time: datetime) -> None:
    """Raise ValueError, naming the argument, for a time without a time zone."""
    if time.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, for example datetime(…, tzinfo=UTC)")


def to_time(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def to_us(time: datetime) -> int:
    return (time - EPOCH) // MICROSECOND


def market_number(name: str) -> int | None:
    """Return a market's small number in the history tables, None for one they never heard of."""
    row = one("SELECT id FROM markets_marketkey WHERE ticker = %s", (name,))
    return None if row is None else row[0]


def one(statement: str, values: Any) -> Row | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: Row | None = cursor.fetchone()
        return row


def every(statement: str, values: Any) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[Row] = cursor.fetchall()
        return rows
