"""History as it is read: a book as it was at a moment, and everything that happened to a market in order.

Every statement finds its rows by a key whose first column is time: it walks over every market's rows of the time it
needs. For a book that is back to the market's last snapshot: a minute or two where its book moves, hours where it was
quiet, so the wait for it has an end. What the rows mean together is decided by values alone, in `markets.core`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Any, TypeVar

import msgspec
from django.conf import settings

from markets import rows
from markets.core.book import OrderBook
from markets.core.ordering import BookEvent, in_sequence
from markets.core.rebuild import before, contained, rebuild, spoiling
from markets.core.tape import CONNECTION_BEGAN, Event, Snapshot
from markets.rows import Identities, Kind, Row, every, one, to_time, to_us

T = TypeVar("T", bound=Event)

# How far the times of one connection's events may step back, or its receiver's clock be off the exchange's.
SLACK_US = 5_000_000
# A snapshot is stamped when it was sent, came or was written after a loss, a delta when it happened: on a feed that
# runs late the deltas behind a snapshot are older than it.
LATE_US = 60_000_000
READ_MOST_MS = 30_000

SNAPSHOT_COLUMNS = ", ".join((*rows.SNAPSHOTS.key, *rows.SNAPSHOTS.columns))
DELTA_COLUMNS = ", ".join((*rows.DELTAS.key, *rows.DELTAS.columns))
GAP_COLUMNS = ", ".join((*rows.GAPS.key, *rows.GAPS.columns))
LAST_SNAPSHOT = f"""
SELECT {SNAPSHOT_COLUMNS} FROM markets_book_snapshot WHERE market = %(market)s AND time <= %(until)s
ORDER BY time DESC, conn DESC, seq DESC LIMIT 1
"""  # noqa: S608
DELTAS_AFTER = f"""
SELECT {DELTA_COLUMNS} FROM markets_book_delta
WHERE time >= %(since)s AND time <= %(until)s AND market = %(market)s AND conn = %(conn)s AND seq > %(seq)s
ORDER BY seq
"""  # noqa: S608
# Another connection's rows say nothing but that ours is over.
GAPS_AFTER = f"""
SELECT {GAP_COLUMNS} FROM feed_feedgap
WHERE time >= %(since)s AND time <= %(until)s AND ticker IN ('', %(ticker)s)
  AND (connection_id = %(conn)s OR connection_id IS NULL OR reason = %(began)s)
ORDER BY time, id
"""  # noqa: S608
NEXT_BEGINNING = """
SELECT time FROM feed_feedgap WHERE time > %(until)s AND reason = %(began)s AND connection_id <> %(conn)s
ORDER BY time LIMIT 1
"""
# A connection that ended in order left a gap row; one that was killed left nothing behind its last event. While it
# lives the writer notes up to when all of it is stored, also where nothing happens.
SIGNS_OF_LIFE = (
    "SELECT 1 FROM feed_connection WHERE id = %(conn)s AND stored_until >= %(since)s",
    "SELECT 1 FROM feed_feedgap WHERE time >= %(since)s AND time <= %(until)s AND connection_id = %(conn)s LIMIT 1",
    *(
        f"SELECT 1 FROM {table} WHERE time >= %(since)s AND time <= %(until)s AND conn = %(conn)s LIMIT 1"  # noqa: S608
        for table in ("markets_book_delta", "markets_ticker", "markets_book_snapshot")
    ),
)
# Old deltas are dropped from the oldest on, perhaps before the snapshots: where one from before is there, or the very
# next one, every later one is.
DELTA_NOT_DROPPED = """
SELECT 1 FROM markets_book_delta
WHERE time >= %(since)s AND time <= %(until)s AND conn = %(conn)s AND (time <= %(near)s OR seq = %(next)s) LIMIT 1
"""
OF_MARKET = "market = %(market)s"
GAPS_OF_MARKET = "ticker IN ('', %(ticker)s)"
ENDED_UNSEEN = "the connection had ended; nothing came from it any more"
HISTORY_ENDS = "history ends before: nothing later is stored of the connection"
DELTAS_DROPPED = "its deltas were older than they are kept (KALSHIMM_RETENTION_BOOK_DELTA_DAYS)"
FOREVER = datetime.max.replace(tzinfo=UTC)


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
    `tape(ticker, time, …)` skips the book's events of that connection up to `seq`.

    It is valid only where history is known to reach `time`: of a live feed up to about two seconds ago, as the writer
    stores.

    Args:
        time: Aware; exchange time.

    Raises:
        ValueError: `time` has no time zone.
        KalshimmError: It takes longer than half a minute.
    """
    rows.require_aware("time", time)
    # The writer goes on meanwhile: deltas behind a gap that was not there a moment ago must not be seen either.
    with rows.one_view(most_ms=READ_MOST_MS):
        return _book_at(ticker, time)


def _book_at(ticker: str, time: datetime) -> BookAt:
    market = rows.market_number(ticker)
    if market is None:
        return BookAt(ticker, time, None, is_valid=False, reason="history knows no such market")
    row = one(LAST_SNAPSHOT, {"market": market, "until": time})
    if row is None:
        return BookAt(ticker, time, None, is_valid=False, reason="there is no snapshot before")
    return _rebuilt(ticker, time, row)


