"""The writer as one process: what it tells the traders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import redis

from feed import schema
from feed.writer import Writer
from kalshimm.runtime.clock import SystemClock
from tests.integration.feed.writerbench import a_line

DEADLINE_S = 20.0


class Acknowledgements:
    """What a running writer has told the traders of their journals."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def note(self, trader: int, number: int) -> None:
        line = a_line(number, schema.Decision("x", {}, 1), trader=trader)
        self._client.xadd(schema.JOURNAL, {schema.FIELD: line})

    async def become(self, told: dict[int, int]) -> None:
        await until(lambda: self.now() == told)

    def now(self) -> dict[int, int]:
        return {int(trader): int(number) for trader, number in self._client.hgetall(schema.ACK).items()}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - another process's state, not an event
            await asyncio.sleep(0.02)


@pytest.fixture
async def told(redis_client: redis.Redis, redis_url: str, database_url: str) -> AsyncIterator[Acknowledgements]:
    writer = Writer(redis_url=redis_url, dsn=database_url, clock=SystemClock(), tape_bytes=1 << 30)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    yield Acknowledgements(redis_client)
    stop.set()
    await running


async def test_only_what_is_new_is_acknowledged_and_all_of_it_to_a_store_that_began_anew(
    told: Acknowledgements, redis_client: redis.Redis
) -> None:
    told.note(trader=3, number=7)
    await told.become({3: 7})
    redis_client.delete(schema.ACK)
    told.note(trader=4, number=1)
    await told.become({4: 1})
    redis_client.flushall()
    await told.become({3: 7, 4: 1})
