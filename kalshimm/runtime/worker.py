"""The frame of every long-running command: named tasks, one stop event, a beat, log shipping.

A worker is a plain class with `async def run(self, stop)`. SIGTERM and SIGINT set `stop`; the worker finishes its
step and returns. A further one sets `stop.again`, for workers that wait for somebody else's word before they return. A
task that raises ends the worker: a crash is allowed, a half-life is not.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kalshimm.errors import KalshimmError

logger = logging.getLogger(__name__)

CANCEL_AGAIN_S = 0.5


class Stop(asyncio.Event):
    """Set once a worker was asked to stop; `again` once it was asked another time."""

    def __init__(self) -> None:
        super().__init__()
        self.again = asyncio.Event()

    def ask(self) -> None:
        if self.is_set():
            self.again.set()
        self.set()


Run = Callable[[Stop], Coroutine[Any, Any, None]]


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event` at most `seconds`; return whether it came."""
    try:
        async with asyncio.timeout(
            seconds
        ):  # not `wait_for`: before 3.12 it swallows a cancel that comes with the event
            await event.wait()
    except TimeoutError:
        return False
    return True


# The same, read as a sleep that a stop cuts short.
wait_or_stop = set_within


async def every(
    stop: asyncio.Event, seconds: float, step: Callable[[], Awaitable[None]], *, early: asyncio.Event | None = None
) -> None:
    """Run `step` now and then each `seconds` until stopped; its own time counts towards the period.

    Args:
        early: Lets the next step begin at once, and is cleared then.
    """
    loop = asyncio.get_running_loop()
    due = loop.time()
    while not stop.is_set():
        if early is not None:
            early.clear()
        await step()
        due = max(due + seconds, loop.time())
        await _any_within([stop, early] if early else [stop], max(0.0, due - loop.time()))
        if early is not None and early.is_set():
            due = loop.time()


async def _any_within(events: list[asyncio.Event], seconds: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return once it has ended, whatever it ended with.

    One cancel may be lost on the way: before Python 3.12 `wait_for`, through which Redis' client sends, swallows one
    that comes in the moment of success.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


async def _run_until_signalled(run: Run) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    await run(stop)


def runner() -> asyncio.Runner:
    """Return what workers run in: uvloop where it is installed, good at many small reads."""
    try:
        import uvloop  # not on Windows
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def main(run: Run, *, name: str) -> None:
    """Run a worker until it returns or a signal asks it to stop; exit with the error's own code."""
    try:
        with runner() as loop:
            loop.run(_run_until_signalled(run))
    except* KalshimmError as group:
        error = _first(group)
        logger.error("%s stopped: %s", name, error)
        sys.exit(error.exit_code)
    logger.info("%s stopped", name)


def _first(group: BaseExceptionGroup[KalshimmError]) -> KalshimmError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, KalshimmError)
    return error