def _rebuilt(ticker: str, time: datetime, row: Row) -> BookAt:
    identities = Identities()
    snapshot = rows.snapshot(row, identities)
    until_us, slack = to_us(time), timedelta(microseconds=SLACK_US)
    stamped, market, conn, seq = row[:4]
    where: dict[str, Any] = {"ticker": ticker, "market": market, "conn": conn, "seq": seq, "began": CONNECTION_BEGAN}
    where |= {"since": stamped - timedelta(microseconds=LATE_US), "until": time + slack}
    gaps = [rows.gap(found, identities) for found in every(GAPS_AFTER, where)]
    ends_us = [gap.time_us for gap in gaps if gap.conn == snapshot.conn and gap.is_end_of_numbers]
    # Numbers of a subscription that was lost before the snapshot say nothing among those of the next.
    if began_us := max((time_us for time_us in ends_us if time_us <= snapshot.time_us), default=None):
        where["since"] = to_time(began_us)
        gaps = [gap for gap in gaps if gap.time_us >= began_us]
    deltas = contained([rows.delta(found, identities) for found in every(DELTAS_AFTER, where)], until_us)
    last_seq = deltas[-1].seq if deltas else seq
    gap = spoiling(snapshot, gaps, last_seq=last_seq, until_us=until_us)
    rebuilt = rebuild(snapshot, deltas if gap is None else before(deltas, gap), until_us=until_us)
    reason = rebuilt.reason if gap is None else gap.reason
    reason = reason or _dropped(snapshot, time, stamped, conn) or _ends_before(time, conn)
    as_of = to_time(rebuilt.time_us)
    return BookAt(ticker, time, rebuilt.book, not reason, reason, as_of, snapshot.conn, rebuilt.seq)


def _dropped(snapshot: Snapshot, time: datetime, stamped: datetime, conn: int) -> str:
    """Return that deltas behind the snapshot may have been dropped for their age, else nothing.

    One of our own follows a delta. Before one of the venue's there may be none: then any that soon follows will do.
    """
    days = settings.RETENTION_DAYS["book_delta"]
    if not days or stamped > datetime.now(UTC) - timedelta(days=days):
        return ""
    late = timedelta(microseconds=LATE_US)
    where = {"since": stamped - late, "until": max(time, stamped + late), "conn": conn, "next": snapshot.seq + 1}
    where["near"] = stamped if snapshot.is_ours else stamped + late
    return "" if one(DELTA_NOT_DROPPED, where) else DELTAS_DROPPED


def _ends_before(time: datetime, conn: int) -> str:
    """Return why what happened by `time` may not be all there: nothing is stored of the connection from then on."""
    beginning = one(NEXT_BEGINNING, {"until": time, "began": CONNECTION_BEGAN, "conn": conn})
    where = {"since": time, "until": beginning[0] if beginning else FOREVER, "conn": conn}
    if any(one(statement, where) for statement in SIGNS_OF_LIFE):
        return ""
    return ENDED_UNSEEN if beginning else HISTORY_ENDS


def tape(ticker: str, since: datetime, until: datetime) -> Iterator[Event]:
    """Return everything that happened to a market in `since` ≤ time < `until`, in order.

    The book's events and the gaps come in the order of their connection (`markets.core.ordering`): by number, not by
    time. What has no number goes by its time: at equal times book and gaps first, then trades, then tickers. The range
    is read in batches, so it may be as long as history. A market that history does not know has an empty tape.

    Args:
        since, until: Aware; exchange time.

    Raises:
        ValueError: A time has no time zone, or `until` is not after `since`.
    """
    rows.require_aware("since", since)
    rows.require_aware("until", until)
    if until <= since:
        raise ValueError(f"until must be after since ({since.isoformat()}), found {until.isoformat()}")
    return _tape(ticker, since, until)


def _tape(ticker: str, since: datetime, until: datetime) -> Iterator[Event]:
    market = rows.market_number(ticker)
    if market is None:
        return
    identities = Identities()

    def read(kind: Kind, make: Callable[[Row, Identities], T], which: str = OF_MARKET) -> Iterator[T]:
        values = {"market": market, "ticker": ticker}
        for batch in rows.batches(kind, since, until, which=which, values=values):
            for row in batch:
                yield make(row, identities)

    by_time: list[Iterator[BookEvent]] = [
        read(rows.GAPS, rows.gap, GAPS_OF_MARKET), read(rows.SNAPSHOTS, rows.snapshot), read(rows.DELTAS, rows.delta)
    ]  # fmt: skip
    stamped: list[Iterator[tuple[int, Event]]] = [
        in_sequence(merge(*by_time, key=_time_us), slack_us=LATE_US),
        ((trade.time_us, trade) for trade in read(rows.TRADES, rows.trade)),
        ((message.time_us, message) for message in read(rows.TICKERS, rows.ticker)),
    ]
    yield from (event for _, event in merge(*stamped, key=_stamp_us))


def _time_us(event: BookEvent) -> int:
    return event.time_us


def _stamp_us(stamped: tuple[int, Event]) -> int:
    return stamped[0]
