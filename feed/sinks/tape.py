"""The tape: deltas, snapshots, tickers, trades, gaps and malformed frames into their tables."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from feed import schema
from feed.sinks.base import Entry
from kalshimm.runtime.database import AsyncConnection, Table, copy_new

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

DELTAS = Table(
    "markets_book_delta",
    ("time", "market", "conn", "seq", "side", "time_source", "price_cc", "delta_cx"),
    ("timestamptz", "int4", "int4", "int8", "int2", "int2", "int4", "int8"),
)
SNAPSHOTS = Table(
    "markets_book_snapshot",
    ("time", "market", "conn", "seq", "time_source", "yes_price_cc", "yes_count_cx", "no_price_cc", "no_count_cx"),
    ("timestamptz", "int4", "int4", "int8", "int2", "int4[]", "int8[]", "int4[]", "int8[]"),
)
TICKERS = Table(
    "markets_ticker",
    (
        "time", "market", "conn", "digest", "time_source", "last_yes_price_cc", "yes_bid_cc", "yes_ask_cc",
        "yes_bid_cx", "yes_ask_cx", "last_count_cx", "volume_cx", "open_interest_cx",
    ),
    ("timestamptz", "int4", "int4", "int8", "int2", "int4", "int4", "int4", "int8", "int8", "int8", "int8", "int8"),
)  # fmt: skip
TRADES = Table(
    "markets_trade",
    ("time", "market", "trade_id", "time_source", "yes_price_cc", "count_cx", "taker_side", "is_block"),
    ("timestamptz", "int4", "varchar", "int2", "int4", "int8", "int2", "bool"),
)
GAPS = Table(
    "feed_feedgap",
    ("time", "ticker", "connection_id", "reason", "sid", "expected", "received"),
    ("timestamptz", "varchar", "int4", "varchar", "int4", "int8", "int8"),
)
MALFORMED = Table(
    "feed_malformedframe",
    ("time", "connection_id", "reason", "frame", "digest"),
    ("timestamptz", "int4", "text", "bytea", "int8"),
)
REASON_CHARS = 200


def to_time(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)


def digest63(data: bytes) -> int:
    """Return 63 bits over `data`, the same in every process."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1


class Dictionary:
    """Small numbers for long names, filled in the transaction that first uses them."""

    def __init__(self, table: str, column: str, kind: str) -> None:
        self._select = f"SELECT {column}, id FROM {table} WHERE {column} = ANY(%s::{kind}[])"  # noqa: S608
        self._insert = (
            f"INSERT INTO {table} ({column}) SELECT unnest(%s::{kind}[]) ON CONFLICT DO NOTHING RETURNING {column}, id"
        )
        self._known: dict[Any, int] = {}
        self._fresh: dict[Any, int] = {}

    async def resolve(self, connection: AsyncConnection, names: set[Any]) -> dict[Any, int]:
        """Return the number of each name, making those that are missing."""
        for statement in (self._select, self._insert, self._select):
            missing = sorted(names - self._known.keys() - self._fresh.keys())
            if not missing:
                break
            cursor = await connection.execute(statement, (missing,))
            self._fresh.update(dict(await cursor.fetchall()))
        return self._known | self._fresh

    def committed(self) -> None:
        self._known |= self._fresh
        self._fresh = {}

    def rolled_back(self) -> None:
        self._fresh = {}


class _Rows(msgspec.Struct, frozen=True):
    conn: int
    rows: list[schema.TapeRow]


