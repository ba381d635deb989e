"""The real `manage.py writer` over streams whose every entry is known, and what it stored as sets on natural keys.

    Load ──XADD──► Valkey ◄──tap── writer ──tap──► PostgreSQL
     └── put: sets by table                         └── stored: sets by table

Put and stored must be equal; an entry that was dropped must be inside a gap row by its number on the tape.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

from feed import schema
from kalshimm.runtime.crash import VARIABLE
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.logs import LOG_STREAM, LOG_VERSION, LogEntry
from tests.faults.log import FaultLog
from tests.faults.processes import PrivateValkey, Worker
from tests.faults.tap import Tap

WITHIN_S = 60.0
POLL_S = 0.02
BEFORE = 1_795_337_400_000_000
CONN = 77
MARKETS = 40
ROWS_AN_ENTRY = 50
ACCOUNT = "local"
POINTS = ("after_read", "in_copy", "before_commit", "after_commit", "after_trim")


KEYS = {
    "deltas": """SELECT (extract(epoch FROM d.time) * 1000000)::int8, m.ticker, c.identity, d.seq, d.delta_cx
        FROM markets_book_delta d
        JOIN markets_marketkey m ON m.id = d.market JOIN feed_connection c ON c.id = d.conn""",
    "snapshots": """SELECT m.ticker, c.identity, s.seq, s.yes_count_cx[1] FROM markets_book_snapshot s
        JOIN markets_marketkey m ON m.id = s.market JOIN feed_connection c ON c.id = s.conn""",
    "tickers": "SELECT m.ticker, t.digest FROM markets_ticker t JOIN markets_marketkey m ON m.id = t.market",
    "trades": "SELECT trade_id, count_cx FROM markets_trade",
    "decisions": "SELECT trader, number FROM traders_decision",
    "fills": "SELECT account, order_id, trade_id, position_cx FROM traders_fill",
    "logs": "SELECT message FROM ops_service_log WHERE role = 'load'",
}
TABLES = (
    *("markets_book_delta", "markets_book_snapshot", "markets_ticker", "markets_trade"),
    *("traders_decision", "traders_fill", "ops_service_log"),
)


class Load:
    """Entries on all streams from a thread of its own, as long as the block lasts; remembers each by its natural key.

    Args:
        entries: On the tape, at each beat of `every_s`.
    """

    def __init__(self, url: str, *, entries: int = 20, every_s: float = 0.2) -> None:
        self.put: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        self.tape: list[list[tuple[str, tuple[Any, ...]]]] = []  # what each entry holds, in their order
        self._client = redis.Redis.from_url(url, socket_timeout=20)
        self._entries, self._every_s = entries, every_s
        self._seq = self._beats = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Load:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the load has stopped"

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.beat()

    def beat(self) -> None:
        """Put one beat's entries on the streams."""
        self._beats += 1
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(self._entries):
            rows, keys = self._tape_rows()
            self.tape.append(keys)
            for kind, key in keys:
                self.put[kind].add(key)
            entry = schema.TapeEntry(schema.VERSION, CONN, rows)
            pipeline.xadd(schema.TAPE, {schema.FIELD: schema.encode(entry)})
        self._add_journal(pipeline)
        message = f"beat {self._beats}"
        record = LogEntry(LOG_VERSION, BEFORE + self._beats, "load", "0", os.getpid(), "INFO", "load", message, {})
        pipeline.xadd(LOG_STREAM, {schema.FIELD: schema.encode(record)})
        self.put["logs"].add((message,))
        pipeline.execute()

    def _tape_rows(self) -> tuple[list[schema.TapeRow], list[tuple[str, tuple[Any, ...]]]]:
        rows: list[schema.TapeRow] = []
        keys: list[tuple[str, tuple[Any, ...]]] = []
        for _ in range(ROWS_AN_ENTRY):
            self._seq += 1
            seq, ticker = self._seq, f"M-{self._seq % MARKETS}"
            head = (BEFORE + seq, schema.TimeSource.EXCHANGE, ticker)
            if seq % 50 == 0:
                rows.append(schema.SnapshotRow(*head, seq, [(4_200, seq)], []))
                keys.append(("snapshots", (ticker, CONN, seq, seq)))
            elif seq % 25 == 0:
                rows.append(schema.TickerRow(*head, seq, 4_200, *[None] * 7))
                keys.append(("tickers", (ticker, seq)))
            elif seq % 10 == 0:
                rows.append(schema.TradeRow(*head, f"t-{seq}", 4_200, seq, 0, False))
                keys.append(("trades", (f"t-{seq}", seq)))
            else:
                rows.append(schema.DeltaRow(*head, seq, seq % 2, 4_200, seq))
                keys.append(("deltas", (BEFORE + seq, ticker, CONN, seq, seq)))
        return rows, keys

    def _add_journal(self, pipeline: Any) -> None:
        number = 2 * self._beats
        order, trade = f"o-{number}", f"f-{number}"
        bodies = (
            schema.Decision("joins best bid", {"n": number}, 1),
            schema.FillState(f"c-{number}", order, trade, 0, 4_200, 100, False, None, number, False),
        )
        for offset, body in enumerate(bodies):
            line = schema.JournalEntry(
                schema.VERSION, 3, number + offset, BEFORE + number, ACCOUNT, "live", "M-1", body
            )
            pipeline.xadd(schema.JOURNAL, {schema.FIELD: schema.encode(line)})
        self.put["decisions"].add((3, number))
        # The account tells of the same fill: one row, with what each of them knows.
        told = schema.AccountFill(order, trade, "", "M-1", 0, 4_200, 100, False, 5, 0, 0, BEFORE + number, False)
        entry = schema.AccountEntry(schema.VERSION, ACCOUNT, BEFORE + number, False, [told])
        pipeline.xadd(schema.account_stream(ACCOUNT), {schema.FIELD: schema.encode(entry)})
        self.put["fills"].add((ACCOUNT, order, trade, number))

    def close(self) -> None:
        self._client.close()


