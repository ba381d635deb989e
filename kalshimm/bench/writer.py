"""How fast the writer stores the tape beside the least that PostgreSQL must do for it: COPY from a file of its own.

The writer is the product's own: it reads a stream of 50-row entries from Redis, decodes, packs, copies, commits and
trims until nothing is left. The reference is `COPY FROM` a binary file of the same rows into the same table with the
same indexes, read by the server itself. Rounds alternate; the table is empty at the beginning of each. The file lies in
the server's data folder, the one place that its account can surely read and write, whoever and wherever it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import redis.asyncio as redis_async
from asgiref.sync import sync_to_async
from django.db import connections

from feed import schema
from feed.publisher import ROWS_AN_ENTRY, tape_commands
from feed.sinks.base import to_time
from feed.sinks.tables import DELTAS
from feed.sinks.tape import TapeSink
from feed.writer import StreamWriter
from kalshimm import env
from kalshimm.bench import frames
from kalshimm.bench.report import Bench, Comparison, Effort, Goal, Progress, Round, middle
from kalshimm.bench.scratch import Scratch, scratch
from kalshimm.errors import KalshimmError
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.database import conninfo
from markets.models import BookDelta

MARKETS = 500
ROWS_A_SECOND = 100_000  # of effort
ROWS_LEAST = 20_000
BULK_ROWS = 20_000
BULK_BATCH = 5_000
COPY_OVER_BULK_MIN = 8.0
CONN = 4_711
TIME_US = 1_795_337_400_000_000
EVERY_US = 50  # 20,000 deltas a second of exchange time
FILE = "kalshimm-bench-writer.copy"
ALIAS = "bench"


class WriterBench(Bench):
    """The bench named `writer`."""

    name = "writer"
    about = f"the writer, from a stream of {ROWS_AN_ENTRY}-row entries to committed deltas of {MARKETS} markets"
    unit = "deltas per second, stream to committed"
    reference = "server-side COPY FROM a binary file into the same table, deltas per second"
    goal = Goal(floor=0.60, aim=0.80, on="ratio")
    others = (
        Comparison(
            "space",
            "bytes per delta in the plain table, its index included",
            "the 40 bytes of its values",
            Goal(floor=130.0, aim=115.0, is_lower_better=True),
            figure="bytes_per_delta",
            against="value_bytes",
        ),
    )

    async def run(self, effort: Effort, progress: Progress) -> list[Round]:
        """Measure both round by round, the writer first and last in turn."""
        deltas = rows(max(ROWS_LEAST, int(effort.seconds * ROWS_A_SECOND)))
        with scratch() as stores:
            async with _ground(stores, deltas) as ground:
                progress(f"{len(deltas):,} deltas a round; the file is {ground.path}")
                rounds = []
                for number in range(1, effort.rounds + 1):
                    rounds.append(await ground.round(is_writer_first=bool(number % 2)))
                    one = rounds[-1]
                    progress(f"round {number}: {one.figure:,.0f} ÷ {one.against:,.0f} = {one.figure / one.against:.3f}")
                return rounds

    def void(self, rounds: Sequence[Round]) -> str:
        copied, created = middle(rounds, "against"), middle(rounds, "bulk_create_per_s")
        if copied >= COPY_OVER_BULK_MIN * created:
            return ""
        return f"server COPY is only {copied / created:.2f} times bulk_create, and must be {COPY_OVER_BULK_MIN:g}"


def rows(count: int) -> list[schema.TapeRow]:
    """Return that many deltas of many markets in the order of their sequence, always the same."""
    tape = frames.tape(MARKETS, count + count % 2)
    return [
        schema.DeltaRow(
            TIME_US + seq * EVERY_US, schema.TimeSource.EXCHANGE, tape.markets[d.market].ticker, seq, d.side,
            d.price_cc, d.delta_cx,
        )
        for seq, d in enumerate(tape.deltas[:count], 1)
    ]  # fmt: skip


@contextlib.asynccontextmanager
async def _ground(stores: Scratch, deltas: list[schema.TapeRow]) -> AsyncIterator[Ground]:
    client = streams.connect(stores.redis_url, block_s=1)
    database = await psycopg.AsyncConnection.connect(stores.database_url, autocommit=True)
    connections.databases[ALIAS] = connections.databases["default"] | env.database(stores.database_url)
    try:
        ground = Ground(client, database, deltas)
        await ground.prepare()
        yield ground
        await ground.clean()
    finally:
        del connections.databases[ALIAS]
        await database.close()
        await client.aclose()


class Ground:
    """Stream, table and file that all rounds share."""

    def __init__(
        self, client: redis_async.Redis, database: psycopg.AsyncConnection[Any], deltas: list[schema.TapeRow]
    ) -> None:
        self._client, self._database, self._deltas = client, database, deltas
        self.path = ""

    async def prepare(self) -> None:
        """Have the server write the file, from rows that the writer has stored.

        Raises:
            KalshimmError: The role may not let the server read and write files.
        """
        await self._fill_stream()
        await self._drain()
        try:
            row = await (await self._database.execute("SELECT current_setting('data_directory')")).fetchone()
            assert row is not None, "a setting has a value"
            self.path = str(Path(row[0]) / FILE)
            await self._database.execute(f"COPY {DELTAS.name} TO '{self.path}' (FORMAT BINARY)")
        except psycopg.errors.InsufficientPrivilege as exc:
            raise KalshimmError(
                f"The reference is COPY from a file of the server's: {exc.diag.message_primary}; "
                "give DATABASE_URL a superuser, or unset it for an embedded server."
            ) from exc

    async def clean(self) -> None:
        """Leave nothing large behind: what cannot be deleted from here is emptied."""
        await self._database.execute(f"COPY (SELECT 1 WHERE false) TO '{self.path}' (FORMAT BINARY)")
        await asyncio.to_thread(_delete, Path(self.path))

    async def round(self, *, is_writer_first: bool) -> Round:
        """Measure the writer, server COPY and bulk_create, each into the empty table."""
        if is_writer_first:
            figure, size, cpu_s = await self._writer()
            against = await self._server_copy()
        else:
            against = await self._server_copy()
            figure, size, cpu_s = await self._writer()
        created = await self._bulk_create()
        more = {
            "bytes_per_delta": round(size / len(self._deltas), 2),
            "value_bytes": 40.0,
            "bulk_create_per_s": round(created, 1),
            "writer_cpu_us_per_delta": round(cpu_s / len(self._deltas) * 1e6, 3),
        }
        return Round(figure=round(figure, 1), against=round(against, 1), more=more)

    async def _writer(self) -> tuple[float, int, float]:
        """Return deltas per second, bytes of table and index, and seconds of this process's CPU."""
        await self._fill_stream()
        await self._empty_table()
        cpu_s, start_s = time.process_time(), time.perf_counter()
        writer = await self._drain()
        spent_s, cpu_s = time.perf_counter() - start_s, time.process_time() - cpu_s
        if writer.stored != {"deltas": len(self._deltas)}:
            raise KalshimmError(
                f"The writer stored {dict(writer.stored)}, not the {len(self._deltas)} deltas it was given."
            )
        row = await (await self._database.execute("SELECT pg_total_relation_size(%s)", (DELTAS.name,))).fetchone()
        assert row is not None, "the table is there"
        return len(self._deltas) / spent_s, int(row[0]), cpu_s

    async def _drain(self) -> StreamWriter:
        writer = StreamWriter(
            client=self._client, dsn=conninfo(connections.databases[ALIAS]), sink=TapeSink(schema.TAPE),
            clock=SystemClock(),
        )  # fmt: skip
        stop = asyncio.Event()
        stop.set()  # asked to stop, it stores all that is there first
        await writer.run(stop)
        return writer

    async def _server_copy(self) -> float:
        await self._empty_table()
        start_s = time.perf_counter()
        done = await self._database.execute(f"COPY {DELTAS.name} FROM '{self.path}' (FORMAT BINARY)")
        spent_s = time.perf_counter() - start_s
        if done.rowcount != len(self._deltas):
            raise KalshimmError(f"The file holds {done.rowcount} deltas, not {len(self._deltas)}.")
        return done.rowcount / spent_s

    async def _bulk_create(self) -> float:
        await self._empty_table()
        return await sync_to_async(_bulk_create)(self._deltas[:BULK_ROWS])

    async def _fill_stream(self) -> None:
        await self._client.delete(schema.TAPE)
        await self._database.execute("DELETE FROM feed_watermark")
        pipeline = self._client.pipeline(transaction=False)
        for command in tape_commands(schema.TAPE, CONN, self._deltas):
            pipeline.execute_command(*command)
        await pipeline.execute()

    async def _empty_table(self) -> None:
        await self._database.execute(f"TRUNCATE {DELTAS.name}")
        await self._database.execute("CHECKPOINT")  # what the round before left to write is not this one's


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _bulk_create(deltas: Sequence[schema.TapeRow]) -> float:
    """Return rows per second through Django's ORM."""
    made = [
        BookDelta(
            time=to_time(d.time_us), market=1, conn=1, seq=d.seq, side=d.side, time_source=d.source,
            price_cc=d.price_cc, delta_cx=d.delta_cx,
        )
        for d in deltas
        if isinstance(d, schema.DeltaRow)
    ]  # fmt: skip
    start_s = time.perf_counter()
    try:
        BookDelta.objects.using(ALIAS).bulk_create(made, batch_size=BULK_BATCH)
        return len(made) / (time.perf_counter() - start_s)
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]  # of this thread; the next run has another database
