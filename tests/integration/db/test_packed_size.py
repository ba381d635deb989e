"""How much a delta of a real recording takes, in rows and in the columnstore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feed.recording import read_frames
from tests.integration.db.conftest import Server

pytestmark = [pytest.mark.long, pytest.mark.recorded]

RECORDING = "ws_l2_kxbtc15m/rv600_forward_native_shadow_20260513T1556Z.ndjson.zst"
DELTAS = 45_602
PLAIN_MAX, PACKED_MAX = 130, 20  # bytes a delta
ROWS_AN_INSERT = 1_000  # the server under WebAssembly takes no larger statements
INSERT = """
INSERT INTO markets_book_delta (time, market, conn, seq, side, time_source, price_cc, delta_cx)
SELECT * FROM unnest(%s::timestamptz[], %s::int4[], %s::int4[], %s::int8[], %s::int2[], %s::int2[], %s::int4[],
    %s::int8[])
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def deltas(path: Path) -> Iterator[tuple[Any, ...]]:
    markets: dict[str, int] = {}
    for frame in read_frames(path):
        message = json.loads(frame.frame or "{}")
        if message.get("type") != "orderbook_delta":
            continue
        body = message["msg"]
        yield (
            EPOCH + timedelta(milliseconds=body["ts_ms"]),
            markets.setdefault(body["market_ticker"], len(markets) + 1),
            1 + frame.connection,
            message["seq"],
            int(body["side"] == "no"),
            0,
            int(Decimal(body["price_dollars"]) * 10_000),
            int(Decimal(body["delta_fp"]) * 100),
        )


def test_a_recorded_delta_is_small_in_rows_and_smaller_packed(
    migrated_timescale: Server, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = migrated_timescale
    server.storage()
    rows = list(deltas(recorded / RECORDING))
    assert len(rows) == DELTAS
    for first in range(0, DELTAS, ROWS_AN_INSERT):
        server.rows(INSERT, *map(list, zip(*rows[first : first + ROWS_AN_INSERT], strict=True)))
    table = "SELECT * FROM markets_book_delta ORDER BY market, conn, seq"
    before = server.rows(table)
    ((plain,),) = server.rows("SELECT sum(pg_total_relation_size(c)) FROM show_chunks('markets_book_delta') c")
    server.pack("markets_book_delta")
    assert server.rows(table) == before
    ((packed,),) = server.rows(
        "SELECT after_compression_total_bytes FROM hypertable_columnstore_stats('markets_book_delta')"
    )
    with capsys.disabled():
        print(f"\nbytes a delta: {plain / DELTAS:.1f} in rows, {packed / DELTAS:.1f} in the columnstore")
    assert plain <= PLAIN_MAX * DELTAS
    assert packed <= PACKED_MAX * DELTAS
