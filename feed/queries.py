"""Reads of the feed's living state."""

from __future__ import annotations

from typing import Any, cast

import redis.asyncio as redis_async

from feed import schema


async def newest_feed(client: redis_async.Redis) -> schema.FeedState | None:
    """Return the gateway's newest word on its connection, or None when it has written none."""
    # The library's types cover every protocol at once; over RESP2 and 3 a stream entry is (id, fields).
    entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", cast(Any, await client.xrevrange(schema.FEED, count=1)))
    return schema.decode_feed(entries[0][1][schema.FIELD]) if entries else None
