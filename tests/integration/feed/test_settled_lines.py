"""A trader's last line in the tables: its market has paid."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from feed import schema
from feed.sinks.journal import JournalSink
from tests.integration.feed.writerbench import BEFORE, Bench, a_line

PAID = schema.SettledState("yes", 10_000, 5_000_000, 0, 500, 2_050_000, 2_915_800, 34_200, BEFORE, "settled yes")
ROWS = """
SELECT account, ticker, subaccount, yes_cx, no_cx, yes_cost_ud, no_cost_ud, revenue_ud, fee_ud FROM feed_settlement
ORDER BY subaccount
"""


@pytest.fixture
async def bench(redis_url: str, database_url: str) -> AsyncIterator[Bench]:
    made = Bench(redis_url, database_url)
    yield made
    await made.client.aclose()


def put(client: redis.Redis, *lines: bytes) -> None:
    for line in lines:
        client.xadd(schema.JOURNAL, {schema.FIELD: line})


async def test_F7_traders_that_share_a_market_and_the_paper_account_each_have_a_row(
    bench: Bench, redis_client: redis.Redis
) -> None:
    short = schema.SettledState("yes", 10_000, 0, 0, -300, 1_740_000, -1_740_000, 0, BEFORE, "settled yes")
    put(redis_client, a_line(7, PAID, trader=3), a_line(9, short, trader=4))
    await bench.drain(JournalSink())
    assert await bench.rows(ROWS) == [
        ("paper", "M-1", 3, 500, 0, 2_050_000, 0, 5_000_000, 34_200),
        ("paper", "M-1", 4, 0, 300, 0, 1_740_000, 0, 0),
    ]
    assert await bench.rows("SELECT kind, trader, number, reason FROM traders_decision ORDER BY trader") == [
        ("settled", 3, 7, "settled yes"),
        ("settled", 4, 9, "settled yes"),
    ]


async def test_F7_a_line_that_comes_twice_or_again_with_another_number_pays_once(
    bench: Bench, redis_client: redis.Redis
) -> None:
    again = schema.SettledState("yes", 10_000, 0, 0, 0, 0, 2_915_800, 34_200, BEFORE, "settled yes")
    put(redis_client, a_line(7, PAID), a_line(7, PAID), a_line(8, again))
    await bench.drain(JournalSink())
    assert [row[7] for row in await bench.rows(ROWS)] == [5_000_000]
    assert await bench.rows("SELECT number FROM traders_journalmark") == [(8,)]


async def test_F7_what_a_live_market_paid_is_left_to_its_account_to_tell(
    bench: Bench, redis_client: redis.Redis
) -> None:
    put(redis_client, a_line(7, PAID, account="local", mode="live"))
    await bench.drain(JournalSink())
    assert await bench.count("feed_settlement") == 0
    assert await bench.count("traders_decision") == 1
