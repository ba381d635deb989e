"""A live trader's reader of the account against a real Valkey: from a whole entry on, nothing left out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import redis

from feed import schema
from kalshimm.runtime.resp import Pipe
from traders import accountfeed
from traders.accountfeed import AccountReader

ACCOUNT = "local"
STREAM = schema.account_stream(ACCOUNT)


@pytest.fixture
async def reader(redis_client: redis.Redis, redis_url: str) -> AsyncIterator[AccountReader]:
    pipe = Pipe(redis_url)
    yield AccountReader(pipe, ACCOUNT)
    pipe.close()


def put(store: redis.Redis, time_us: int, *, is_whole: bool = False, version: int = schema.VERSION) -> None:
    entry = schema.AccountEntry(version, ACCOUNT, time_us, is_whole, [schema.AccountBalance(time_us, [])])
    store.xadd(STREAM, {schema.FIELD: schema.encode(entry)})


def times(entries: tuple[schema.AccountEntry, ...]) -> list[int]:
    return [entry.time_us for entry in entries]


async def test_a_newcomer_begins_with_the_newest_whole_entry(
    redis_client: redis.Redis, reader: AccountReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accountfeed, "WALK_BACK_ENTRIES", 3)
    put(redis_client, 1, is_whole=True)
    put(redis_client, 2)
    put(redis_client, 3, is_whole=True)
    for time_us in range(4, 12):
        put(redis_client, time_us)

    assert times(await reader.locate()) == list(range(3, 12))
    put(redis_client, 12)
    assert times(await reader.read(block_ms=1_000)) == [12]


async def test_without_a_whole_entry_there_is_nothing_to_begin_with(
    redis_client: redis.Redis, reader: AccountReader
) -> None:
    put(redis_client, 1)

    assert await reader.locate() == ()
    put(redis_client, 2, is_whole=True)
    assert times(await reader.read(block_ms=1_000)) == [2]


async def test_an_empty_stream_is_waited_on(redis_client: redis.Redis, reader: AccountReader) -> None:
    assert await reader.locate() == ()
    assert await reader.read(block_ms=1) == ()
    assert not await reader.is_cut()
    put(redis_client, 1, is_whole=True)
    assert times(await reader.read(block_ms=1_000)) == [1]


async def test_D6_entries_trimmed_before_they_were_read_are_noticed(
    redis_client: redis.Redis, reader: AccountReader
) -> None:
    put(redis_client, 1, is_whole=True)
    await reader.locate()
    put(redis_client, 2)
    put(redis_client, 3, is_whole=True)
    redis_client.xtrim(STREAM, maxlen=1, approximate=False)

    assert await reader.is_cut()
    assert times(await reader.locate()) == [3]


async def test_an_entry_of_another_version_is_no_truth(redis_client: redis.Redis, reader: AccountReader) -> None:
    put(redis_client, 1, is_whole=True, version=schema.VERSION + 1)

    with pytest.raises(msgspec.ValidationError, match="version"):
        await reader.locate()
