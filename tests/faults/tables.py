"""What the writer stored, as the same keys that the exchange's frames have."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg

from tests.faults.truth import Key

MICROSECONDS = "(extract(epoch from {}.time) * 1000000)::bigint"
DELTAS = f"""
SELECT c.identity, m.ticker, d.seq, {MICROSECONDS.format("d")}, d.side, d.price_cc, d.delta_cx
FROM markets_book_delta d JOIN markets_marketkey m ON m.id = d.market JOIN feed_connection c ON c.id = d.conn
WHERE d.time >= %s
"""
SNAPSHOTS = f"""
SELECT c.identity, s.is_ours, m.ticker, s.seq, {MICROSECONDS.format("s")}, s.yes_price_cc, s.yes_count_cx,
    s.no_price_cc, s.no_count_cx
FROM markets_book_snapshot s JOIN markets_marketkey m ON m.id = s.market JOIN feed_connection c ON c.id = s.conn
WHERE s.time >= %s
"""
TRADES = f"""
SELECT m.ticker, t.trade_id, {MICROSECONDS.format("t")}, t.yes_price_cc, t.count_cx, t.taker_side
FROM markets_trade t JOIN markets_marketkey m ON m.id = t.market
WHERE t.time >= %s
"""
TICKERS = f"""
SELECT c.identity, m.ticker, {MICROSECONDS.format("t")}, t.yes_bid_cx, t.yes_ask_cx, t.volume_cx, t.open_interest_cx
FROM markets_ticker t JOIN markets_marketkey m ON m.id = t.market JOIN feed_connection c ON c.id = t.conn
WHERE t.time >= %s
"""
GAPS = f"""
SELECT coalesce(c.identity, 0), {MICROSECONDS.format("g")}, g.ticker, g.reason, g.sid, g.expected, g.received
FROM feed_feedgap g LEFT JOIN feed_connection c ON c.id = g.connection_id
WHERE g.time >= %s ORDER BY g.time, g.id
"""
MALFORMED = f"""
SELECT coalesce(c.identity, 0), {MICROSECONDS.format("f")}, f.reason, f.frame FROM feed_malformedframe f
LEFT JOIN feed_connection c ON c.id = f.connection_id
WHERE f.time >= %s
"""


class GapRow(msgspec.Struct, frozen=True):
    """A stored gap; `conn` 0 is a gap of a whole stream."""

    conn: int
    time_us: int
    ticker: str
    reason: str
    sid: int
    expected: int
    received: int


class MalformedRow(msgspec.Struct, frozen=True):
    conn: int
    time_us: int
    reason: str
    frame: bytes

    @property
    def place(self) -> tuple[int, int] | None:
        """Return sid and number of the frame where it can be read so far."""
        try:
            head = json.loads(self.frame)
        except ValueError:
            return None
        found = (head.get("sid"), head.get("seq")) if isinstance(head, dict) else (None, None)
        return found if all(isinstance(part, int) for part in found) else None  # type: ignore[return-value]


class OwnSnapshot(msgspec.Struct, frozen=True):
    """A book that the gateway wrote from its own, with the last number it contains."""

    conn: int
    ticker: str
    seq: int
    levels: tuple[dict[int, int], dict[int, int]]


class Tables:
    """One look at the database: rows by connection identity, prints (which belong to none), gaps, malformed frames.

    Args:
        since_us: What is older, by the rows' own time, is left out.
    """

    def __init__(self, database_url: str, *, since_us: int = 0) -> None:
        self._since = (datetime.fromtimestamp(since_us / 1_000_000, tz=UTC),)
        self.rows: defaultdict[int, set[Key]] = defaultdict(set)
        self.own: list[OwnSnapshot] = []
        with psycopg.connect(database_url) as connection:
            self._read_rows(connection)
            self.trades: set[Key] = {("trade", *row) for row in connection.execute(TRADES, self._since)}
            self.gaps = [GapRow(*row) for row in connection.execute(GAPS, self._since)]
            self.malformed = [
                MalformedRow(conn, time_us, reason, bytes(frame))
                for conn, time_us, reason, frame in connection.execute(MALFORMED, self._since)
            ]

    def _read_rows(self, connection: psycopg.Connection[Any]) -> None:
        for conn, *rest in connection.execute(DELTAS, self._since):
            self.rows[conn].add(("delta", *rest))
        for conn, is_ours, ticker, seq, time_us, *sides in connection.execute(SNAPSHOTS, self._since):
            yes, no = (tuple(sorted(zip(sides[i], sides[i + 1], strict=True))) for i in (0, 2))
            if is_ours:
                self.own.append(OwnSnapshot(conn, ticker, seq, (dict(yes), dict(no))))
            else:
                self.rows[conn].add(("snapshot", ticker, seq, time_us, yes, no))
        for conn, *rest in connection.execute(TICKERS, self._since):
            self.rows[conn].add(("ticker", *rest))


def gaps_since(database_url: str, since_us: int) -> list[GapRow]:
    """Return the stored gaps from a time on, in order."""
    since = (datetime.fromtimestamp(since_us / 1_000_000, tz=UTC),)
    with psycopg.connect(database_url) as connection:
        return [GapRow(*row) for row in connection.execute(GAPS, since)]
