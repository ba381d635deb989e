from __future__ import annotations

import asyncio
import functools

from celery import shared_task
from django.conf import settings

from kalshimm.runtime import logs, streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import Pulse

ROLE, NAME = "celery", "worker"


@shared_task  # type: ignore[untyped-decorator]  # celery ships no types
def beat() -> None:
    """Prove that schedule, broker and worker work together, and ship this worker's logs."""
    asyncio.run(_beat())


@functools.cache
def _pulse() -> Pulse:
    pulse = Pulse(role=ROLE, name=NAME, clock=SystemClock())
    pulse.state = "working"
    return pulse


async def _beat() -> None:
    client = streams.connect(settings.REDIS_URL)
    try:
        pulse = _pulse()
        pulse.loops += 1
        await pulse.beat(client)
        await logs.ship(client, role=ROLE, name=NAME)
    finally:
        await client.aclose()
