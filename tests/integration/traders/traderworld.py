"""A market told by hand: what the gateway would write, and the processes that live on it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import redis

from feed.schema import (
    FEED,
    FIELD,
    JOURNAL,
    VERSION,
    BookDelta,
    BookEntry,
    BookEvent,
    BookSnapshot,
    BookTrade,
    FeedState,
    JournalEntry,
    TraderView,
    book_stream,
    decode_journal,
    decode_trader_view,
    encode,
)
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from markets.core.units import Side
from tests.fixtures.stack import eventually

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 30.0
CONN, SID = 7, 2


class HandMadeMarket:
    """Writes the feed each 200 ms, and book events when told to."""

    def __init__(self, client: redis.Redis, ticker: str) -> None:
        self.client, self.ticker = client, ticker
        self.generation = 1
        self._silence = threading.Event()
        self._thread = threading.Thread(target=self._keep_telling, name="feed", daemon=True)

    def start(self) -> None:
        self.snapshot()
        self._thread.start()

    def stop(self) -> None:
        self._silence.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep_telling(self) -> None:
        while True:
            self.feed()
            if self._silence.wait(0.2):
                return

    def feed(self) -> None:
        state = FeedState(VERSION, CONN, "live", {SID: self.generation}, 5, 5, time.time_ns() // 1_000, 1)
        self.client.xadd(FEED, {FIELD: encode(state)}, maxlen=100)

    def tell(self, *events: BookEvent) -> None:
        self.client.xadd(book_stream(self.ticker), {FIELD: encode(BookEntry(VERSION, list(events)))})

    def snapshot(self) -> None:
        now_us = time.time_ns() // 1_000
        yes, no = [(4_000, 30_000), (3_900, 50_000)], [(5_800, 20_000), (5_700, 40_000)]
        self.tell(BookSnapshot(CONN, SID, self.generation, 1, now_us, yes, no))

    def deltas(self, number: int) -> None:
        """Add a hundredth of a contract to the best bid so many times, an entry each."""
        for seq in range(number):
            self.tell(BookDelta(2 + seq, time.time_ns() // 1_000, int(Side.YES), 4_000, 1))

    def print(self, trade_id: str, yes_price_cc: int, count_cx: int, taker: Side) -> None:
        self.tell(BookTrade(trade_id, time.time_ns() // 1_000 + 1_000, yes_price_cc, count_cx, int(taker)))


class Workers:
    """Starts `manage.py` workers on one home and ends them with the test."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self._environment = os.environ | {"KALSHIMM_HOME": str(home)} | environment
        self._running: list[subprocess.Popen[bytes]] = []

    def tell(self, environment: dict[str, str]) -> None:
        """Have those started from now on find this in their environment, too."""
        self._environment |= environment

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{argv[0]}.out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), *argv],
                env=self._environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        self._running.append(process)
        return process

    def spawner(self) -> subprocess.Popen[bytes]:
        process = self.start("spawner")
        eventually((self.home / "run" / "spawner.sock").exists, f"the spawner listens: {self.output('spawner')}")
        return process

    def output(self, name: str) -> str:
        return (self.home / f"{name}.out").read_text()

    def close(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(DEADLINE_S)


class Watcher:
    """What the outside sees of traders: beats and journal."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def view(self, trader: int) -> TraderView | None:
        value = self._client.get(beat_key("trader", str(trader)))
        detail = decode_beat(value).detail if value else b""
        return decode_trader_view(detail) if detail else None

    def journal(self, trader: int) -> list[JournalEntry]:
        entries = [decode_journal(fields[FIELD]) for _, fields in self._client.xrange(JOURNAL)]
        return [entry for entry in entries if entry.trader == trader]

    def is_quoting(self, trader: int) -> bool:
        view = self.view(trader)
        return view is not None and len(view.quotes) == 2
