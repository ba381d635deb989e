"""The tape's tables, and its rows as binary COPY takes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import product
from struct import Struct
from typing import Any

from feed import schema
from kalshimm.runtime.copying import FIRST_US, LAST_US, POSTGRES_EPOCH_US, Table, to_timestamp

DELTAS = Table(
    "markets_book_delta",
    ("time", "market", "conn", "seq", "side", "time_source", "price_cc", "delta_cx"),
    ("int8", "int4", "int4", "int8", "int2", "int2", "int4", "int8"),
)
SNAPSHOTS = Table(
    "markets_book_snapshot",
    (
        "time", "market", "conn", "seq", "time_source", "yes_price_cc", "yes_count_cx", "no_price_cc", "no_count_cx",
        "is_ours",
    ),
    ("int8", "int4", "int4", "int8", "int2", "int4[]", "int8[]", "int4[]", "int8[]", "bool"),
)  # fmt: skip
TICKERS = Table(
    "markets_ticker",
    (
        "time", "market", "conn", "digest", "time_source", "last_yes_price_cc", "yes_bid_cc", "yes_ask_cc",
        "yes_bid_cx", "yes_ask_cx", "last_count_cx", "volume_cx", "open_interest_cx",
    ),
    ("int8", "int4", "int4", "int8", "int2", "int4", "int4", "int4", "int8", "int8", "int8", "int8", "int8"),
)  # fmt: skip
TRADES = Table(
    "markets_trade",
    ("time", "market", "trade_id", "time_source", "yes_price_cc", "count_cx", "taker_side", "is_block"),
    ("int8", "int4", "varchar", "int2", "int4", "int8", "int2", "bool"),
)
GAPS = Table(
    "feed_feedgap",
    ("time", "ticker", "connection_id", "reason", "sid", "expected", "received"),
    ("int8", "varchar", "int4", "varchar", "int4", "int8", "int8"),
)
MALFORMED = Table(
    "feed_malformedframe",
    ("time", "connection_id", "reason", "frame", "digest"),
    ("int8", "int4", "text", "bytea", "int8"),
)
REASON_CHARS = 200

# A delta is packed in one call, and what does not change from row to row is packed once: each value is preceded by
# its length, so runs of lengths and small numbers become constants.
#   columns, length | time | length, market, length, conn, length | seq | lengths, side, source | price | length | delta
_DELTA = Struct(">6sq20sq16siiq").pack
_ROW_HEAD = Struct(">hi").pack(len(DELTAS.columns), 8)
_KEY = Struct(">iiiii").pack
_SIDE_AND_SOURCE: dict[tuple[int, int], bytes] = {
    (side, source): Struct(">ihihi").pack(2, side, 2, source, 4)
    for side, source in product((0, 1), map(int, schema.TimeSource))  # plain numbers: found by identity
}

Words = dict[str, bytes]
Values = tuple[Any, ...]


def delta_key(market: int, conn: int) -> bytes:
    """Return the part of a packed delta that names market and connection."""
    return _KEY(4, market, 4, conn, 8)


def pack_deltas(rows: list[schema.TapeRow], keys: Words, packed: list[bytes]) -> list[schema.TapeRow]:
    """Append the deltas among `rows` to `packed`, each one row of binary COPY; return the other rows.

    Args:
        keys: `delta_key` of each ticker.

    Raises:
        KeyError: A ticker is not among the keys, or a side or time source is none.
        ValueError, struct.error: A value that no column holds.
    """
    # Eight values a call, and nothing else for each row: this is where the writer spends its time.
    deltas = [
        _DELTA(
            _ROW_HEAD, time_us - POSTGRES_EPOCH_US, keys[row.ticker], row.seq, _SIDE_AND_SOURCE[row.side, row.source],
            row.price_cc, 8, row.delta_cx,
        )
        for row in rows
        if type(row) is schema.DeltaRow and FIRST_US <= (time_us := row.time_us) <= LAST_US
    ]  # fmt: skip
    packed += deltas
    if len(deltas) == len(rows):
        return []
    others = [row for row in rows if type(row) is not schema.DeltaRow]
    if len(deltas) + len(others) != len(rows):
        raise ValueError("a delta's time is none of the calendar")
    return others


def digest63(data: bytes) -> int:
    """Return 63 bits over `data`, the same in every process."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") >> 1


def stream_gap(time_us: int, reason: str, *, expected: int = 0, received: int = 0) -> Values:
    """Return the values of a gap that belongs to a stream, not to a connection.

    Args:
        expected, received: Numbers of entries on the stream: what should have come next, and what did.
    """
    return (to_timestamp(time_us), "", None, reason[:REASON_CHARS], 0, expected, received)


def _snapshot(r: schema.SnapshotRow, market: int, conn: int) -> Values:
    sides = [list(values) for levels in (r.yes, r.no) for values in (zip(*levels, strict=True) if levels else ((), ()))]
    return (to_timestamp(r.time_us), market, conn, r.seq, r.source, *sides, r.is_ours)


def _ticker(r: schema.TickerRow, market: int, conn: int) -> Values:
    return (
        to_timestamp(r.time_us), market, conn, r.digest, r.source, r.last_yes_price_cc, r.yes_bid_cc, r.yes_ask_cc,
        r.yes_bid_cx, r.yes_ask_cx, r.last_count_cx, r.volume_cx, r.open_interest_cx,
    )  # fmt: skip


def _trade(r: schema.TradeRow, market: int, _conn: int) -> Values:
    return (to_timestamp(r.time_us), market, r.trade_id, r.source, r.yes_price_cc, r.count_cx, r.taker_side, r.is_block)


def _gap(r: schema.GapRow, _market: int, conn: int) -> Values:
    return (to_timestamp(r.time_us), r.ticker, conn, r.reason[:REASON_CHARS], r.sid, r.expected, r.received)


def _malformed(r: schema.MalformedRow, _market: int, conn: int) -> Values:
    return (to_timestamp(r.time_us), conn, r.reason.replace("\x00", "\\0"), r.frame, digest63(r.frame))


# Lifecycle rows have no table: the catalogue, read from REST, holds what they say.
MAKE: dict[type, Callable[[Any, int, int], Values]] = {
    schema.SnapshotRow: _snapshot,
    schema.TickerRow: _ticker,
    schema.TradeRow: _trade,
    schema.GapRow: _gap,
    schema.MalformedRow: _malformed,
}
TABLES: dict[type, tuple[str, Table]] = {
    schema.SnapshotRow: ("snapshots", SNAPSHOTS),
    schema.TickerRow: ("tickers", TICKERS),
    schema.TradeRow: ("trades", TRADES),
    schema.GapRow: ("gaps", GAPS),
    schema.MalformedRow: ("malformed", MALFORMED),
}
