"""History as it is read: a book as it was at a moment, and everything that happened to a market in order.

Every statement finds its rows by the primary key, whose first column is time: it reads the minutes it needs, never a
whole day. What the rows mean together is decided by values alone, in `markets.core`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db import connection

from markets.core.book import OrderBook
from markets.core.rebuild import before, contained, rebuild, spoiling
from markets.core.tape import CONNECTION_BEGAN, Delta, Gap, Snapshot

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How far the times of one connection's events may step back, or its receiver's clock be off the exchange's.
SLACK_US = 5_000_000

MARKET = "SELECT id FROM markets_marketkey WHERE ticker = %s"
LAST_SNAPSHOT = """
SELECT s.time, c.identity, s.seq, s.yes_price_cc, s.yes_count_cx, s.no_price_cc, s.no_count_cx, s.conn
FROM markets_book_snapshot s JOIN feed_connection c ON c.id = s.conn
WHERE s.market = %(market)s AND s.time <= %(until)s
ORDER BY s.time DESC, s.conn DESC, s.seq DESC LIMIT 1
"""
DELTAS_AFTER = """
SELECT time, seq, side, price_cc, delta_cx FROM markets_book_delta
WHERE time >= %(since)s AND time <= %(until)s AND market = %(market)s AND conn = %(conn)s AND seq > %(seq)s
ORDER BY seq
"""
# Another connection's rows say nothing but that ours is over.
GAPS_AFTER = """
SELECT g.time, c.identity, g.ticker, g.reason, g.expected, g.received
FROM feed_feedgap g LEFT JOIN feed_connection c ON c.id = g.connection_id
WHERE g.time >= %(since)s AND g.time <= %(until)s AND g.ticker IN ('', %(ticker)s)
  AND (g.connection_id = %(conn)s OR g.connection_id IS NULL OR g.reason = %(began)s)
ORDER BY g.time, g.id
"""
NEXT_BEGINNING = """
SELECT time FROM feed_feedgap WHERE time > %(until)s AND reason = %(began)s AND connection_id <> %(conn)s
ORDER BY time LIMIT 1
"""
# A connection that ended in order left a gap row; one that was killed left nothing behind its last event.
SIGNS_OF_LIFE = (
    "SELECT 1 FROM feed_feedgap WHERE time >= %(since)s AND time <= %(until)s AND connection_id = %(conn)s LIMIT 1",
    *(
        f"SELECT 1 FROM {table} WHERE time >= %(since)s AND time <= %(until)s AND conn = %(conn)s LIMIT 1"  # noqa: S608
        for table in ("markets_book_delta", "markets_ticker", "markets_book_snapshot")
    ),
)
ENDED_UNSEEN = "the connection had ended; nothing came from it any more"


class BookAt(msgspec.Struct, frozen=True):
    """A market's book at a moment.

    `book` is None when history holds none. It is believed only when `is_valid`; else `reason` says why not, and the
    book is the last one that can be told. `as_of`, `conn` and `seq` are of the last event it contains.
    """

    ticker: str
    time: datetime
    book: OrderBook | None
    is_valid: bool
    reason: str = ""
    as_of: datetime | None = None
    conn: int | None = None
    seq: int | None = None


def book_at(ticker: str, time: datetime) -> BookAt:
    """Return the book of a market as it was at `time`, rebuilt from its last snapshot and the deltas behind it.

    It contains the events of its connection up to the last one that is not later than `time`; whoever goes on with
    `tape(ticker, time, …)` skips the events of that connection up to `seq`.

    Args:
        time: Aware; exchange time.

    Raises:
        ValueError: `time` has no time zone.
    """
    require_aware("time", time)
    market = _one(MARKET, (ticker,))
    if market is None:
        return BookAt(ticker, time, None, is_valid=False, reason="history knows no such market")
    row = _one(LAST_SNAPSHOT, {"market": market[0], "until": time})
    if row is None:
        return BookAt(ticker, time, None, is_valid=False, reason="there is no snapshot before")
    snapshot, conn = snapshot_of(row), row[7]
    return _rebuilt(ticker, time, snapshot, market=market[0], conn=conn)


def _rebuilt(ticker: str, time: datetime, snapshot: Snapshot, *, market: int, conn: int) -> BookAt:
    until_us, slack = to_us(time), timedelta(microseconds=SLACK_US)
    since = to_time(snapshot.time_us) - slack
    where: dict[str, Any] = {"ticker": ticker, "market": market, "conn": conn, "seq": snapshot.seq}
    where |= {"since": since, "until": time + slack, "began": CONNECTION_BEGAN}
    gaps = [gap_of(found) for found in _all(GAPS_AFTER, where)]
    where["since"] = max([since, *(to_time(us) for us in _numbering_began_us(gaps, snapshot))])
    deltas = contained([delta_of(found, snapshot.conn) for found in _all(DELTAS_AFTER, where)], until_us)
    last_seq = deltas[-1].seq if deltas else snapshot.seq
    gap = spoiling(snapshot, gaps, last_seq=last_seq, until_us=until_us)
    if gap is not None:
        deltas = list(before(deltas, gap))
    rebuilt = rebuild(snapshot, deltas, until_us=until_us)
    reason = gap.reason if gap is not None else rebuilt.reason
    if not reason and _ended_unseen(time, conn):
        reason = ENDED_UNSEEN
    as_of = to_time(rebuilt.time_us)
    return BookAt(ticker, time, rebuilt.book, not reason, reason, as_of, snapshot.conn, rebuilt.seq)


def _numbering_began_us(gaps: list[Gap], snapshot: Snapshot) -> list[int]:
    """Return when a lost subscription of the connection ended before the snapshot: the next one counts anew."""
    return [
        gap.time_us
        for gap in gaps
        if gap.conn == snapshot.conn and not (gap.ticker or gap.received) and gap.time_us <= snapshot.time_us
    ]


def _ended_unseen(time: datetime, conn: int) -> bool:
    """Whether another connection began after `time` and this one gave no sign of life in between."""
    beginning = _one(NEXT_BEGINNING, {"until": time, "began": CONNECTION_BEGAN, "conn": conn})
    if beginning is None:
        return False
    where = {"since": time, "until": beginning[0], "conn": conn}
    return all(_one(statement, where) is None for statement in SIGNS_OF_LIFE)


def require_aware(name: str, time: datetime) -> None:
    """Raise ValueError, naming the argument, for a time without a time zone."""
    if time.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, for example datetime(…, tzinfo=UTC)")


def to_time(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)


def to_us(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def snapshot_of(row: tuple[Any, ...]) -> Snapshot:
    """Return a row (time, identity, seq, yes prices, yes counts, no prices, no counts …) as a snapshot."""
    time, identity, seq, *levels = row[:7]
    yes, no = (tuple(zip(*side, strict=True)) for side in (levels[:2], levels[2:]))
    return Snapshot(to_us(time), identity, seq, yes, no)


def delta_of(row: tuple[Any, ...], identity: int) -> Delta:
    """Return a row (time, seq, side, price, delta) of one connection as a delta."""
    return Delta(to_us(row[0]), identity, *row[1:])


def gap_of(row: tuple[Any, ...]) -> Gap:
    """Return a row (time, identity, ticker, reason, expected, received) as a gap."""
    return Gap(to_us(row[0]), *row[1:])


def _one(statement: str, values: Any) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _all(statement: str, values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
