"""Redis as kalshimm uses it: bounded connections, streams of msgpack entries, a store generation."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

import redis.asyncio as redis_async
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from kalshimm.errors import StoreSilent

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0


class _LostOneWay(AbstractConnection):
    """What is lost in one way only.

    uvloop answers a write on a socket that was reset a moment ago with a RuntimeError, which neither the client
    library nor anybody who waits for Redis to come back expects.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as exc:
            if "handler is closed" not in str(exc):
                raise
            raise RedisConnectionError("Redis closed the connection") from exc


class _Connection(_LostOneWay, redis_async.Connection):
    pass


class _SslConnection(_LostOneWay, redis_async.SSLConnection):
    pass


class _FileConnection(_LostOneWay, redis_async.UnixDomainSocketConnection):
    pass


_CONNECTIONS = {"redis": _Connection, "rediss": _SslConnection, "unix": _FileConnection}


def connect(url: str, *, block_s: float = 0.0, retries: int = 0) -> redis_async.Redis:
    """Return a client whose every call ends: connect 2 s, answer 5 s beyond `block_s` of a blocking read.

    Retries are off unless asked for: a write repeated by the client library could be a second entry.
    """
    client = redis_async.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S + block_s,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        health_check_interval=0,
    )
    # Set afterwards: for a file or TLS the library takes its own class, whichever is passed.
    client.connection_pool.connection_class = _CONNECTIONS[urlsplit(url).scheme]
    return client


async def require(client: redis_async.Redis) -> None:
    """Raise StoreSilent unless Redis answers."""
    try:
        await client.ping()
    except (RedisConnectionError, RedisTimeoutError, OSError) as exc:
        raise StoreSilent("Redis", exc) from exc


async def generation(client: redis_async.Redis, key: str) -> str:
    """Return this store's generation, setting one in an empty store.

    A different generation than last time means the streams began anew: ids from before say nothing now.
    """
    await client.set(key, secrets.token_hex(8), nx=True)
    value = await client.get(key)
    return value.decode() if isinstance(value, bytes) else str(value)
