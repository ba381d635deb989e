"""The rig of fault rows: real exchange, gateway, writer and stores, with a tap on every line between them.

    exchange ◄──ws── gateway ──redis_gateway──► Valkey ◄──redis_writer── writer ──postgres──► PostgreSQL
                                                  ▲
                                                  └── watch: one reader a market, as traders are

One rig serves a module; a `Case` is one row on it. Every process and store has a private home and private ports.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import redis

from feed import schema
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from kalshimm.runtime.logs import LogEntry, decode_log
from tests.faults.checker import Verdict, judge
from tests.faults.log import Fault, FaultLog
from tests.faults.processes import PrivateValkey, Worker
from tests.faults.tables import GapRow, MalformedRow, Tables, gaps_since
from tests.faults.tap import Tap
from tests.faults.truth import Key, Truth
from tests.faults.watch import Sight, Watch

OWNER = "owner"  # whose key the gateway has; faults name it, so that nobody else is struck
HEAL_S = 30.0
SETTLE_S = 30.0
POLL_S = 0.02
FRAMES_KEPT = 2_000_000
SHOWN = 5
STORED_EARLIER_US = 20_000_000  # enough to know the connection on which a case begins


class Options(msgspec.Struct, frozen=True):
    """What a module's rig is made of.

    speed: Of the scenario `truth`: 12 markets, 60 messages a second at 1.
    waits_percent: Of the gateway's waits for silence and reconnection.
    replay, markets: Recordings instead, side by side as so many markets.
    exchange: Further arguments of `manage.py exchange`.
    tickers: How many of its markets are watched.
    """

    scenario: str = "truth"
    speed: float = 2.0
    waits_percent: int = 10
    replay: tuple[str, ...] = ()
    markets: int = 12
    exchange: tuple[str, ...] = ()
    tickers: int = 12


class Rig:
    """Everything of one module; `close` ends it whatever state it is in."""

    def __init__(self, folder: Path, database_url: str, options: Options) -> None:
        self.folder, self.database_url, self.options = folder, database_url, options
        self.log = FaultLog()
        self.truth = Truth()
        self.strangers: set[Key] = set()  # stored rows of no frame, for which earlier rows are to blame
        self._taps: list[Tap] = []
        self._workers: list[Worker] = []
        self.exchange = self._worker("exchange", self._exchange_argv(), {})
        self.exchange.start()
        self.valkey = PrivateValkey(folder / "stores", self.log)
        line = self.exchange.first_line()
        assert line, self.exchange.output()
        self.ready: dict[str, str] = json.loads(line)
        self.ws = self._tap("ws", self.ready["ws"])
        self.redis_gateway = self._tap("redis_gateway", self.valkey.url)
        self.redis_writer = self._tap("redis_writer", self.valkey.url)
        self.postgres = self._tap("postgres", database_url)
        self.redis = redis.Redis.from_url(self.valkey.url, socket_timeout=10)
        self.gateway = self._worker("gateway", ["gateway"], self._settings(self.redis_gateway))
        self.writer = self._worker("writer", ["writer"], self._settings(self.redis_writer))
        self.gateway.start()
        self.writer.start()
        self.tickers = sorted(self.control("GET", "/state")["markets"])[: options.tickers]
        self.watch = Watch(self.valkey.url, self.tickers)

    def _exchange_argv(self) -> list[str]:
        options = self.options
        keep = ["--keep-frames", str(FRAMES_KEPT)]
        world = ["--scenario", options.scenario]
        if options.replay:
            world = ["--replay", *options.replay, "--markets", str(options.markets)]
        world += ["--speed", str(options.speed), "--seed", "7"]
        return ["exchange", "--key-dir", str(self.folder / "keys"), *world, *keep, *options.exchange]

    def _settings(self, redis_tap: Tap) -> dict[str, str]:
        return {
            "KALSHIMM_HOME": str(self.folder / "home"),
            "KALSHIMM_WAITS_PERCENT": str(self.options.waits_percent),
            "REDIS_URL": redis_tap.url_through(self.valkey.url),
            "DATABASE_URL": self.postgres.url_through(self.database_url),
            "KALSHI_ENV": "local",
            "KALSHI_REST_URL": self.ready["rest"],
            "KALSHI_WS_URL": self.ws.url_through(self.ready["ws"]),
            "KALSHI_KEY_ID": self.ready["key_id"],
            "KALSHI_PRIVATE_KEY_PATH": self.ready["private_key_path"],
        }

    def _worker(self, name: str, argv: list[str], settings: dict[str, str]) -> Worker:
        worker = Worker(name, argv, settings, folder=self.folder, log=self.log)
        self._workers.append(worker)
        return worker

    def _tap(self, name: str, url: str) -> Tap:
        tap = Tap.before(name, url, self.log)
        self._taps.append(tap)
        return tap

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the exchange's control port."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def fetch_truth(self) -> None:
        """Take over what the exchange has sent the gateway since the last time."""
        self.truth.add(self.control("GET", f"/frames?account={OWNER}&after={self.truth.last_number}")["frames"])

    def make_whole(self) -> None:
        """Undo whatever a row left behind."""
        self.control("DELETE", "/faults")
        for tap in self._taps:
            tap.pass_all()
        for worker in (self.gateway, self.writer):
            if worker.is_running:
                worker.thaw()
            else:
                worker.start()

    def writer_beats(self) -> bool:
        """Whether the writer that runs now has begun its work: one that finds no store at its start ends at once."""
        value: Any = self.redis.get(beat_key("writer", "0"))
        return value is not None and decode_beat(value).pid == self.writer.pid

    def logged(self) -> list[LogEntry]:
        """Return what stands on the log stream; the writer trims what it has stored."""
        entries: Any = self.redis.xrange("kmm:log")
        return [decode_log(fields[schema.FIELD]) for _, fields in entries]

    def close(self) -> None:
        try:
            self.watch.close()
        finally:
            self.redis.close()
            for worker in self._workers:
                worker.begin_close()
            for worker in self._workers:
                worker.close()
            for tap in self._taps:
                tap.close()
            self.valkey.close()


class Case:
    """One row on a rig: faults are armed, seen applied, and everything since the case began is judged."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.log = rig, rig.log
        self.is_judged = False
        rig.make_whole()
        self.until(rig.writer_beats, "the writer works")
        self.until_valid()
        rig.fetch_truth()
        rig.log.clear()
        self._after = rig.truth.last_number
        self._applied = self._last_applied()
        self._sights = len(rig.watch.sights)
        self._changes = len(rig.watch.changes)
        self._log_offsets = {w.name: len(w.output()) for w in (rig.gateway, rig.writer)}
        self.began_us = time.time_ns() // 1_000

    # ---- faults ----------------------------------------------------------------------------------------------------

    def arm(self, *faults: dict[str, Any]) -> None:
        """Put faults of the exchange's script language on the gateway's own connection."""
        mine = [fault if fault["do"] in ("lag_reads",) else {"account": OWNER, **fault} for fault in faults]
        self.rig.control("POST", "/faults", mine)

    def applied(self) -> list[Fault]:
        """Return what was applied since the case began, by every source's own log."""
        fresh = self.rig.control("GET", f"/faults/applied?after={self._applied}")["applied"]
        self.log.note_applied(fresh)
        self._applied = max([self._applied, *(fault["number"] for fault in fresh)])
        return self.log.faults

    def until_applied(self, count: int = 1) -> list[Fault]:
        self.until(lambda: len(self.applied()) >= count, f"{count} faults applied")
        return self.log.faults

    def _last_applied(self) -> int:
        return max([0, *(fault["number"] for fault in self.rig.control("GET", "/faults/applied")["applied"])])

    # ---- what is seen ------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], object], what: str, *, within_s: float = HEAL_S) -> None:
        give_up = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up, f"not within {within_s:.0f} s: {what}; {self._state()}"
            time.sleep(POLL_S)

    def until_valid(self, within_s: float = HEAL_S) -> None:
        """Wait until every reader trusts its book."""
        self.until(lambda: self.rig.watch.is_valid, "all readers trust their books", within_s=within_s)

    def until_invalid(self, within_s: float = HEAL_S) -> None:
        """Wait until no reader trusts its book."""
        self.until(lambda: self.rig.watch.is_invalid, "no reader trusts its book", within_s=within_s)

    def distrusted(self, reason: str = "") -> set[str]:
        """Return the markets whose readers said, since the case began, why they do not trust: with `reason` in it."""
        changes = self.rig.watch.changes[self._changes :]
        return {change.ticker for change in changes if change.why and reason in change.why}

    def output(self, worker: Worker) -> str:
        """Return what a worker has said since the case began."""
        return worker.output()[self._log_offsets[worker.name] :]

    def alerts(self) -> list[str]:
        """Return the alerts that the gateway and the writer have raised since the case began, from their own output."""
        lines = (self.output(self.rig.gateway) + self.output(self.rig.writer)).splitlines()
        return [word.removeprefix("alert=") for line in lines for word in line.split() if word.startswith("alert=")]

    def until_alert_is_stored(self, alert: str) -> None:
        """Wait until an alert since the case began has come through `kmm:log` into the service log."""
        query = """
            SELECT count(*) FROM ops_service_log
            WHERE fields->>'alert' = %s AND time >= to_timestamp(%s / 1000000.0)
        """

        def is_stored() -> bool:
            with psycopg.connect(self.rig.database_url) as connection:
                return connection.execute(query, (alert, self.began_us)).fetchone() != (0,)

        self.until(is_stored, f"{alert} in the service log")

    def sights(self) -> list[Sight]:
        """Return the books that readers called valid since the case began."""
        return self.rig.watch.sights[self._sights :]

    @staticmethod
    def wait(seconds: float) -> None:
        """Let a fault last."""
        time.sleep(max(0.0, seconds))

    def gaps(self, reason: str = "") -> list[GapRow]:
        """Return the gap rows stored since the case began whose reason holds `reason`."""
        return [gap for gap in gaps_since(self.rig.database_url, self.began_us) if reason in gap.reason]

    def malformed(self) -> list[MalformedRow]:
        """Return the malformed frames stored since the case began."""
        return Tables(self.rig.database_url, since_us=self.began_us).malformed

    # ---- the verdict -------------------------------------------------------------------------------------------------

    def judge(self, *, faults: int = 1, extra: int = 0, altered: int = 0, heals: bool = True) -> Verdict:
        """Wait until what was sent up to now is stored, and fail unless all of it is good.

        Args:
            faults: How many must have been applied.
            extra: Rows that may be stored though the exchange sent no such message.
            altered: Messages that became others on their way, which nobody could tell from true ones.
            heals: Whether every book must be valid again.
        """
        applied = self.until_applied(faults)
        if heals:
            self.until_valid()
        self.rig.control("DELETE", "/faults")
        last_us = applied[-1].at_us
        verdict = self._settled(last_us, extra, altered)
        assert not verdict.problems, "\n".join(verdict.problems[:SHOWN])
        assert verdict.rows_after(last_us) >= 1, "no row was judged after the fault"
        assert not heals or verdict.books_after(last_us) >= 1, "no book was judged after the fault"
        self.rig.strangers |= verdict.strangers
        self.is_judged = True
        return verdict

    def _settled(self, last_us: int, extra: int, altered: int) -> Verdict:
        """Judge again and again until all is stored and something of it came after the last fault, or time is up."""
        until = 0
        give_up = time.monotonic() + SETTLE_S
        while True:
            last = self._last_on_tape()
            self.until(lambda last=last: self._is_stored(last), "what stands on the tape is stored")
            tables = Tables(self.rig.database_url, since_us=self.began_us - STORED_EARLIER_US)
            sights = self.rig.watch.sights[self._sights :]
            self.rig.fetch_truth()  # last: what was stored or seen meanwhile must not look like nobody's
            until = until or self.rig.truth.last_number
            verdict = judge(
                self.rig.truth, tables, sights, after=self._after, until=until, extra=extra, altered=altered,
                known=self.rig.strangers,
            )  # fmt: skip
            has_news = verdict.rows_after(last_us) > 0
            if (not verdict.problems and has_news) or time.monotonic() > give_up:
                return verdict
            until = until if has_news else 0
            time.sleep(0.2)

    def _last_on_tape(self) -> tuple[int, int]:
        newest: Any = self.rig.redis.xrevrange(schema.TAPE, count=1)
        return _order(newest[0][0].decode()) if newest else (0, 0)

    def _is_stored(self, last: tuple[int, int]) -> bool:
        """Whether the writer's watermark has come to an entry of the tape."""
        if last == (0, 0):
            return True
        with psycopg.connect(self.rig.database_url) as connection:
            query = "SELECT entry_id FROM feed_watermark WHERE stream = %s AND generation = %s"
            generation: Any = self.rig.redis.get(schema.GENERATION)
            row = connection.execute(query, (schema.TAPE, generation.decode())).fetchone()
        return row is not None and _order(row[0]) >= last

    def _state(self) -> str:
        whys = sorted(set(self.rig.watch.why.values()))
        tails = "\n".join(f"{w.name}: {w.output()[-1_500:]}" for w in (self.rig.gateway, self.rig.writer))
        return f"readers: {whys}\n{tails}"


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
