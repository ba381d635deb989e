"""A real recording in the columnstore: what a delta takes, and that books are rebuilt from it."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from feed.models import Connection
from feed.recording import read_frames
from markets import rows
from markets.models import BookSnapshot, MarketKey
from markets.queries import book_at
from tests.integration.db.conftest import TIMESCALE, Server

pytestmark = [pytest.mark.long, pytest.mark.recorded]

RECORDING = "ws_l2_kxbtc15m/rv600_forward_native_shadow_20260513T1556Z.ndjson.zst"
DELTAS = 45_602
MOMENTS = 8  # the recording has few snapshots: each book takes thousands of deltas
PLAIN_MAX, PACKED_MAX = 130, 20  # bytes a delta
ROWS_AN_INSERT = 1_000  # the server under WebAssembly takes no larger statements
INSERT = """
INSERT INTO markets_book_delta (time, market, conn, seq, side, time_source, price_cc, delta_cx)
SELECT * FROM unnest(%s::timestamptz[], %s::int4[], %s::int4[], %s::int8[], %s::int2[], %s::int2[], %s::int4[],
    %s::int8[])
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIDES = ("yes", "no")

Book = tuple[dict[int, int], dict[int, int]]


def cc(dollars: str) -> int:
    return int(Decimal(dollars) * 10_000)


def cx(contracts: str) -> int:
    return int(Decimal(contracts) * 100)


class Recording:
    """A recording's snapshots and deltas as rows, and its books by nothing but addition."""

    def __init__(self, path: Path) -> None:
        self.tickers: dict[str, int] = {}
        self.snapshots: list[BookSnapshot] = []
        self.deltas: list[tuple[Any, ...]] = []
        for frame in read_frames(path):
            message = json.loads(frame.frame or "{}")
            body = message.get("msg", {})
            market = self.tickers.setdefault(body["market_ticker"], len(self.tickers) + 1) if "seq" in message else 0
            head = {"market": market, "conn": 1 + frame.connection, "seq": message.get("seq"), "time_source": 0}
            if message.get("type") == "orderbook_snapshot":
                assert frame.recv_us is not None
                self.snapshots.append(a_snapshot(body, time=EPOCH + timedelta(microseconds=frame.recv_us), **head))
            elif message.get("type") == "orderbook_delta":
                time = EPOCH + timedelta(milliseconds=body["ts_ms"])
                side = SIDES.index(body["side"])
                self.deltas.append(
                    (time, market, head["conn"], head["seq"], side, 0, cc(body["price_dollars"]), cx(body["delta_fp"]))
                )

    def book(self, market: int, conn: int, seq: int) -> Book:
        """Return the book that one connection had told after its message `seq`."""
        told = [s for s in self.snapshots if s.market == market and s.conn == conn and s.seq <= seq]
        last = max(told, key=lambda snapshot: snapshot.seq)
        book: tuple[defaultdict[int, int], ...] = (defaultdict(int), defaultdict(int))
        book[0].update(zip(last.yes_price_cc, last.yes_count_cx, strict=True))
        book[1].update(zip(last.no_price_cc, last.no_count_cx, strict=True))
        for _, of, by, number, side, _, price_cc, delta_cx in self.deltas:
            if (of, by) == (market, conn) and last.seq < number <= seq:
                book[side][price_cc] += delta_cx
        yes, no = ({price: count for price, count in side.items() if count} for side in book)
        return yes, no


def a_snapshot(body: dict[str, Any], **head: Any) -> BookSnapshot:
    ladders = [body.get(f"{side}_dollars_fp") or [] for side in SIDES]
    (yes_prices, yes_counts), (no_prices, no_counts) = (
        ([cc(price) for price, _ in ladder], [cx(count) for _, count in ladder]) for ladder in ladders
    )
    return BookSnapshot(
        **head, yes_price_cc=yes_prices, yes_count_cx=yes_counts, no_price_cc=no_prices, no_count_cx=no_counts
    )


@pytest.fixture(scope="module")
def recording(recorded: Path) -> Recording:
    return Recording(recorded / RECORDING)


@pytest.fixture(scope="module")
def stored(migrated_timescale: Server, recording: Recording) -> tuple[Server, int]:
    """The recording's rows in their tables, not yet packed, and how many bytes the deltas take."""
    server = migrated_timescale
    server.storage()
    MarketKey.objects.using(TIMESCALE).bulk_create(
        MarketKey(id=number, ticker=name) for name, number in recording.tickers.items()
    )
    conns = {snapshot.conn for snapshot in recording.snapshots}
    Connection.objects.using(TIMESCALE).bulk_create(Connection(id=conn, identity=conn) for conn in conns)
    BookSnapshot.objects.using(TIMESCALE).bulk_create(recording.snapshots)
    for first in range(0, DELTAS, ROWS_AN_INSERT):
        server.rows(INSERT, *map(list, zip(*recording.deltas[first : first + ROWS_AN_INSERT], strict=True)))
    ((plain,),) = server.rows("SELECT sum(pg_total_relation_size(c)) FROM show_chunks('markets_book_delta') c")
    return server, plain


def test_a_recorded_delta_is_small_in_rows_and_smaller_packed_and_reads_back_equal(
    stored: tuple[Server, int], recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    server, plain = stored
    server.pack("markets_book_delta")
    server.pack("markets_book_snapshot")
    assert server.rows("SELECT * FROM markets_book_delta ORDER BY conn, seq") == sorted(
        recording.deltas, key=lambda row: row[2:4]
    )
    ((packed,),) = server.rows(
        "SELECT after_compression_total_bytes FROM hypertable_columnstore_stats('markets_book_delta')"
    )
    with capsys.disabled():
        print(f"\nbytes a delta: {plain / DELTAS:.1f} in rows, {packed / DELTAS:.1f} in the columnstore")
    assert plain <= PLAIN_MAX * DELTAS
    assert packed <= PACKED_MAX * DELTAS


def test_books_are_rebuilt_from_packed_rows(
    stored: tuple[Server, int], recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = stored
    server.pack("markets_book_delta")
    server.pack("markets_book_snapshot")
    monkeypatch.setattr(rows, "connection", connections[TIMESCALE])
    names = {number: ticker for ticker, number in recording.tickers.items()}
    for time, market, *_ in random.Random(4).sample(recording.deltas, MOMENTS):
        found = book_at(names[market], time + timedelta(seconds=1))
        assert found.book is not None, found.reason
        assert found.conn is not None
        assert found.seq is not None
        yes, no = recording.book(market, found.conn, found.seq)
        assert (dict(found.book.levels[0]), dict(found.book.levels[1])) == (yes, no)
