"""A trader's reader against a real Valkey: what it brings is up to now, and it says when it cannot be."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from feed import schema
from kalshimm.runtime.resp import Pipe
from traders import feedview
from traders.feedview import READER_PAUSE_MAX_S, StreamReader

STATE = schema.FeedState(schema.VERSION, 7, "connected", {1: 1}, 0, 5, 1, 1)
BOOK = schema.book_stream("M-1")


@pytest.fixture
async def reader(redis_client: redis.Redis, redis_url: str) -> AsyncIterator[StreamReader]:
    pipe = Pipe(redis_url)
    reader = StreamReader(pipe, trader=1, ticker="M-1", control_id="0-0")
    put_book(redis_client, schema.BookSnapshot(7, 1, 1, 1, 1, [], []))
    await reader.locate()
    yield reader
    pipe.close()


def put_book(store: redis.Redis, *events: schema.BookEvent) -> None:
    store.xadd(BOOK, {schema.FIELD: schema.encode(schema.BookEntry(schema.VERSION, list(events)))})


def put_deltas(store: redis.Redis, count: int) -> None:
    for seq in range(2, count + 2):
        put_book(store, schema.BookDelta(seq, seq, 0, 4_200, 1, None))


def put_feed(store: redis.Redis) -> None:
    store.xadd(schema.FEED, {schema.FIELD: schema.encode(STATE)})


async def test_A4_a_reader_that_is_behind_reads_to_the_end_before_anything_is_decided(
    redis_client: redis.Redis, reader: StreamReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedview, "READ_ENTRIES", 10)
    put_deltas(redis_client, 35)
    put_feed(redis_client)
    batch = await reader.read(block_ms=1_000, now_s=0)
    assert [event.seq for event in batch.events if isinstance(event, schema.BookDelta)] == list(range(2, 37))
    assert (batch.feed, batch.lost) == (STATE, False)


async def test_A4_after_a_pause_of_ours_a_feed_entry_that_waited_counts_for_nothing(
    redis_client: redis.Redis, reader: StreamReader
) -> None:
    put_feed(redis_client)
    assert (await reader.read(block_ms=1_000, now_s=0)).feed == STATE
    put_feed(redis_client)
    put_deltas(redis_client, 1)
    batch = await reader.read(block_ms=1_000, now_s=READER_PAUSE_MAX_S + 1)
    assert (batch.feed, len(batch.events), batch.lost) == (None, 1, False)
    put_feed(redis_client)
    assert (await reader.read(block_ms=1_000, now_s=READER_PAUSE_MAX_S + 1.5)).feed == STATE


async def test_D4_entries_that_were_trimmed_before_they_were_read_are_told(
    redis_client: redis.Redis, reader: StreamReader
) -> None:
    put_deltas(redis_client, 20)
    await reader.read(block_ms=1_000, now_s=0)
    put_deltas(redis_client, 20)
    redis_client.xtrim(BOOK, maxlen=5, approximate=False)
    assert (await reader.read(block_ms=1_000, now_s=READER_PAUSE_MAX_S + 1)).lost
