"""The publisher against a real Valkey, also a full one: with no memory left it refuses every write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis

from feed import publisher, schema
from feed.marketbook import MarketBook
from feed.outbox import Taken
from feed.publisher import ROWS_AN_ENTRY, Publisher, tape_commands

CONN = 7
BOOK = schema.book_stream("M-1")
STATE = schema.FeedState(schema.VERSION, CONN, "connected", {1: 1}, 0, 5, 1, 1)
MARKET = MarketBook("M-1").state()


def what_gathered(*, rows: int = 0, leased: str = "", gone: str = "", events: str = "") -> Taken:
    deltas: list[schema.TapeRow] = [schema.DeltaRow(1, 0, "M-1", n, 0, 4_200, 1) for n in range(rows)]
    happened: list[schema.BookEvent] = [schema.BookStatus(1, False, "x")]
    return Taken(
        rows=deltas,
        events={events: happened} if events else {},
        snapshots_wanted=[],
        leased=frozenset({leased} - {""}),
        gone=frozenset({gone} - {""}),
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
    sending.add(CONN, what_gathered(rows=2))
    assert await sending.send()
    assert tape_sizes(redis_client) == [1, 2]
    assert sending.lost == 0


async def test_D4_books_are_not_repeated_and_the_feed_is_silent_until_they_are_told_anew(
    redis_client: redis.Redis, sending: Publisher
) -> None:
    fill(redis_client, is_full=True)
    sending.add(CONN, what_gathered(events="M-1"))
    assert not await sending.send()
    fill(redis_client, is_full=False)
    sending.add(CONN, what_gathered(rows=1, events="M-1"))
    sending.add_feed(STATE)
    assert await sending.send()
    assert not redis_client.exists(BOOK), "what may have come in part says no more"
    assert not redis_client.exists(schema.FEED)
    sending.tell_books()
    sending.add(CONN, what_gathered(events="M-1"))
    assert await sending.send()
    assert redis_client.xlen(BOOK) == 1
    assert redis_client.xlen(schema.FEED) == 1


async def test_D1_of_feed_and_states_only_the_newest_is_told_when_redis_is_back(
    redis_client: redis.Redis, sending: Publisher
) -> None:
    fill(redis_client, is_full=True)
    for lag_ms in (7, 8, 9):
        sending.add_feed(msgspec.structs.replace(STATE, lag_ms=lag_ms))
        sending.add_states({"M-1": msgspec.structs.replace(MARKET, volume_cx=lag_ms)})
        assert not await sending.send()
    fill(redis_client, is_full=False)
    sending.add_feed(msgspec.structs.replace(STATE, lag_ms=10))
    sending.tell_books()
    assert await sending.send()
    ((_, fields),) = redis_client.xrange(schema.FEED)
    assert schema.decode_feed(fields[schema.FIELD]).lag_ms == 10
    assert schema.decode_market(redis_client.hget(schema.MARKETS, "M-1")).volume_cx == 9


async def test_D4_an_overflow_keeps_the_newest_tape_and_says_since_when_some_is_missing(
    redis_client: redis.Redis, sending: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = len(publisher.pack_tape(schema.TAPE, CONN, what_gathered(rows=5).rows).data)
    monkeypatch.setattr(publisher, "BACKLOG_BYTES", 3 * entry)
    sending.add(CONN, what_gathered(rows=9))
    before_s = asyncio.get_running_loop().time()
    assert await sending.send()
    taken_s = asyncio.get_running_loop().time()
    fill(redis_client, is_full=True)
    for number in range(5):
        sending.add(CONN, what_gathered(rows=number + 1))
    assert not await sending.send()
    fill(redis_client, is_full=False)
    assert await sending.send()
    assert tape_sizes(redis_client) == [9, 3, 4, 5]
    assert sending.lost == 2
    assert before_s <= sending.lost_since_s <= taken_s


async def test_D1_a_long_backlog_leaves_in_writes_that_can_be_answered(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "WRITE_BYTES", 1)
    sent: list[int] = []
    several = Publisher(redis_url, on_sent=lambda: sent.append(redis_client.xlen(schema.TAPE)))
    for _ in range(3):
        several.add(CONN, what_gathered(rows=1))
    several.add_feed(STATE)
    assert await several.send()
    several.close()
    assert sent == [1, 2, 3]
    assert redis_client.xlen(schema.FEED) == 1


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


async def test_D1_while_nothing_leaves_it_asks_for_nothing_more(redis_client: redis.Redis, sending: Publisher) -> None:
    """Whoever gathers waits until then, so that what came meanwhile leaves in few pieces."""
    sending.add(CONN, what_gathered(rows=1))
    sending.start()
    assert not sending.is_idle, "there is no line yet"
    assert await sending.send()
    assert sending.is_idle
    fill(redis_client, is_full=True)
    sending.add(CONN, what_gathered(rows=1))
    assert not await sending.send()
    assert not sending.is_idle, "a full store takes nothing"
    fill(redis_client, is_full=False)
    assert await sending.send()
    assert sending.is_idle


async def test_D1_what_was_under_way_when_the_connection_broke_is_sent_again(
    redis_client: redis.Redis, sending: Publisher
) -> None:
    sending.add(CONN, what_gathered(rows=1))
    await sending.send()
    sending.add(CONN, what_gathered(rows=2))
    sending.start()
    sending.close()
    assert sending.is_stuck.is_set()
    sending.add(CONN, what_gathered(rows=3))
    assert await sending.send()
    sizes = tape_sizes(redis_client)
    assert (sizes[0], sizes[-2:]) == (1, [2, 3]), "what may have arrived comes once more, in its order"


async def test_B4_the_end_of_a_generation_is_told_before_what_was_still_of_it_and_after(
    redis_client: redis.Redis, sending: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of both streams may see one entry before the next is there."""
    orders: list[list[str]] = []
    write = sending._pipe.write

    def noting(data: bytes, commands: int, on_answer: object) -> None:
        places = sorted((at, name) for name in (BOOK, schema.FEED) for at in _places(data, f"\r\n{name}\r\n".encode()))
        orders.append([name for _, name in places])
        write(data, commands, on_answer)  # type: ignore[arg-type]

    monkeypatch.setattr(sending._pipe, "write", noting)
    for generations in ({1: 1}, {1: 1}, {1: 2}, {1: 2}, {}, {2: 1}):
        sending.add(CONN, what_gathered(events="M-1"))
        sending.add_feed(msgspec.structs.replace(STATE, generations=generations))
        assert await sending.send()
    behind, both = [BOOK, schema.FEED], [schema.FEED, BOOK, schema.FEED]
    assert orders == [behind, behind, both, behind, both, behind]
    assert redis_client.xlen(schema.FEED) == 8


def _places(data: bytes, what: bytes) -> list[int]:
    places, at = [], data.find(what)
    while at >= 0:
        places.append(at)
        at = data.find(what, at + 1)
    return places
