"""The account's stream on a real Valkey, also a full one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis
from msgspec import structs

from feed import schema
from feed.account import publisher
from feed.account.publisher import ENTRIES_A_WHOLE, UPDATES_AN_ENTRY, WHOLE_EVERY_S, AccountPublisher
from kalshimm.runtime import streams
from kalshimm.runtime.clock import ManualClock

FILL = schema.AccountFill("o-1", "t-1", "", "M-1", 0, 4_200, 100, False, 0, 0, 0, 1, None)
OPEN = schema.AccountOrder(
    order_id="o-1", client_order_id="", ticker="M-1", side=0, yes_price_cc=4_200, initial_cx=300, filled_cx=0,
    remaining_cx=300, status="resting", is_complete=False, time_us=1, group_id="", exchange_index=0, subaccount=0,
    expires_us=None, is_external=True, reason="",
)  # fmt: skip
OVER = structs.replace(OPEN, filled_cx=100, remaining_cx=0, status="canceled", is_complete=True)
BALANCE = schema.AccountBalance(5_000_000, [(0, 5_000_000)])


class Sending:
    """A publisher, its clock, and what stands on its stream."""

    def __init__(self, client: redis.Redis, sender: AccountPublisher, clock: ManualClock) -> None:
        self._client, self.sender, self.clock = client, sender, clock

    async def send(self) -> bool:
        return await self.sender.send(lambda: [BALANCE])

    def entries(self) -> list[schema.AccountEntry]:
        stream = schema.account_stream("a")
        return [schema.decode_account(fields[schema.FIELD]) for _, fields in self._client.xrange(stream)]

    def fill(self, *, is_full: bool) -> None:
        self._client.config_set("maxmemory-policy", "noeviction")
        self._client.config_set("maxmemory", 1 if is_full else 0)


@pytest.fixture
async def sending(redis_client: redis.Redis, redis_url: str) -> AsyncIterator[Sending]:
    client, clock = streams.connect(redis_url), ManualClock()
    started = Sending(redis_client, AccountPublisher(client, "a", clock), clock)
    yield started
    started.fill(is_full=False)
    await client.aclose()


async def test_a_newcomer_finds_a_whole_entry_at_once_and_then_every_half_minute(sending: Sending) -> None:
    assert await sending.send()
    assert await sending.send()
    assert [entry.is_whole for entry in sending.entries()] == [True]
    sending.clock.advance_us(int(WHOLE_EVERY_S * 1_000_000))
    sending.sender.add([FILL])
    assert await sending.send()
    assert [(entry.is_whole, entry.updates) for entry in sending.entries()[1:]] == [(False, [FILL]), (True, [BALANCE])]


async def test_many_entries_bring_a_whole_one_before_its_time(sending: Sending) -> None:
    assert await sending.send()
    sending.sender.add([BALANCE] * (UPDATES_AN_ENTRY * ENTRIES_A_WHOLE // 20))
    for _ in range(20):
        sending.sender.add([BALANCE] * (UPDATES_AN_ENTRY * ENTRIES_A_WHOLE // 20))
        assert await sending.send()
    assert sum(entry.is_whole for entry in sending.entries()) == 2


async def test_D4_what_a_full_store_refused_follows_with_a_whole_entry(sending: Sending) -> None:
    assert await sending.send()
    sending.fill(is_full=True)
    sending.sender.add([FILL])
    assert not await sending.send()
    sending.fill(is_full=False)
    assert await sending.send()
    assert [(entry.is_whole, entry.updates) for entry in sending.entries()[1:]] == [(False, [FILL]), (True, [BALANCE])]


async def test_D4_an_overflow_keeps_every_fill(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "BACKLOG_UPDATES", 3)
    sending.fill(is_full=True)
    for _ in range(4):
        sending.sender.add([FILL, BALANCE])
        assert not await sending.send()
    sending.fill(is_full=False)
    assert await sending.send()
    kept = [update for entry in sending.entries() for update in entry.updates]
    assert kept.count(FILL) == 4
    assert sending.entries()[-1].is_whole


async def test_D2_a_store_that_began_anew_is_told_again_what_no_whole_entry_says(
    sending: Sending, redis_client: redis.Redis
) -> None:
    redis_client.set(schema.GENERATION, "one")
    sending.sender.add([OPEN, FILL, OVER])
    assert await sending.send()
    redis_client.delete(schema.account_stream("a"), schema.GENERATION)
    assert await sending.send(), "nobody has made another one yet"
    assert sending.entries() == []
    redis_client.set(schema.GENERATION, "two")
    for _ in range(3):
        assert await sending.send()
    told = [(entry.is_whole, entry.updates) for entry in sending.entries()]
    assert told == [(False, [FILL, OVER]), (True, [BALANCE])], "once"
