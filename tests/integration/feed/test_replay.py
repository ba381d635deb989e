"""`manage.py replay`: recorded frames through the real path into the tables."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from feed.replay import RECORDING_ENDS, Replay
from kalshimm.errors import NotReachable
from kalshimm.runtime.clock import SystemClock

Manage = Callable[..., subprocess.CompletedProcess[str]]

FRAMES = [
    '{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}',
    '{"type":"orderbook_snapshot","sid":1,"seq":1,"msg":{"market_ticker":"M-1","yes_dollars_fp":[["0.4200","20.00"]]}}',
    "",
    '{"type":"orderbook_delta","sid":1,"seq":2,"msg":{"market_ticker":"M-1","price_dollars":"0.4200",'
    '"delta_fp":"-2.50","side":"yes","ts_ms":1795337401000}}',
    '{"type":"orderbook_delta","sid":1,"seq":4,"msg":{"market_ticker":"M-1","price_dollars":"0.4300",'
    '"delta_fp":"1.00","side":"yes","ts_ms":1795337402000}}',
]


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return list(connection.execute(query).fetchall())  # type: ignore[arg-type]


def replay(manage: Manage, dsn: str, *paths: Path, option: str = "") -> dict[str, object]:
    run = manage("replay", *map(str, paths), *filter(None, [option]), env={"DATABASE_URL": dsn}, deadline_s=110)
    assert run.returncode == 0, run.stderr
    (line,) = run.stdout.splitlines()
    return json.loads(line)


def test_it_reports_what_it_saw_and_stores_it(manage: Manage, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(FRAMES))
    result = replay(manage, database_url, path)
    expected = {
        "files": 1, "frames": 4, "deltas": 2, "snapshots": 1, "tickers": 0, "trades": 0, "connections": 1, "gaps": 1,
        "negative_levels": 0, "crossed_books": 0,
    }  # fmt: skip
    assert {name: result[name] for name in expected} == expected
    assert result["rows"] == {"deltas": 2, "snapshots": 1, "tickers": 0, "trades": 0}
    gaps = [("sequence gap", 3, 4), (RECORDING_ENDS, 0, 0)]
    assert rows(database_url, "SELECT reason, expected, received FROM feed_feedgap ORDER BY time") == gaps
    again = replay(manage, database_url, path)
    assert again["rows"] == {"deltas": 0, "snapshots": 0, "tickers": 0, "trades": 0}
    assert len(rows(database_url, "SELECT 1 FROM feed_feedgap")) == 2


def test_no_levels_may_come_at_yes_prices(manage: Manage, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(FRAMES[1].replace("yes_dollars_fp", "no_dollars_fp"))
    replay(manage, database_url, path, option="--yes-price")
    assert rows(database_url, "SELECT no_price_cc FROM markets_book_snapshot") == [([5_800],)]


def test_a_broken_recording_is_one_sentence_and_keeps_what_came_before(
    manage: Manage, database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text(f"{FRAMES[0]}\n{FRAMES[1]}\n{{broken\n")
    run = manage("replay", str(path), env={"DATABASE_URL": database_url})
    assert (run.returncode, run.stdout) == (1, "")
    assert "line 3: expected one JSON object a line" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
    assert len(rows(database_url, "SELECT 1 FROM markets_book_snapshot")) == 1


def test_blank_lines_between_frames_do_not_keep_everything_in_memory(
    manage: Manage, database_url: str, tmp_path: Path
) -> None:
    """Frames of a turn are counted, not lines: with a blank line behind each, a turn would never have ended."""
    path = tmp_path / "a.ndjson"
    deltas = [FRAMES[3].replace('"seq":2', f'"seq":{n}').replace("-2.50", "0.01") for n in range(2, 6_002)]
    path.write_text("\n\n".join([*FRAMES[:2], *deltas]))
    result = replay(manage, database_url, path)
    assert (result["deltas"], result["gaps"]) == (6_000, 0)
    assert result["rows"]["deltas"] == 6_000  # type: ignore[index]


async def test_D8_a_replay_whose_database_goes_away_says_so(
    redis_url: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(FRAMES))

    async def away(*_: object) -> None:
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr("feed.writer.stream.StreamWriter._store", away)
    monkeypatch.setattr("feed.writer.stream.RETRY_FIRST_S", 0.01)
    runner = Replay(redis_url=redis_url, dsn=database_url, clock=SystemClock())
    with pytest.raises(NotReachable, match="unstored; replay again"):
        await runner.run([path])


def test_a_recording_that_is_not_there_is_a_usage_error(manage: Manage, database_url: str) -> None:
    run = manage("replay", "/no/such/recording", env={"DATABASE_URL": database_url})
    assert run.returncode == 2
    assert "/no/such/recording" in run.stderr


@pytest.mark.recorded
@pytest.mark.timeout(300)
def test_all_recorded_production_streams_are_stored_exactly(manage: Manage, database_url: str, recorded: Path) -> None:
    paths = sorted((recorded / "ws_l2_kxbtc15m").glob("*.zst"))
    result = replay(manage, database_url, *paths)
    counts = {"deltas": 1_486_765, "snapshots": 69, "tickers": 14_975}
    assert len(paths) == result["files"] == 22
    assert {name: result[name] for name in counts} == counts
    assert (result["gaps"], result["negative_levels"], result["crossed_books"], result["connections"]) == (0, 0, 0, 46)
    stored = {
        name: rows(database_url, f"SELECT count(*) FROM {table}")[0][0]
        for name, table in (
            ("deltas", "markets_book_delta"),
            ("snapshots", "markets_book_snapshot WHERE NOT is_ours"),
            ("tickers", "markets_ticker"),
        )
    }  # fmt: skip
    assert stored == counts
    assert replay(manage, database_url, paths[0])["rows"] == {"deltas": 0, "snapshots": 0, "tickers": 0, "trades": 0}


@pytest.mark.recorded
def test_raw_frames_of_several_markets_replay_without_a_gap(manage: Manage, database_url: str, recorded: Path) -> None:
    path = recorded / "ws_multi_market" / "kxbtc_hourly_ws_frames_2026-04-18.jsonl"
    result = replay(manage, database_url, path)
    assert (result["snapshots"], result["deltas"], result["gaps"], result["malformed"]) == (8, 61, 0, 0)
