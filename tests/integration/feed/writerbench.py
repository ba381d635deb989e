"""Stream writers over what lies on the streams, and things to put there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import redis

from feed import schema
from feed.publisher import tape_commands
from feed.sinks.base import Sink
from feed.writer import StreamWriter
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock

CONN = 41
BEFORE = 1_795_337_400_000_000


def a_delta(seq: int, *, ticker: str = "M-1") -> schema.DeltaRow:
    return schema.DeltaRow(BEFORE + seq, schema.TimeSource.EXCHANGE, ticker, seq, 0, 4_200, 100)


def publish(client: redis.Redis, rows: list[schema.TapeRow]) -> None:
    for command in tape_commands(schema.TAPE, CONN, rows):
        client.execute_command(*command)


class Bench:
    """Runs stream writers over what lies on the streams, until nothing is left."""

    def __init__(self, redis_url: str, dsn: str) -> None:
        self.client = streams.connect(redis_url, block_s=1)
        self.dsn = dsn

    async def drain(self, sink: Sink) -> StreamWriter:
        writer = StreamWriter(client=self.client, dsn=self.dsn, sink=sink, clock=SystemClock())
        stop = asyncio.Event()
        stop.set()  # a writer asked to stop stores what is on the stream first
        await writer.run(stop)
        return writer

    @asynccontextmanager
    async def writing(self, sink: Sink) -> AsyncIterator[StreamWriter]:
        """Run a writer meanwhile."""
        writer = StreamWriter(client=self.client, dsn=self.dsn, sink=sink, clock=SystemClock())
        stop = asyncio.Event()
        running = asyncio.create_task(writer.run(stop))
        try:
            yield writer
        finally:
            stop.set()
            await running

    async def execute(self, statement: str) -> None:
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            await connection.execute(statement)  # type: ignore[arg-type]

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.dsn) as connection:
            return list(await (await connection.execute(query)).fetchall())  # type: ignore[arg-type]

    async def count(self, table: str) -> int:
        return (await self.rows(f"SELECT count(*) FROM {table}"))[0][0]


def a_line(
    number: int, body: schema.JournalBody, *, trader: int = 3, account: str = "paper", mode: str = "dry-run"
) -> bytes:
    line = schema.JournalEntry(schema.VERSION, trader, number, BEFORE + number, account, mode, "M-1", body)
    return schema.encode(line)


def an_order(filled: int, status: str, *, side: int = 0, price_cc: int = 4_200) -> schema.OrderState:
    return schema.OrderState("c-1", "o-1", side, price_cc, 1_000, filled, 1_000 - filled, status, "")
