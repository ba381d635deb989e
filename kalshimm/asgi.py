"""The web process: pages, API and sockets in one ASGI application, for daphne."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshimm.settings")
http = get_asgi_application()  # sets Django up: what follows imports models

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.conf import settings  # noqa: E402

from kalshimm.routing import websocket  # noqa: E402
from kalshimm.runtime import logs, streams  # noqa: E402
from kalshimm.runtime.clock import SystemClock  # noqa: E402
from kalshimm.runtime.heartbeat import BEAT_EVERY_S, Pulse  # noqa: E402

logs.configure(debug=settings.DEBUG)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class WithPulse:
    """Beat and ship logs like every other worker, from the first request on: daphne has no start-up event."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._beat(), name="web pulse")
        await self._application(scope, receive, send)

    async def _beat(self) -> None:
        client = streams.connect(settings.REDIS_URL)
        pulse = Pulse(role="web", name=str(settings.KALSHIMM_PORT), clock=SystemClock())
        pulse.state = "serving"
        task = asyncio.current_task()
        assert task is not None
        try:
            while not task.cancelling():  # before Python 3.12 the Redis client swallows a cancel now and then
                pulse.turn(every_s=BEAT_EVERY_S)
                await pulse.beat(client)
                await logs.ship(client, role=pulse.role, name=pulse.name)
                await asyncio.sleep(BEAT_EVERY_S)
        finally:
            await client.aclose()


application = WithPulse(ProtocolTypeRouter({"http": http, "websocket": websocket}))
