"""One hub a topic and web process: reads the state when told that it changed, renders once, hands out to all sockets.

    relay ──"topic changed"──► Hub ──fragments──► Slot ──► socket
                                │                 Slot ──► socket
                                └ each second anyway: ages move, and silence shows

Nothing queues: a slot keeps the latest HTML of each fragment, however slow its socket is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, Protocol, TypeVar

import redis.asyncio as redis_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.db import connections
from redis.exceptions import RedisError

from feed.relay import group, watch_key
from kalshimm.runtime import streams
from kalshimm.runtime.worker import set_within

logger = logging.getLogger(__name__)

AT_MOST_EVERY_S = 0.25
AT_LEAST_EVERY_S = 1.0
WATCH_TTL_S = 5  # the relay keeps quiet when nobody has said for this long that somebody watches
RETRY_S = 1.0
CANCEL_AGAIN_S = 0.1

Fragments = dict[str, str]
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Source(Protocol):
    """What a topic shows: fragment id → HTML with that id on its one root element."""

    async def fragments(self) -> Fragments: ...


class Slot:
    """What one socket has not been sent yet: the latest of each fragment."""

    def __init__(self) -> None:
        self._waiting: Fragments = {}
        self._filled = asyncio.Event()
        self.is_new = True

    def put(self, fragments: Fragments) -> None:
        self._waiting.update(fragments)
        if self._waiting:
            self._filled.set()

    async def take(self) -> str:
        """Wait for something to send, and return all of it as one message."""
        await self._filled.wait()
        self._filled.clear()
        taken, self._waiting = self._waiting, {}
        return "".join(taken.values())


async def in_own_thread(read: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Run a read of the database in a thread that leaves no connection behind.

    Not in the thread that all sockets share: a database that hangs would silence every one of them.
    """

    def call() -> Result:
        try:
            return read(*args, **kwargs)
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: the Redis client swallows a cancel that comes while it subscribes."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


class Hub:
    """Runs while it has slots; a new slot is first given every fragment, then only what changed.

    Args:
        topic: As the relay names it.
        make_source: Called with a Redis client when the first slot joins.
    """

    def __init__(self, topic: str, make_source: Callable[[redis_async.Redis], Source]) -> None:
        self.topic = topic
        self._make_source = make_source
        self._slots: set[Slot] = set()
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._shown: Fragments = {}

    def join(self) -> Slot:
        slot = Slot()
        self._slots.add(slot)
        if self._task is None or self._task.done():
            self._changed = asyncio.Event()  # of this event loop
            self._task = asyncio.create_task(self._run(), name=f"hub {self.topic}")
        self._changed.set()
        return slot

    def leave(self, slot: Slot) -> None:
        """Forget a slot; when the last one has left, the hub ends by itself with its next turn."""
        self._slots.discard(slot)
        self._changed.set()

    async def _run(self) -> None:
        client = streams.connect(settings.REDIS_URL)
        listener = asyncio.create_task(self._listen(client), name=f"hub {self.topic} listener")
        source = self._make_source(client)
        clock = asyncio.get_running_loop().time
        try:
            while self._slots:
                started = clock()
                self._changed.clear()
                await self._step(client, source)
                await asyncio.sleep(max(0.0, started + AT_MOST_EVERY_S - clock()))
                await set_within(self._changed, max(0.0, started + AT_LEAST_EVERY_S - clock()))
            self._task = None  # who joins from here on needs another
        finally:
            await _end(listener)
            await client.aclose()

    async def _step(self, client: redis_async.Redis, source: Source) -> None:
        """Render once and hand out; whatever goes wrong, the next turn tries again and the pages age."""
        try:
            await self._say_somebody_watches(client)
            fragments = await source.fragments()
        except Exception:
            logger.exception("could not render", extra={"action": "hub_failed", "topic": self.topic})
            return
        changed = {name: html for name, html in fragments.items() if self._shown.get(name) != html}
        self._shown = fragments
        for slot in self._slots:
            slot.put(fragments if slot.is_new else changed)
            slot.is_new = False

    async def _say_somebody_watches(self, client: redis_async.Redis) -> None:
        # With Redis away the source says so on the page; the hub only goes on.
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(AT_LEAST_EVERY_S):
                await client.set(watch_key(self.topic), 1, ex=WATCH_TTL_S)

    async def _listen(self, client: redis_async.Redis) -> None:
        """Turn the relay's messages into wake-ups; without them the hub still turns once a second."""
        layer = get_channel_layer()
        while True:
            try:
                # Asked first because a channel that cannot be subscribed stays behind in the layer.
                await client.ping()
                channel = await layer.new_channel()
                await layer.group_add(group(self.topic), channel)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)
                continue
            try:
                while True:
                    await layer.receive(channel)
                    self._changed.set()
            finally:
                with suppress(RedisError, OSError, TimeoutError):
                    await layer.group_discard(group(self.topic), channel)
