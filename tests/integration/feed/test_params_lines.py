"""What a running trader goes over to, in the tables: all of it, by its digest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from feed import schema
from feed.sinks.journal import JournalSink
from tests.integration.feed.writerbench import Bench, a_line


@pytest.fixture
async def bench(redis_url: str, database_url: str) -> AsyncIterator[Bench]:
    made = Bench(redis_url, database_url)
    yield made
    await made.client.aclose()


async def test_other_parameters_are_kept_whole(bench: Bench, redis_client: redis.Redis) -> None:
    strategies = {"placement": {"name": "join_best", "params": {"bid_cx": 700}}}
    change = schema.ParamsChange("other placement, limits", 1 << 55, strategies, {"order_cx_most": 700})
    redis_client.xadd(schema.JOURNAL, {schema.FIELD: a_line(7, change)})
    await bench.drain(JournalSink())
    assert await bench.rows("SELECT kind, trader, number, reason, figures FROM traders_decision") == [
        (
            "params", 3, 7, "other placement, limits",
            {"strategies": strategies, "limits": {"order_cx_most": 700}, "digest": 1 << 55},
        ),
    ]  # fmt: skip
