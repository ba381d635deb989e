from __future__ import annotations

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError

from kalshimm.runtime import streams


async def test_D1_a_socket_that_was_reset_a_moment_ago_is_a_store_that_is_away(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_arguments: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    client = streams.connect(redis_url)
    await client.ping()
    monkeypatch.setattr("redis.asyncio.connection.AbstractConnection.send_packed_command", refuse)  # as under uvloop
    with pytest.raises(RedisConnectionError):
        await client.ping()
    monkeypatch.undo()
    await client.ping()
    await client.aclose()


async def test_a_generation_is_set_once_and_kept(redis_client: redis.Redis, redis_url: str) -> None:
    client = streams.connect(redis_url)
    first = await streams.generation(client, "gen")
    assert first == await streams.generation(client, "gen")
    redis_client.flushall()
    assert first != await streams.generation(client, "gen")
    await client.aclose()
