"""How far history reaches, as the writer notes it where nothing happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
import pytest
import redis

from feed import schema
from feed.sinks.base import to_time
from feed.sinks.tape import TapeSink
from feed.writer.reach import Reach
from tests.integration.feed.writerbench import BEFORE, CONN, Bench, a_delta, publish

LIVING = schema.FeedState(schema.VERSION, CONN, "connected", {}, 200, 30, BEFORE + 9_000_000, 1)


class Rig:
    """A tape whose first delta is stored, with a feed that lives."""

    def __init__(self, bench: Bench, client: redis.Redis) -> None:
        self.bench, self.redis = bench, client
        self.reach = Reach(bench.client, bench.dsn)

    def tell(self, state: schema.FeedState) -> None:
        self.redis.xadd(schema.FEED, {schema.FIELD: schema.encode(state)})

    async def store(self) -> None:
        await self.bench.drain(TapeSink(schema.TAPE))

    async def noted(self) -> datetime | None:
        await self.reach.look()
        ((until,),) = await self.bench.rows(f"SELECT stored_until FROM feed_connection WHERE identity = {CONN}")
        return until


@pytest.fixture
async def rig(redis_client: redis.Redis, redis_url: str, database_url: str) -> AsyncIterator[Rig]:
    rig = Rig(Bench(redis_url, database_url), redis_client)
    publish(redis_client, [a_delta(1)])
    await rig.store()
    yield rig
    await rig.reach.close()
    await rig.bench.client.aclose()


async def test_on_a_quiet_tape_history_reaches_to_where_the_feed_had_told_everything(rig: Rig) -> None:
    assert await rig.noted() is None
    rig.tell(LIVING)
    told = to_time(LIVING.written_us) - timedelta(milliseconds=30)
    assert await rig.noted() == told, "messages come 30 ms late"
    rig.tell(msgspec.structs.replace(LIVING, written_us=LIVING.written_us + 250_000))
    assert await rig.noted() == told + timedelta(milliseconds=250)


async def test_what_is_not_stored_yet_is_waited_for_however_much_comes_meanwhile(rig: Rig) -> None:
    publish(rig.redis, [a_delta(2)])
    rig.tell(LIVING)
    assert await rig.noted() is None
    await rig.store()
    publish(rig.redis, [a_delta(3)])
    rig.tell(msgspec.structs.replace(LIVING, written_us=LIVING.written_us + 250_000))
    assert await rig.noted() == to_time(LIVING.written_us - 30_000)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"state": "disconnected"}, id="disconnected"),
        pytest.param({"frame_age_ms": 15_000}, id="silent"),
        pytest.param({"version": schema.VERSION + 1}, id="of another version"),
    ],
)
async def test_a_feed_that_readers_distrust_lets_history_reach_nowhere(rig: Rig, changes: dict[str, object]) -> None:
    rig.tell(msgspec.structs.replace(LIVING, **changes))
    assert await rig.noted() is None


async def test_D2_a_new_store_says_nothing_before_the_writer_has_noted_what_the_old_one_lost(rig: Rig) -> None:
    rig.redis.flushall()
    rig.redis.set(schema.GENERATION, "another")
    rig.tell(LIVING)
    assert await rig.noted() is None
    await rig.store()
    rig.tell(LIVING)
    assert await rig.noted() == to_time(LIVING.written_us - 30_000)


async def test_a_feed_entry_that_means_nothing_does_not_end_the_writer(rig: Rig) -> None:
    rig.redis.xadd(schema.FEED, {schema.FIELD: b"\xc1"})
    assert await rig.noted() is None
