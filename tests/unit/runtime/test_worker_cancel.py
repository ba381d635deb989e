from __future__ import annotations

import asyncio

from kalshimm.runtime import worker


async def test_a_task_that_swallows_a_cancel_is_cancelled_again() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await worker.cancel(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_a_task_that_ended_by_itself_is_left_as_it_is() -> None:
    async def quick() -> None:
        raise ValueError("its own")

    task = asyncio.create_task(quick())
    await asyncio.sleep(0)
    await worker.cancel(task)
    assert isinstance(task.exception(), ValueError)
