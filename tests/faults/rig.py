"""The rig of fault rows: real exchange, gateway, writer and stores, with a tap on every line between them.

    exchange ◄──ws── gateway ──redis_gateway──► Valkey ◄──redis_writer── writer ──postgres──► PostgreSQL
                                                  ▲
                                                  └── watch: one reader a market, as traders are

One rig serves a module; a `Case` is one row on it. Every process and store has a private home and private ports.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from feed import schema
from kalshimm.runtime.heartbeat import beat_key, decode_beat
from tests.faults.base import HEAL_S, OWNER, BaseCase, BaseRig
from tests.faults.checker import Verdict, judge
from tests.faults.tables import GapRow, MalformedRow, Tables, gaps_since
from tests.faults.tap import Tap
from tests.faults.truth import Key, Truth
from tests.faults.watch import Sight, Watch

SETTLE_S = 30.0
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


class Rig(BaseRig):
    """Everything of one module; `close` ends it whatever state it is in."""

    def __init__(self, folder: Path, database_url: str, options: Options) -> None:
        super().__init__(folder, database_url, _exchange_argv(options))
        self.options = options
        self.truth = Truth()
        self.strangers: set[Key] = set()  # stored rows of no frame, for which earlier rows are to blame
        self.ws = self.tap("ws", self.ready["ws"])
        self.redis_gateway = self.tap("redis_gateway", self.valkey.url)
        self.redis_writer = self.tap("redis_writer", self.valkey.url)
        self.postgres = self.tap("postgres", database_url)
        self.gateway = self.worker("gateway", ["gateway"], self._settings(self.redis_gateway))
        self.writer = self.worker("writer", ["writer"], self._settings(self.redis_writer))
        self.gateway.start()
        self.writer.start()
        self.tickers = sorted(self.control("GET", "/state")["markets"])[: options.tickers]
        self.watch = Watch(self.valkey.url, self.tickers)

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

    def fetch_truth(self) -> None:
        """Take over what the exchange has sent the gateway since the last time."""
        self.truth.add(self.control("GET", f"/frames?account={OWNER}&after={self.truth.last_number}")["frames"])

    def make_whole(self) -> None:
        """Undo whatever a row left behind."""
        self.heal(self.gateway, self.writer)

    def writer_beats(self) -> bool:
        """Whether the writer that runs now has begun its work: one that finds no store at its start ends at once."""
        value: Any = self.redis.get(beat_key("writer", "0"))
        return value is not None and decode_beat(value).pid == self.writer.pid

    def close(self) -> None:
        try:
            self.watch.close()
        finally:
            super().close()


class Case(BaseCase):
    """One row on a rig: faults are armed, seen applied, and everything since the case began is judged."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        rig.make_whole()
        self.until(rig.writer_beats, "the writer works")
        self.until_valid()
        rig.fetch_truth()
        super().__init__(rig, rig.gateway, rig.writer)
        self._after = rig.truth.last_number
        self._sights = len(rig.watch.sights)
        self._changes = len(rig.watch.changes)

    # ---- what is seen ------------------------------------------------------------------------------------------------

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

    def state(self) -> str:
        tails = "\n".join(f"{w.name}: {w.output()[-1_500:]}" for w in (self.rig.gateway, self.rig.writer))
        return f"readers: {sorted(set(self.rig.watch.why.values()))}\n{tails}"


def _exchange_argv(options: Options) -> list[str]:
    world = ["--scenario", options.scenario]
    if options.replay:
        world = ["--replay", *options.replay, "--markets", str(options.markets)]
    world += ["--speed", str(options.speed), "--seed", "7"]
    return [*world, "--keep-frames", str(FRAMES_KEPT), *options.exchange]


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
