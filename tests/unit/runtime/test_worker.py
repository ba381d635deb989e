from __future__ import annotations

import asyncio

import pytest

from kalshimm.runtime.worker import set_within


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
