"""What a desk would say of an account that has cash, and neither orders nor positions."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import redis.asyncio as redis_async

from feed.schema import FIELD, VERSION, AccountBalance, AccountEntry, AccountHealth, account_stream, encode
from kalshimm.runtime import worker

CASH_UD = 1_000_000_000
SHARD = 0
REPEAT_S = 3.0  # a trader takes a desk for gone after 15 s
STREAM_ENTRIES = 1_000


def entry(name: str, time_us: int, *, is_whole: bool) -> AccountEntry:
    """Return one entry of its stream.

    Args:
        is_whole: As the first one a reader sees must be. One that is repeated must not be: it says that nothing rests,
            and a trader whose orders do would have to look at them.
    """
    balance, health = AccountBalance(CASH_UD, [(SHARD, CASH_UD)]), AccountHealth("live", "", time_us, None)
    return AccountEntry(VERSION, name, time_us, is_whole, [balance, health])


@contextlib.asynccontextmanager
async def told(client: redis_async.Redis, name: str) -> AsyncIterator[None]:
    """Write its stream until the end of the block, from a whole entry on."""
    await _write(client, name, is_whole=True)
    telling = asyncio.create_task(_repeat(client, name), name="desk")
    try:
        yield
    finally:
        await worker.cancel(telling)


async def _repeat(client: redis_async.Redis, name: str) -> None:
    while True:
        await asyncio.sleep(REPEAT_S)
        await _write(client, name, is_whole=False)


async def _write(client: redis_async.Redis, name: str, *, is_whole: bool) -> None:
    written = encode(entry(name, time.time_ns() // 1_000, is_whole=is_whole))
    await client.xadd(account_stream(name), {FIELD: written}, maxlen=STREAM_ENTRIES)
