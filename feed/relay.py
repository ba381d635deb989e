"""Tell watching browsers that something changed, off the hot path.

Only "topic changed, version n" goes through Channels, at most four times a second, and only for topics that some
web process watches (it keeps `kmm:watch:{topic}` alive); the hub there reads the state itself.
"""

from __future__ import annotations

import redis.asyncio as redis_async
from channels.layers import BaseChannelLayer

TOPIC_OVERVIEW = "overview"
RELAY_EVERY_S = 0.25


def watch_key(topic: str) -> str:
    return f"kmm:watch:{topic}"


def group(topic: str) -> str:
    return f"topic.{topic}"


class Relay:
    """Collects changes between two turns."""

    def __init__(self, client: redis_async.Redis, layer: BaseChannelLayer) -> None:
        self._client, self._layer = client, layer
        self._changed = False
        self._version = 0

    def changed(self) -> None:
        self._changed = True

    async def turn(self) -> bool:
        """Send one message if something changed and somebody watches; return whether it was sent."""
        if not self._changed or not await self._client.exists(watch_key(TOPIC_OVERVIEW)):
            return False
        self._changed = False
        self._version += 1
        message = {"type": "topic.changed", "topic": TOPIC_OVERVIEW, "version": self._version}
        await self._layer.group_send(group(TOPIC_OVERVIEW), message)
        return True