class TapeSink:
    """Market data of one tape stream."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self._markets = Dictionary("markets_marketkey", "ticker", "varchar")
        self._connections = Dictionary("feed_connection", "identity", "int8")

    async def load(self, connection: AsyncConnection) -> None:
        """Nothing is known before it is asked for."""

    def decode(self, entry: Entry) -> Sequence[_Rows]:
        decoded = schema.decode_tape(entry.payload)
        if decoded.version != schema.VERSION:
            raise ValueError(f"tape version {decoded.version}, expected {schema.VERSION}")
        return (_Rows(decoded.conn, decoded.rows),)

    async def store(self, connection: AsyncConnection, rows: list[Any]) -> Counter[str]:
        entries: list[_Rows] = rows
        tickers = {row.ticker for entry in entries for row in entry.rows if row.ticker}
        markets = await self._markets.resolve(connection, tickers)
        connections = await self._connections.resolve(connection, {entry.conn for entry in entries})
        by_kind: defaultdict[type, list[tuple[Any, ...]]] = defaultdict(list)
        for entry in entries:
            conn = connections[entry.conn]
            for row in entry.rows:
                make = _MAKE.get(type(row))
                if make is not None:
                    by_kind[type(row)].append(make(row, markets.get(row.ticker, 0), conn))
        stored: Counter[str] = Counter()
        for kind, (name, table) in _TABLES.items():
            if by_kind[kind]:
                stored[name] += await copy_new(connection, table, by_kind[kind])
        return stored

    def committed(self) -> None:
        self._markets.committed()
        self._connections.committed()

    def rolled_back(self) -> None:
        self._markets.rolled_back()
        self._connections.rolled_back()


def _delta(r: schema.DeltaRow, market: int, conn: int) -> tuple[Any, ...]:
    return (to_time(r.time_us), market, conn, r.seq, r.side, r.source, r.price_cc, r.delta_cx)


def _snapshot(r: schema.SnapshotRow, market: int, conn: int) -> tuple[Any, ...]:
    sides = [list(values) for levels in (r.yes, r.no) for values in (zip(*levels, strict=True) if levels else ((), ()))]
    return (to_time(r.time_us), market, conn, r.seq, r.source, *sides)


def _ticker(r: schema.TickerRow, market: int, conn: int) -> tuple[Any, ...]:
    return (
        to_time(r.time_us), market, conn, r.digest, r.source, r.last_yes_price_cc, r.yes_bid_cc, r.yes_ask_cc,
        r.yes_bid_cx, r.yes_ask_cx, r.last_count_cx, r.volume_cx, r.open_interest_cx,
    )  # fmt: skip


def _trade(r: schema.TradeRow, market: int, _conn: int) -> tuple[Any, ...]:
    return (to_time(r.time_us), market, r.trade_id, r.source, r.yes_price_cc, r.count_cx, r.taker_side, r.is_block)


def _gap(r: schema.GapRow, _market: int, conn: int) -> tuple[Any, ...]:
    return (to_time(r.time_us), r.ticker, conn, r.reason[:REASON_CHARS], r.sid, r.expected, r.received)


def _malformed(r: schema.MalformedRow, _market: int, conn: int) -> tuple[Any, ...]:
    return (to_time(r.time_us), conn, r.reason.replace("\x00", "\\0"), r.frame, digest63(r.frame))


# Lifecycle rows have no table: the catalogue, read from REST, holds what they say.
_MAKE: dict[type, Callable[[Any, int, int], tuple[Any, ...]]] = {
    schema.DeltaRow: _delta,
    schema.SnapshotRow: _snapshot,
    schema.TickerRow: _ticker,
    schema.TradeRow: _trade,
    schema.GapRow: _gap,
    schema.MalformedRow: _malformed,
}
_TABLES: dict[type, tuple[str, Table]] = {
    schema.DeltaRow: ("deltas", DELTAS),
    schema.SnapshotRow: ("snapshots", SNAPSHOTS),
    schema.TickerRow: ("tickers", TICKERS),
    schema.TradeRow: ("trades", TRADES),
    schema.GapRow: ("gaps", GAPS),
    schema.MalformedRow: ("malformed", MALFORMED),
}


def gap_row(time_us: int, reason: str) -> Iterable[Any]:
    """Return the values of a gap that belongs to a stream, not to a connection."""
    return (to_time(time_us), "", None, reason[:REASON_CHARS], 0, 0, 0)
