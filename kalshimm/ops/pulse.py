"""Celery's beat, from the loop of the worker's main process: it goes on however long a task takes its only slot."""

from __future__ import annotations

import asyncio
from typing import Any

from celery import bootsteps
from celery.signals import task_postrun, worker_process_init
from django.conf import settings

from kalshimm.runtime import logs, streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import Pulse

ROLE, NAME = "celery", "worker"
BEAT_EVERY_S = 2.0


class PulseStep(bootsteps.StartStopStep):
    """Beats while the worker is connected to its broker, and ships the main process's logs."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._pulse = Pulse(role=ROLE, name=NAME, clock=SystemClock())
        self._pulse.state = "working"
        self._entry: Any = None

    def start(self, consumer: Any) -> None:
        self._entry = consumer.timer.call_repeatedly(BEAT_EVERY_S, self._beat)

    def stop(self, consumer: Any) -> None:
        if self._entry is not None:
            consumer.timer.cancel(self._entry)
            self._entry = None

    def _beat(self) -> None:
        self._pulse.turn(every_s=BEAT_EVERY_S)
        asyncio.run(_say(self._pulse))


@worker_process_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _forget_inherited_logs(**_: Any) -> None:
    """Leave to the main process the records that a forked process has a copy of."""
    logs.queue_handler.take()


@task_postrun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _ship_logs(**_: Any) -> None:
    """Ship what a task logged: it ran in a process of its own."""
    asyncio.run(_say())


async def _say(pulse: Pulse | None = None) -> None:
    client = streams.connect(settings.REDIS_URL)
    try:
        if pulse is not None:
            await pulse.beat(client)
        await logs.ship(client, role=ROLE, name=NAME)
    finally:
        await client.aclose()
