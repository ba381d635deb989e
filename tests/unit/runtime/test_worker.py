from __future__ import annotations

import asyncio

import pytest

from kalshimm.runtime.worker import every, set_within


async def test_it_says_whether_the_event_came() -> None:
    event = asyncio.Event()
    assert not await set_within(event, 0.0)
    event.set()
    assert await set_within(event, 1.0)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancel_that_comes_with_the_event_is_not_swallowed(turns: int) -> None:
    event = asyncio.Event()

    async def work() -> None:
        await set_within(event, 60.0)
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=1.0)
    assert not pending
    assert task.cancelled()


async def test_what_comes_early_begins_the_next_step_and_a_stop_ends_the_last() -> None:
    stop, early, steps = asyncio.Event(), asyncio.Event(), asyncio.Queue[int]()

    async def step() -> None:
        steps.put_nowait(1)

    async with asyncio.timeout(5.0), asyncio.TaskGroup() as tasks:
        tasks.create_task(every(stop, 3_600.0, step, early=early))
        for _ in range(3):
            await steps.get()
            early.set()
        await steps.get()
        stop.set()
    assert steps.empty()


async def test_what_comes_during_a_step_is_not_missed() -> None:
    stop, early, count = asyncio.Event(), asyncio.Event(), 0

    async def step() -> None:
        nonlocal count
        count += 1
        (early if count < 3 else stop).set()

    async with asyncio.timeout(5.0):
        await every(stop, 3_600.0, step, early=early)
    assert count == 3
