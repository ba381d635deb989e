"""The publisher against a real Valkey, also a full one: with no memory left it refuses every write."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from feed import publisher, schema
from feed.books import Taken
from feed.publisher import ROWS_AN_ENTRY, Publisher, tape_commands

CONN = 7
BOOK = schema.book_stream("M-1")


def what_gathered(*, rows: int = 0, leased: str = "", gone: str = "", events: str = "") -> Taken:
    deltas: list[schema.TapeRow] = [schema.DeltaRow(1, 0, "M-1", n, 0, 4_200, 1) for n in range(rows)]
    happened: list[schema.BookEvent] = [schema.BookStatus(1, False, "x")]
    return Taken(
        rows=deltas,
        events={events: happened} if events else {},
        snapshots_wanted=[],
        leased={leased} - {""},
        gone={gone} - {""},
        is_feed_changed=False,
    )


@pytest.fixture
async def sending(redis_client: redis.Redis, redis_url: str) -> AsyncIterator[Publisher]:
    sending = Publisher(redis_url)
    yield sending
    fill(redis_client, is_full=False)
    sending.close()


def fill(store: redis.Redis, *, is_full: bool) -> None:
    store.config_set("maxmemory-policy", "noeviction")
    store.config_set("maxmemory", 1 if is_full else 0)


def tape_sizes(store: redis.Redis) -> list[int]:
    return [len(schema.decode_tape(fields[schema.FIELD]).rows) for _, fields in store.xrange(schema.TAPE)]


def test_rows_are_packed_into_entries() -> None:
    rows = what_gathered(rows=2 * ROWS_AN_ENTRY + 1).rows
    sizes = [len(schema.decode_tape(command[-1]).rows) for command in tape_commands("t", 7, rows)]
    assert sizes == [ROWS_AN_ENTRY, ROWS_AN_ENTRY, 1]


async def test_D4_what_a_full_store_refused_goes_first_next_time(redis_client: redis.Redis, sending: Publisher) -> None:
    fill(redis_client, is_full=True)
    sending.add(CONN, what_gathered(rows=1))
    assert not await sending.send()
    fill(redis_client, is_full=False)
    sending.add(CONN, what_gathered(rows=2, events="M-1"))
    assert await sending.send()
    assert tape_sizes(redis_client) == [1, 2]
    assert redis_client.xlen(BOOK) == 1
    assert sending.lost == 0


async def test_D4_an_overflow_keeps_the_newest_tape_and_no_part_of_a_book(
    redis_client: redis.Redis, sending: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = len(publisher.pack_tape(schema.TAPE, CONN, what_gathered(rows=5).rows).data)
    monkeypatch.setattr(publisher, "BACKLOG_BYTES", 3 * entry)
    fill(redis_client, is_full=True)
    for number in range(5):
        sending.add(CONN, what_gathered(rows=number + 1, events="M-1"))
    assert not await sending.send()
    fill(redis_client, is_full=False)
    assert await sending.send()
    assert tape_sizes(redis_client) == [3, 4, 5]
    assert not redis_client.exists(BOOK)
    assert sending.lost == 7


async def test_a_market_that_went_and_came_back_keeps_its_stream(redis_client: redis.Redis, sending: Publisher) -> None:
    sending.add(CONN, what_gathered(leased="M-1", events="M-1"))
    sending.add(CONN, what_gathered(gone="M-1"))
    await sending.send()
    assert redis_client.ttl(BOOK) > 0
    sending.add(CONN, what_gathered(leased="M-1", gone="M-1", events="M-1"))
    await sending.send()
    assert redis_client.ttl(BOOK) == -1
    assert redis_client.xlen(BOOK) == 2


async def test_what_is_queued_while_a_write_is_under_way_leaves_behind_it(
    redis_client: redis.Redis, sending: Publisher
) -> None:
    assert await sending.send()
    sending.add(CONN, what_gathered(rows=1))
    await sending.send()  # the line is open now
    for rows in (2, 3, 4):
        sending.add(CONN, what_gathered(rows=rows))
        sending.start()
        assert not sending.is_idle
    assert await sending.send()
    assert sending.is_idle
    assert tape_sizes(redis_client) == [1, 2, 3, 4]


async def test_D1_what_was_under_way_when_the_connection_broke_is_sent_again(
    redis_client: redis.Redis, sending: Publisher
) -> None:
    sending.add(CONN, what_gathered(rows=1))
    await sending.send()
    sending.add(CONN, what_gathered(rows=2))
    sending.start()
    sending.close()
    sending.add(CONN, what_gathered(rows=3))
    assert not await sending.send()
    assert await sending.send()
    sizes = tape_sizes(redis_client)
    assert (sizes[0], sizes[-2:]) == (1, [2, 3]), "what may have arrived comes once more, in its order"
