"""Every book of every contiguous recording, three ways: the gateway's books, books rebuilt from the tables, and a slow
replay of the file that shares no code with either: plain JSON, decimals and dicts."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import zstandard

from feed.books import Books
from feed.kalshi.session import Session
from feed.recording import connection_identity, identity, read_frames
from feed.replay import Replay
from kalshimm.runtime.clock import SystemClock
from markets.queries import book_at

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WHOLE_EACH = 500  # events between two comparisons of all levels; best prices are compared at each
STEPS_BACK_US = 5_000_000
OWN_SNAPSHOTS = """
SELECT c.identity, m.ticker, s.seq, s.yes_price_cc, s.yes_count_cx, s.no_price_cc, s.no_count_cx
FROM markets_book_snapshot s JOIN markets_marketkey m ON m.id = s.market JOIN feed_connection c ON c.id = s.conn
WHERE s.is_ours
"""

Sides = tuple[dict[int, int], dict[int, int]]


class Happened(msgspec.Struct, frozen=True):
    """One book event of a recording; `time_us` is None where only an earlier event's time is known."""

    line: int
    ticker: str
    seq: int
    time_us: int | None
    body: dict[str, Any]
    is_whole: bool


def happened(path: Path) -> Iterator[Happened]:
    """Read a recording's book events."""
    for number, text in enumerate(lines(path), 1):
        if not text.strip():
            continue
        line = json.loads(text)
        recv_ns = line.get("recv_ts_ns") or line.get("local_recv_ns")
        frame = json.loads(line["raw"]) if "raw" in line else line
        kind, body = frame.get("event_type") or frame["type"], frame.get("payload_json") or frame.get("msg")
        seq = frame.get("sequence_number") or frame.get("seq")
        if kind == "orderbook_delta":
            time_us = body["ts_ms"] * 1_000 if "ts_ms" in body else recv_ns // 1_000
            yield Happened(number, body["market_ticker"], seq, time_us, body, False)
        elif kind == "orderbook_snapshot":
            yield Happened(number, body["market_ticker"], seq, recv_ns and recv_ns // 1_000, body, True)


def lines(path: Path) -> Iterator[str]:
    match path.suffix:
        case ".zst":
            unpacked = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(path.open("rb"))
            return io.TextIOWrapper(unpacked, "utf-8")
        case ".gz":
            return gzip.open(path, "rt")
    return path.open()


@cache
def cc(dollars: str) -> int:
    return int(Decimal(dollars) * 10_000)


@cache
def cx(contracts: str) -> int:
    return int(Decimal(contracts) * 100)


class Slow:
    """The book of each market, changed in place."""

    def __init__(self) -> None:
        self.books: dict[str, Sides] = {}

    def take(self, event: Happened) -> Sides:
        if event.is_whole:
            yes, no = ({cc(p): cx(s) for p, s in event.body.get(f"{side}_dollars_fp", [])} for side in ("yes", "no"))
            self.books[event.ticker] = (yes, no)
            return yes, no
        sides = self.books[event.ticker]
        side, price = sides[event.body["side"] == "no"], cc(event.body["price_dollars"])
        side[price] = side.get(price, 0) + cx(event.body["delta_fp"])
        if not side[price]:
            del side[price]
        return sides


def copied(sides: Sides) -> Sides:
    return dict(sides[0]), dict(sides[1])


class Compared(msgspec.Struct):
    events: int = 0
    whole_books: int = 0
    moments: int = 0
    own_snapshots: int = 0


class Moments:
    """Random moments of a recording, each with the book after the last event that had happened by then.

    Times repeat and step back, so a moment stays open until events are all later than it for good.
    """

    def __init__(self, seed: str, part: float) -> None:
        self._chance, self._part = random.Random(seed), part
        self._open: dict[tuple[str, int], Sides] = {}
        self._newest_us: dict[str, int] = {}
        self.books: dict[tuple[str, int], Sides] = {}

    def take(self, event: Happened, sides: Sides) -> None:
        if event.time_us is None:
            return
        self._newest_us[event.ticker] = max(event.time_us, self._newest_us.get(event.ticker, 0))
        for key in [key for key in self._open if key[0] == event.ticker]:
            if event.time_us <= key[1]:
                self._open[key] = copied(sides)
            elif event.time_us > key[1] + STEPS_BACK_US:
                self.books[key] = self._open.pop(key)
        if self._chance.random() < self._part and not event.is_whole:
            self._open[event.ticker, event.time_us + self._chance.choice((0, 0, 1, 999))] = copied(sides)

    def close(self) -> None:
        """End with the recording: what is later than a market's last event nobody knows."""
        self.books |= {(ticker, at): book for (ticker, at), book in self._open.items() if at <= self._newest_us[ticker]}


def compare(path: Path, database_url: str, *, part: float) -> Compared:
    """Play a recording through the gateway's books beside the slow replay; then ask the tables for moments of it,
    one behind that `part` of its deltas."""
    own, recording = own_snapshots(database_url), identity(path)
    done, slow, moments = Compared(), Slow(), Moments(path.name, part)
    frames, books, connection = read_frames(path), Books(1, Session(adopt=True)), 0
    for event in happened(path):
        for frame in frames:
            if frame.connection != connection:
                connection, books = frame.connection, Books(1, Session(adopt=True))
            if frame.frame:
                books.receive(frame.frame, frame.recv_us or 0)
            if frame.line == event.line:
                break
        sides, market = slow.take(event), books.market(event.ticker)
        assert market.is_valid
        assert market.best_cc == [max(side, default=0) for side in sides], event
        done.events += 1
        if done.events % WHOLE_EACH == 0:
            books.take()
            done.whole_books += sum(books.market(ticker).levels == slow.books[ticker] for ticker in books.markets)
            assert all(books.market(ticker).levels == slow.books[ticker] for ticker in books.markets)
        moments.take(event, sides)
        stored = own.get((connection_identity(recording, connection), event.ticker, event.seq), sides)
        assert stored == sides, f"our own snapshot of {event.ticker} at {event.seq}"
        done.own_snapshots += stored is not sides
    moments.close()
    for (ticker, at_us), sides in moments.books.items():
        found = book_at(ticker, EPOCH + timedelta(microseconds=at_us))
        assert (found.is_valid, found.reason) == (True, ""), (path.name, ticker, at_us)
        assert found.book is not None
        assert found.book.levels == sides, (path.name, ticker, at_us)
        done.moments += 1
    return done


def own_snapshots(database_url: str) -> dict[tuple[int, str, int], Sides]:
    """Return the snapshots that the gateway wrote from its own books, by connection, market and number."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(OWN_SNAPSHOTS).fetchall()
    return {
        (conn, ticker, seq): (dict(zip(yes_cc, yes_cx, strict=True)), dict(zip(no_cc, no_cx, strict=True)))
        for conn, ticker, seq, yes_cc, yes_cx, no_cc, no_cx in rows
    }


def replay(paths: list[Path], redis_url: str, database_url: str) -> None:
    asyncio.run(Replay(redis_url=redis_url, dsn=database_url, clock=SystemClock()).run(paths))


@pytest.mark.recorded
@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_22_recordings_of_production_give_the_same_books_three_ways(
    redis_url: str, database_url: str, recorded: Path
) -> None:
    paths = sorted((recorded / "ws_l2_kxbtc15m").glob("*.zst"))
    replay(paths, redis_url, database_url)
    done = [compare(path, database_url, part=1 / 3_000) for path in paths]
    assert sum(one.events for one in done) == 1_486_765 + 69
    assert min(one.whole_books for one in done) > 10
    assert min(one.moments for one in done) >= 4
    assert sum(one.own_snapshots for one in done) > 200


@pytest.mark.recorded
def test_the_contiguous_captures_of_several_markets_give_the_same_books_three_ways(
    redis_url: str, database_url: str, recorded: Path, tmp_path: Path
) -> None:
    folder = recorded / "ws_multi_market"
    cockpit = tmp_path / "cockpit.jsonl"  # one document there, one line a frame here
    received = json.loads((folder / "cockpit_ws_orderbook_stream.json").read_bytes())["frames"]
    told = [{"recv_ts_ns": one["received_ms"] * 1_000_000, "raw": json.dumps(one["frame"])} for one in received]
    cockpit.write_text("".join(json.dumps(line) + "\n" for line in told))
    paths = [
        cockpit,
        folder / "kxbtc_hourly_ws_frames_2026-04-18.jsonl",
        folder / "fortuna_demo_ws__orderbook_trade_noleg.jsonl",
    ]
    replay(paths, redis_url, database_url)
    done = [compare(path, database_url, part=1) for path in paths]
    assert [one.events for one in done] == [12 + 245, 8 + 61, 1 + 4]
    assert all(one.moments for one in done)
