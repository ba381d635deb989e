"""Commands to running traders, on each one's own stream; it answers in its journal."""

from __future__ import annotations

import secrets

import redis.asyncio as redis_async

from feed.schema import FIELD, VERSION, Control, control_stream, encode

LIFE_US = 10_000_000  # a command that arrives later is not what anybody wants any more
ENTRIES = 100


async def send(
    client: redis_async.Redis, trader: int, verb: str, *, issuer: str, now_us: int, body: bytes = b""
) -> None:
    """Put a command on a trader's stream; `now_us` is the wall time.

    Raises what the Redis client raises.
    """
    control = Control(VERSION, secrets.token_hex(8), verb, issuer, now_us + LIFE_US, body)
    await client.xadd(control_stream(str(trader)), {FIELD: encode(control)}, maxlen=ENTRIES, approximate=True)
