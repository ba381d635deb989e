"""`manage.py export`: what is read back is what the tables hold, also after a kill in the middle."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from django.core.management import CommandError, call_command
from historyrows import START, History, at

from kalshimm.db.plan import CANDLES, SPREADS
from kalshimm.errors import AlreadyRunning, ConfigurationError, KalshimmError
from kalshimm.runtime.locks import exclusive
from markets.models import Event, Market, Series
from markets.rows import to_us
from tests.fixtures.stack import eventually

ROOT = Path(__file__).resolve().parents[3]
Manage = Callable[..., subprocess.CompletedProcess[str]]
RANGE = ("--from", "2026-11-20T00:00:00Z", "--to", "2026-11-21T00:00:00Z")
KINDS = ("deltas", "snapshots", "trades", "tickers", "gaps")


@pytest.fixture
def history(database_url: str) -> History:
    history = History(database_url)
    history.snapshot(1, 5, is_ours=True)
    history.snapshot(2, 8)
    history.delta(1.000001, 6, -250)
    history.delta(3, 9, 9_007_199_254_740_993)  # more than a float holds exactly
    history.trade(4, "a")
    history.ticker(5, None)
    history.gap(6, '=HYPERLINK("http://x")')
    history.gap(7, "-2+3, a\nsecond line", conn=None, ticker="M-1", received=4)
    return history


def export(out: Path, *options: str) -> dict[str, Any]:
    """Run the command in this process; return its one document."""
    told = io.StringIO()
    call_command("export", *options, "--out", str(out), "--json", stdout=told)
    (line,) = told.getvalue().splitlines()
    return json.loads(line)


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def parquet_rows(path: Path) -> list[tuple[Any, ...]]:
    return duckdb.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("[!.]*"))}


def test_csv_holds_exact_integers_and_escapes_what_a_spreadsheet_would_run(history: History, tmp_path: Path) -> None:
    told = export(tmp_path, *KINDS, "--all", *RANGE)
    assert told["rows"] == {"deltas": 2, "snapshots": 2, "trades": 1, "tickers": 1, "gaps": 2}
    assert told["files"] == [f"{kind}-00001.csv" for kind in KINDS]
    assert csv_rows(tmp_path / "deltas-00001.csv") == [
        {"time": "2026-11-20T12:00:01.000001Z", "ticker": "M-1", "conn": "101", "seq": "6", "side": "yes",
         "price_cc": "4200", "delta_cx": "-250", "time_source": "exchange"},
        {"time": "2026-11-20T12:00:03.000000Z", "ticker": "M-1", "conn": "101", "seq": "9", "side": "yes",
         "price_cc": "4200", "delta_cx": "9007199254740993", "time_source": "exchange"},
    ]  # fmt: skip
    (first, _) = csv_rows(tmp_path / "snapshots-00001.csv")
    assert (first["is_ours"], first["yes_price_cc"], first["yes_count_cx"], first["no_price_cc"]) == (
        "t", "[4200]", "[1000]", "[]",
    )  # fmt: skip
    (trade,) = csv_rows(tmp_path / "trades-00001.csv")
    assert (trade["trade_id"], trade["taker_side"], trade["count_cx"]) == ("a", "no", "300")
    (ticker,) = csv_rows(tmp_path / "tickers-00001.csv")
    assert ticker["volume_cx"] == ""
    assert [(g["reason"], g["conn"], g["ticker"]) for g in csv_rows(tmp_path / "gaps-00001.csv")] == [
        ('\'=HYPERLINK("http://x")', "101", ""),
        ("'-2+3, a\nsecond line", "", "M-1"),
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_candles_and_spreads_of_a_minute_can_be_exported(
    form: str, database_url: str, history: History, tmp_path: Path
) -> None:
    with pytest.raises(KalshimmError, match=r"`manage\.py storage` makes them"):
        export(tmp_path / "before", "candles", "--all", *RANGE)
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name, select in (("markets_candle_1m", CANDLES), ("markets_spread_1m", SPREADS)):
            connection.execute(f"CREATE VIEW {name} AS {select}")
        try:
            _check_minutes(form, history, tmp_path)
        finally:
            connection.execute("DROP VIEW markets_candle_1m, markets_spread_1m")


def _check_minutes(form: str, history: History, tmp_path: Path) -> None:
    history.trade(9, "b")
    export(tmp_path, "candles", "spreads", "--all", *RANGE, "--format", form)
    if form == "parquet":
        (candle,) = parquet_rows(tmp_path / "candles-00001.parquet")
        (spread,) = parquet_rows(tmp_path / "spreads-00001.parquet")
        assert candle == (at(0), "M-1", 4_200, 4_200, 4_200, 4_200, 600, 2)
        assert spread == (at(0), "M-1", 1, 0, *[None] * 6)
        return
    (row,) = csv_rows(tmp_path / "candles-00001.csv")
    assert (row["time"], row["close_yes_cc"], row["volume_cx"]) == ("2026-11-20T12:00:00.000000Z", "4200", "600")


def test_parquet_holds_typed_columns_and_text_as_it_is(history: History, tmp_path: Path) -> None:
    export(tmp_path, *KINDS, "--market", "M-1", *RANGE, "--format", "parquet")
    assert parquet_rows(tmp_path / "deltas-00001.parquet") == [
        (at(1.000001), "M-1", 101, 6, "yes", 4_200, -250, "exchange"),
        (at(3), "M-1", 101, 9, "yes", 4_200, 9_007_199_254_740_993, "exchange"),
    ]
    assert parquet_rows(tmp_path / "snapshots-00001.parquet") == [
        (at(1), "M-1", 101, 5, True, [4_200], [1_000], [], [], "exchange"),
        (at(2), "M-1", 101, 8, False, [4_200], [1_000], [], [], "exchange"),
    ]
    assert parquet_rows(tmp_path / "tickers-00001.parquet") == [(at(5), "M-1", 101, *[None] * 8, "exchange")]
    assert parquet_rows(tmp_path / "gaps-00001.parquet") == [
        (at(6), "", 101, '=HYPERLINK("http://x")', 0, 0),
        (at(7), "M-1", None, "-2+3, a\nsecond line", 0, 4),
    ]
    schema = duckdb.execute(f"DESCRIBE SELECT * FROM '{tmp_path / 'deltas-00001.parquet'}'").fetchall()
    assert {name: kind for name, kind, *_ in schema if name in ("time", "price_cc", "delta_cx")} == {
        "time": "TIMESTAMP WITH TIME ZONE", "price_cc": "INTEGER", "delta_cx": "BIGINT",
    }  # fmt: skip


def many_rows(dsn: str, count: int) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO markets_book_delta (time, market, conn, seq, side, time_source, price_cc, delta_cx) "
            "SELECT %s::timestamptz + (n / 5) * interval '1 ms', 1, 1 + n %% 2, 100 + n, n %% 2, 0, 1 + n %% 9999, "
            "n - 500 "
            "FROM generate_series(1, %s) n",
            (START, count),
        )  # fmt: skip


@pytest.mark.parametrize("form", ["csv", pytest.param("parquet", marks=pytest.mark.long)])
def test_an_export_that_was_killed_goes_on_and_gives_the_same_bytes(
    form: str, manage: Manage, database_url: str, history: History, tmp_path: Path
) -> None:
    many_rows(database_url, 30_000)
    options = ("deltas", "gaps", "--all", *RANGE, "--format", form, "--rows-a-part", "1000")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    export(whole, *options)
    argv = [sys.executable, str(ROOT / "manage.py"), "export", *options, "--out", str(cut)]
    killed = subprocess.Popen(argv, env=os.environ | {"DATABASE_URL": database_url}, stderr=subprocess.PIPE)
    try:
        eventually(lambda: (cut / f"deltas-00005.{form}").exists() or killed.poll() is not None, "a fifth part")
        killed.send_signal(signal.SIGKILL)
    finally:
        killed.wait()
        killed.stderr.close()  # type: ignore[union-attr]
    before = {path.name for path in cut.iterdir()}
    assert 5 <= len(before) < 30, "it was killed in the middle"
    again = manage("export", *options, "--out", str(cut), env={"DATABASE_URL": database_url})
    assert (again.returncode, again.stdout) == (0, f"30,002 deltas, 2 gaps in 32 files in {cut}.\n"), again.stderr
    assert digests(cut) == digests(whole)
    assert len(digests(whole)) == 31 + 1 + 1  # 30,002 deltas, the gaps, the manifest
    export(cut, *options)
    assert digests(cut) == digests(whole), "once more changes nothing"


def test_the_parts_together_are_the_table_in_the_order_of_its_key(
    database_url: str, history: History, tmp_path: Path
) -> None:
    many_rows(database_url, 2_000)
    export(tmp_path, "deltas", "--all", *RANGE, "--rows-a-part", "77")
    read = [row for path in sorted(tmp_path.glob("deltas-*.csv")) for row in csv_rows(path)]
    with psycopg.connect(database_url) as connection:
        stored = connection.execute(
            "SELECT time, c.identity, seq, side, price_cc, delta_cx FROM markets_book_delta d "
            "JOIN feed_connection c ON c.id = d.conn ORDER BY time, market, conn, seq"
        ).fetchall()
    assert [
        (
            datetime.fromisoformat(r["time"]), int(r["conn"]), int(r["seq"]), ["yes", "no"].index(r["side"]),
            int(r["price_cc"]), int(r["delta_cx"]),
        )
        for r in read
    ] == stored  # fmt: skip


def test_a_whole_number_of_parts_leaves_no_empty_one(history: History, tmp_path: Path) -> None:
    told = export(tmp_path, "deltas", "--all", *RANGE, "--rows-a-part", "1")
    assert told["files"] == ["deltas-00001.csv", "deltas-00002.csv"]


def test_without_an_end_a_second_run_keeps_the_end_of_the_first(history: History, tmp_path: Path) -> None:
    first = export(tmp_path, "gaps", "--all")
    history.gap(0, "later")
    second = export(tmp_path, "gaps", "--all")
    assert (first["until"], first["rows"]) == (second["until"], second["rows"])


def write_watermark(dsn: str, entry_id: str) -> None:
    with psycopg.connect(dsn) as connection:
        values = "VALUES ('kmm:tape:0', 'g', %s, 1, now())"
        connection.execute(
            f"INSERT INTO feed_watermark (stream, generation, entry_id, entry_number, updated_at) {values}", (entry_id,)
        )


def test_an_export_does_not_end_later_than_what_the_writer_has_stored(
    database_url: str, history: History, tmp_path: Path
) -> None:
    write_watermark(database_url, f"{to_us(at(600)) // 1_000}-7")
    told = export(tmp_path / "a", "gaps", "--all")
    assert datetime.fromisoformat(told["until"]) == at(540), "a minute before: some of it may come late"
    with pytest.raises(ConfigurationError, match=r"--to: history is stored up to 2026-11-20T12:10:00\+00:00, .* s ago"):
        export(tmp_path / "b", "gaps", "--all", "--to", "2026-11-20T12:10:01Z")
    export(tmp_path / "b", "gaps", "--all", "--to", "2026-11-20T12:10:00Z")
    history.stored_until(700)
    export(tmp_path / "c", "gaps", "--all", "--to", "2026-11-20T12:10:01Z")


def test_a_second_run_into_a_folder_that_is_written_is_refused(history: History, tmp_path: Path) -> None:
    with exclusive(tmp_path / ".export.lock", what="An export"), pytest.raises(AlreadyRunning, match="An export into"):
        export(tmp_path, "gaps", "--all", *RANGE)
    export(tmp_path, "gaps", "--all", *RANGE)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("deltas",), "--market: say which markets"),
        (("deltas", "--all", "--market", "M-1"), "--market: say which markets"),
        (("deltas", "--market", "M-9"), "history knows no market M-9"),
        (("deltas", "--series", "S"), "--series: history holds no market of S"),
        (("nothing", "--all"), "invalid choice"),
        (("deltas", "--all", "--from", "yesterday"), "no ISO time"),
        (("deltas", "--all", "--from", "2026-11-22", "--to", "2026-11-21"), "--from: must lie before --to"),
        (("deltas", "--all", "--rows-a-part", "0"), "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_name_of_the_option(
    options: tuple[str, ...], said: str, history: History, tmp_path: Path
) -> None:
    with pytest.raises((ConfigurationError, CommandError), match=said):
        export(tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_a_refusal_is_one_line_and_exit_code_2(manage: Manage, database_url: str, tmp_path: Path) -> None:
    options = ("deltas", "--market", "M-9", "--out", str(tmp_path))
    run = manage("export", *options, env={"DATABASE_URL": database_url})
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == ["--market: history knows no market M-9"]


def test_a_folder_of_another_export_is_left_alone(history: History, tmp_path: Path) -> None:
    export(tmp_path, "deltas", "--all", *RANGE)
    before = digests(tmp_path)
    with pytest.raises(KalshimmError, match="belongs to another export"):
        export(tmp_path, "trades", "--all", *RANGE)
    assert digests(tmp_path) == before
    (tmp_path / "export.json").write_text("{}")
    with pytest.raises(KalshimmError, match="is no manifest"):
        export(tmp_path, "deltas", "--all", *RANGE)
    (tmp_path / "file").touch()
    with pytest.raises(KalshimmError, match="choose another folder with --out"):
        export(tmp_path / "file", "deltas", "--all", *RANGE)


def test_every_market_of_an_event_or_a_series_is_taken(history: History, tmp_path: Path) -> None:
    series = Series.objects.create(ticker="S", seen_at=START)
    event = Event.objects.create(ticker="E", series=series, seen_at=START)
    for ticker in ("M-1", "M-2"):  # history knows the first alone
        times = dict.fromkeys(("open_time", "close_time", "seen_at"), START)
        Market.objects.create(ticker=ticker, event=event, price_ranges=[[0, 10_000, 100]], **times)
    assert export(tmp_path / "a", "deltas", "--event", "E", *RANGE)["rows"] == {"deltas": 2}
    assert export(tmp_path / "b", "deltas", "--series", "S", *RANGE)["rows"] == {"deltas": 2}
