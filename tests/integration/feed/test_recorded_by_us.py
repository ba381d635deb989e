"""What was recorded beside the live writer is what it stored: exchange, gateway, writer and recorder as processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from feed.recording import read_frames
from feed.schema import GapRow
from tests.faults.processes import Worker
from tests.faults.rig import Options, Rig
from tests.fixtures.stack import eventually

MARKETS = 3

# Every column but the small numbers, which a second database counts in its own order.
ROWS = {
    "deltas": "SELECT time, k.ticker, c.identity, seq, side, time_source, price_cc, delta_cx FROM markets_book_delta d",
    "snapshots": (
        "SELECT time, k.ticker, c.identity, seq, time_source, yes_price_cc::text, yes_count_cx::text, "
        "no_price_cc::text, no_count_cx::text, is_ours FROM markets_book_snapshot d"
    ),
    "tickers": (
        "SELECT time, k.ticker, c.identity, digest, time_source, last_yes_price_cc, yes_bid_cc, yes_ask_cc, "
        "yes_bid_cx, yes_ask_cx, last_count_cx, volume_cx, open_interest_cx FROM markets_ticker d"
    ),
    "trades": (
        "SELECT time, k.ticker, trade_id, time_source, yes_price_cc, count_cx, taker_side, is_block "
        "FROM markets_trade d"
    ),
}
GAPS = (
    "SELECT g.time, g.ticker, c.identity, g.reason, g.sid, g.expected, g.received FROM feed_feedgap g "
    "LEFT JOIN feed_connection c ON c.id = g.connection_id"
)


def stored(dsn: str, tickers: list[str]) -> dict[str, set[tuple[Any, ...]]]:
    """Return the rows of the markets, and the gaps of whole connections, as sets."""
    with psycopg.connect(dsn) as connection:
        found = {"gaps": set(connection.execute(GAPS).fetchall())}
        for name, select in ROWS.items():
            joined = f"{select} JOIN markets_marketkey k ON k.id = d.market"
            if name != "trades":
                joined += " JOIN feed_connection c ON c.id = d.conn"
            found[name] = set(connection.execute(f"{joined} WHERE k.ticker = ANY(%s)", (tickers,)).fetchall())
    return found


def forget_history(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "TRUNCATE markets_book_delta, markets_book_snapshot, markets_ticker, markets_trade, markets_marketkey, "
            "feed_feedgap, feed_malformedframe, feed_connection"
        )


@pytest.mark.long
@pytest.mark.timeout(240)
def test_A10_a_recording_replayed_is_what_the_live_writer_stored_the_gap_of_a_killed_gateway_included(
    database_url: str, tmp_path: Path, manage: Callable[..., Any]
) -> None:
    rig = Rig(tmp_path, database_url, Options(tickers=1, speed=2.0))
    recorder: Worker | None = None
    try:
        all_tickers = sorted(rig.control("GET", "/state")["markets"])
        tickers = [ticker for ticker in all_tickers if ticker not in rig.tickers][:MARKETS]
        out = tmp_path / "recorded"
        argv = ["record", *tickers, "--out", str(out), "--json"]
        settings = {"REDIS_URL": rig.valkey.url, "DATABASE_URL": database_url, "KALSHIMM_HOME": str(tmp_path / "home")}
        recorder = Worker("record", argv, settings, folder=tmp_path, log=rig.log)
        recorder.start()
        eventually(lambda: len(stored(database_url, tickers)["deltas"]) > 100, "deltas of the recorded markets")
        before = connections(database_url)
        rig.gateway.kill()
        rig.gateway.start()
        eventually(lambda: len(connections(database_url)) > len(before), "another connection")
        known = len(stored(database_url, tickers)["deltas"])
        eventually(lambda: len(stored(database_url, tickers)["deltas"]) > known + 100, "deltas of the new connection")
        assert rig.gateway.stop() == 0
        eventually(lambda: rig.redis.xlen("kmm:tape:0") == 0, "everything is stored")
        assert recorder.stop() == 0, recorder.output()
        told = json.loads(recorder.first_line())
    finally:
        if recorder is not None:
            recorder.close()
        rig.close()
    live = stored(database_url, tickers)
    paths = [out / name for name in told["files"]]
    gaps = [f.row for path in paths for f in read_frames(path) if isinstance(f.row, GapRow)]
    assert [gap.reason for gap in gaps][-2:] == ["connection began", "stopped."]
    forget_history(database_url)
    run = manage("replay", *map(str, paths), env={"DATABASE_URL": database_url})
    assert run.returncode == 0, run.stderr
    replayed = stored(database_url, tickers)
    for name in ROWS:
        assert replayed[name] == live[name], name
        assert live[name], name
    # The recorder came after the gateway had begun: that one gap only the writer has.
    assert replayed["gaps"] <= live["gaps"]
    assert {gap[3] for gap in live["gaps"] - replayed["gaps"]} <= {"connection began"}
    assert "connection began" in {gap[3] for gap in replayed["gaps"]}


def connections(dsn: str) -> set[int]:
    with psycopg.connect(dsn) as connection:
        return {number for (number,) in connection.execute("SELECT identity FROM feed_connection").fetchall()}
