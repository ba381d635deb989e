"""The shared token budget on a real Valkey: the same answers as the pure code, and what happens without it."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feed.budget import UNREACHABLE, Budget, SharedBuckets, budget_key
from feed.kalshi.limiter import BASIC, Ask, Granted, Level, Limits, Rate, Refused, Work, charges, drain, take
from kalshimm.embedded.ports import free_port
from kalshimm.runtime import streams
from kalshimm.runtime.clock import ManualClock, SystemClock

START_US = 1_795_337_400_123_457  # large as real times are: doubles must stay exact
LIMITS = [
    BASIC,
    Limits(read=Rate(12_000, 36_000), write=Rate(9_600, 28_800), shards=(1, 2, 3)),
    Limits(read=Rate(3, 7), write=Rate(7, 31), shards=(1,)),
]
ASKS = st.builds(
    Ask,
    st.sampled_from(Work),
    st.sampled_from(["DELETE", "POST"]),
    st.sampled_from(["/portfolio/events/orders/:order_id", "/portfolio/events/orders/batched"]),
    items=st.integers(1, 40),
    exchange_index=st.sampled_from([None, -1, 0, 1, 2]),
    is_batch=st.booleans(),
)
LATER_US = st.one_of(st.integers(0, 2_000_000), st.integers(-10_000_000, 100_000_000))
STEPS = st.lists(st.tuples(ASKS, LATER_US, st.none() | st.integers(0, 1_000)), max_size=25)
CREATE = Ask(Work.CREATE, "POST", "/portfolio/events/orders")
RENEW = Ask(Work.RENEW, "POST", "/portfolio/events/orders/:order_id/amend")
CANCEL = Ask(Work.CANCEL, "DELETE", "/portfolio/events/orders/:order_id")
READ = Ask(Work.READ, "GET", "/portfolio/orders")
_accounts = count()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=st.sampled_from(LIMITS), steps=STEPS)
def test_random_histories_get_the_same_answers_from_redis_and_from_the_pure_code(
    redis_url: str, limits: Limits, steps: list[tuple[Ask, int, int | None]]
) -> None:
    asyncio.run(compare(redis_url, limits, steps))


async def compare(redis_url: str, limits: Limits, steps: list[tuple[Ask, int, int | None]]) -> None:
    client = streams.connect(redis_url)
    account = f"history-{next(_accounts)}"
    shared, levels, now_us = SharedBuckets(client, account), dict[str, Level](), START_US
    for ask, later_us, jitter_permille in steps:
        now_us += later_us
        asked = charges(ask, limits)
        if jitter_permille is None:
            levels, answer = take(levels, asked, now_us)
            assert await shared.take(asked, now_us=now_us) == answer
        else:
            levels = drain(levels, asked, now_us, jitter_permille=jitter_permille)
            await shared.drain(asked, jitter_permille=jitter_permille, now_us=now_us)
    stored = {k.decode(): Level(*map(int, v.split())) for k, v in (await client.hgetall(budget_key(account))).items()}
    assert stored == levels
    await client.aclose()


async def test_two_processes_spend_one_budget(redis_client: redis.Redis, redis_url: str) -> None:
    still = Limits(read=Rate(200, 200), write=Rate(0, 100))  # nothing runs in meanwhile, however slow the machine
    clients = [streams.connect(redis_url) for _ in range(2)]
    budgets = [Budget(client, "shared", SystemClock(), limits=still) for client in clients]
    for client in clients:
        await client.ping()
    answers = await asyncio.gather(*(budgets[i % 2].acquire(CREATE) for i in range(40)))
    assert sum(isinstance(answer, Granted) for answer in answers) == 6
    for client in clients:
        await client.aclose()


async def test_C6_a_429_of_one_process_holds_the_others_back(redis_client: redis.Redis, redis_url: str) -> None:
    client, other = streams.connect(redis_url), streams.connect(redis_url)
    slow = Limits(read=Rate(200, 200), write=Rate(1, 100))
    await Budget(client, "a", SystemClock(), limits=slow).rate_limited(CREATE)
    assert isinstance(await Budget(other, "a", SystemClock(), limits=slow).acquire(CREATE), Refused)
    assert await Budget(other, "b", SystemClock(), limits=slow).acquire(CREATE) == Granted()
    await client.aclose()
    await other.aclose()


@pytest.fixture
def nowhere() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"


async def test_D1_without_redis_cancels_go_on_and_creates_stop(nowhere: str) -> None:
    client, clock = streams.connect(nowhere), ManualClock()
    budget = Budget(client, "a", clock)
    assert await budget.acquire(CREATE) == UNREACHABLE
    assert await budget.acquire(RENEW) == UNREACHABLE
    cancels = [await budget.acquire(CANCEL) for _ in range(16)]
    assert cancels[:15] == [Granted()] * 15  # the reserve of 30
    assert isinstance(cancels[15], Refused)
    clock.advance_us(20_000)
    assert await budget.acquire(CANCEL) == Granted()
    assert budget.is_alone
    await client.aclose()


async def test_D1_without_redis_reads_go_on_with_local_pacing(nowhere: str) -> None:
    client, clock = streams.connect(nowhere), ManualClock()
    budget = Budget(client, "a", clock)
    reads = [await budget.acquire(READ) for _ in range(6)]
    assert [isinstance(answer, Granted) for answer in reads] == [True] * 5 + [False]  # a quarter of 200
    clock.advance_us(200_000)
    assert await budget.acquire(READ) == Granted()
    await client.aclose()


async def test_D3_a_paused_redis_costs_a_cancel_one_short_wait_and_is_found_again(
    redis_client: redis.Redis, redis_url: str
) -> None:
    client, clock = streams.connect(redis_url), ManualClock()
    budget = Budget(client, "a", clock)
    redis_client.client_pause(60_000, all=False)  # writes, the script among them
    try:
        assert await budget.acquire(CANCEL) == Granted()
        assert budget.is_alone
        assert await budget.acquire(CREATE) == UNREACHABLE
    finally:
        redis_client.client_unpause()
    clock.advance_us(1_000_000)
    assert await budget.acquire(CREATE) == Granted()
    assert not budget.is_alone
    await client.aclose()