class Ground:
    """Stores, taps, the writer and the load; `close` ends all of it whatever state it is in."""

    def __init__(self, folder: Path, database_url: str, **settings: str) -> None:
        self.folder, self.database_url = folder, database_url
        self._empty_tables()
        self.log = FaultLog()
        self.valkey = PrivateValkey(folder / "stores", self.log)
        self.redis = redis.Redis.from_url(self.valkey.url, socket_timeout=20)
        self.to_redis = Tap.before("redis", self.valkey.url, self.log)
        self.to_postgres = Tap.before("postgres", database_url, self.log)
        self.load = Load(self.valkey.url)
        self._settings = {
            "KALSHIMM_HOME": str(folder / "home"),
            "REDIS_URL": self.to_redis.url_through(self.valkey.url),
            "DATABASE_URL": self.to_postgres.url_through(database_url),
            **settings,
        }
        self.writer = self._worker()

    def _empty_tables(self) -> None:
        names = ", ".join((*TABLES, "feed_feedgap", "feed_malformedframe", "feed_watermark", "traders_journalmark"))
        with psycopg.connect(self.database_url) as connection:
            connection.execute(f"TRUNCATE {names}")  # type: ignore[arg-type]
        self.inserted_before = self.inserted()

    def inserted(self) -> int:
        """Return how many deltas were ever inserted, those that were rolled back too."""
        counted = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'markets_book_delta'"
        return int(self.rows(counted)[0][0])

    def _worker(self, crash: str = "") -> Worker:
        return Worker("writer", ["writer"], self._settings | {VARIABLE: crash}, folder=self.folder, log=self.log)

    # ---- the writer ------------------------------------------------------------------------------------------------

    def start(self, *, crash: str = "") -> Worker:
        """Start a writer, one that dies at a crash point if one is named, and wait for its first beat if not."""
        self.redis.delete(beat_key("writer", "0"))
        self.writer = self._worker(crash)
        self.writer.start()
        if not crash:
            self.until(self.beats, "the writer beats")
        return self.writer

    def until_crashed(self, point: str) -> None:
        """Wait until the writer has died at its crash point."""
        self.until(lambda: not self.writer.is_running, f"the writer dies at {point}")
        assert self.writer.wait() == -9, self.writer.output()[-2_000:]
        self.log.note("process", f"crash point {point} (pid {self.writer.pid})")

    def beats(self) -> bool:
        assert self.writer.is_running, self.writer.output()[-2_000:]
        return self.redis.exists(beat_key("writer", "0")) == 1

    def counters(self) -> dict[str, int]:
        """Return what the writer's newest beat counts."""
        value: Any = self.redis.get(beat_key("writer", "0"))
        return decode_beat(value).counters if value else {}

    def alerts(self) -> set[str]:
        words = self.writer.output().split()
        return {word.removeprefix("alert=") for word in words if word.startswith("alert=")}

    def until(self, condition: Callable[[], object], what: str, *, within_s: float = WITHIN_S) -> None:
        give_up = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up, f"not within {within_s:.0f} s: {what}; {self.writer.output()[-1_500:]}"
            time.sleep(POLL_S)

    def until_stored(self) -> None:
        """Wait until nothing is left to store."""
        self.until(lambda: self.counters().get("backlog") == 0 and self._is_drained(), "everything is stored")

    def _is_drained(self) -> bool:
        return all(self.redis.xlen(stream) == 0 for stream in (schema.TAPE, schema.JOURNAL))

    # ---- what is stored --------------------------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()  # type: ignore[arg-type]

    def gaps(self) -> list[tuple[str, int, int]]:
        return self.rows("SELECT reason, expected, received FROM feed_feedgap ORDER BY id")  # type: ignore[return-value]

    def missing_entries(self) -> set[int]:
        """Return the numbers, from 1, of the tape's entries that gap rows say are missing."""
        ranges = [range(first, behind) for reason, first, behind in self.gaps() if reason.startswith(schema.TAPE)]
        return {number for numbers in ranges for number in numbers}

    def judge(self, *, malformed: int = 0) -> None:
        """Fail unless what is stored is what was put, but for entries inside gap rows, each once.

        Raises AssertionError too if nothing was put, or no fault was applied.
        """
        assert self.log.faults, "a fault was applied"
        missing = self.missing_entries()
        lost: defaultdict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for number in missing:
            for kind, key in self.load.tape[number - 1]:
                lost[kind].add(key)
        for kind, query in KEYS.items():
            stored = self.rows(query)
            wanted = self.load.put[kind] - lost[kind]
            assert wanted, f"{kind} were put"
            assert len(stored) == len(set(stored)), f"{kind} stored twice"
            assert wanted - set(stored) == set(), f"{kind} lost"
            assert set(stored) - self.load.put[kind] == set(), f"{kind} that nobody put"
        assert self.rows("SELECT count(*) FROM feed_malformedframe") == [(malformed,)]

    def close(self) -> None:
        self.load.close()
        self.writer.close()
        self.redis.close()
        for tap in (self.to_redis, self.to_postgres):
            tap.close()
        self.valkey.close()


def random_points(kills: int, seed: int) -> Iterator[str]:
    """Yield a crash point for each kill, or an empty name for one at a moment of chance; every point comes."""
    chance = random.Random(seed)
    for number in range(kills):
        choices = (*POINTS, "")
        point = choices[number] if number < len(choices) else chance.choice(choices)
        yield f"writer.{point}:{chance.randint(1, 3)}" if point else ""
