"""Packed writes against a real Valkey."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
import redis
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from kalshimm.runtime import resp
from kalshimm.runtime.resp import NO_MEMORY, Pipe, Refused, pack


@pytest.fixture
async def pipe(redis_client: redis.Redis, redis_url: str) -> AsyncIterator[Pipe]:
    pipe = Pipe(redis_url)
    yield pipe
    pipe.close()


def many(count: int) -> bytes:
    return b"".join(pack(("RPUSH", "list", str(n))) for n in range(count))


async def test_everything_of_one_write_is_done_in_its_order(pipe: Pipe, redis_client: redis.Redis) -> None:
    await pipe.send(many(10_000), 10_000)
    assert redis_client.lrange("list", 0, -1) == [b"%d" % n for n in range(10_000)]


async def test_a_refused_command_is_told_and_the_others_are_done(pipe: Pipe, redis_client: redis.Redis) -> None:
    redis_client.set("word", "x")
    with pytest.raises(Refused, match="WRONGTYPE"):
        await pipe.send(pack(("RPUSH", "word", "1")) + many(1), 2)
    assert redis_client.llen("list") == 1
    await pipe.send(many(1), 1)
    assert redis_client.llen("list") == 2


async def test_an_answer_may_be_waited_for_as_long_as_the_command_blocks(
    pipe: Pipe, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "ANSWER_TIMEOUT_S", 0.05)
    assert await pipe.ask("BLPOP", "nothing", "0.1", block_s=5) is None
    redis_client.rpush("list", "x")
    assert await pipe.ask("BLPOP", "list", 0, block_s=5) == [b"list", b"x"]
    assert await pipe.ask("LLEN", "list") == 0


async def test_D1_after_a_broken_connection_the_next_write_opens_another(pipe: Pipe, redis_client: redis.Redis) -> None:
    await pipe.send(many(1), 1)
    redis_client.client_kill_filter(_type="normal", skipme=True)
    for _ in range(3):  # the end may be heard of before, or only by writing
        try:
            await pipe.send(many(1), 1)
            break
        except RedisConnectionError:
            continue
    assert redis_client.llen("list") == 2


async def test_D3_an_answer_that_does_not_come_breaks_the_connection(
    pipe: Pipe, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pipe.send(many(1), 1)
    monkeypatch.setattr(resp, "ANSWER_TIMEOUT_S", 0.05)
    redis_client.client_pause(300, all=True)
    with pytest.raises(TimeoutError):
        await pipe.send(many(1), 1)
    monkeypatch.undo()
    await pipe.send(pack(("SET", "after", "1")), 1)
    assert redis_client.get("after") == b"1", "late answers were not taken for these"


async def test_the_address_names_user_password_and_database(redis_client: redis.Redis, redis_url: str) -> None:
    parts = urlsplit(redis_url)
    in_third = {"query": "db=3"} if parts.scheme == "unix" else {"path": "/3"}
    other = Pipe(urlunsplit(parts._replace(**in_third)))
    await other.send(many(1), 1)
    other.close()
    assert redis_client.llen("list") == 0
    wrong = Pipe(redis_url.replace(urlsplit(redis_url).password or "", "wrong"))
    before = len(redis_client.client_list())
    for _ in range(3):
        with pytest.raises(AuthenticationError):
            await wrong.send(many(1), 1)
    give_up = time.monotonic() + 10.0
    while len(redis_client.client_list()) > before:
        assert time.monotonic() < give_up, "a line that may not log in is closed"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis://no-such-host.invalid/0"])
async def test_D1_nobody_there_is_a_lost_connection(url: str) -> None:
    with pytest.raises(RedisConnectionError, match="cannot be reached"):
        await Pipe(url).send(many(1), 1)


async def test_what_answers_but_is_no_store_is_told() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.write(b"HTTP/1.1 400\r\n"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(RedisError, match="no Redis"):
        await Pipe(f"redis://127.0.0.1:{port}/0").send(many(1), 1)
    server.close()


async def test_a_store_at_its_port_and_at_its_socket_file(redis_client: redis.Redis, redis_url: str) -> None:
    told = redis_client.config_get("*")
    assert told["unixsocket"], "the temporary folder's path is too long for a socket file"
    password = quote(told["requirepass"])
    urls = [f"redis://:{password}@127.0.0.1:{told['port']}/0", f"unix://:{password}@{quote(told['unixsocket'])}?db=0"]
    for count, url in enumerate(urls, 1):
        pipe = Pipe(url)
        await pipe.send(many(1), 1)
        pipe.close()
        assert redis_client.llen("list") == count


async def test_a_line_that_is_always_busy_is_not_taken_for_one_that_does_not_answer(
    pipe: Pipe, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "ANSWER_TIMEOUT_S", 0.2)
    give_up = time.monotonic() + 0.7
    while time.monotonic() < give_up:
        await pipe.send(many(1), 1)
    redis_client.client_pause(600, all=True)
    with pytest.raises(TimeoutError):
        await pipe.send(many(1), 1)


async def test_a_timeout_names_the_patience_of_its_own_write(
    pipe: Pipe, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resp, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(resp, "ANSWER_TIMEOUT_S", 1.0)
    assert await pipe.ask("BLPOP", "nothing", "0.5") is None  # under way while the log-in's patience ends
    redis_client.client_pause(1_500, all=True)
    with pytest.raises(TimeoutError, match=r"within 1 s"):
        await pipe.send(many(1), 1)


STARVED = """
import asyncio, resource, sys
from kalshimm.runtime.resp import Pipe

async def main(url):
    pipe = Pipe(url)
    await pipe.open()
    with open("/proc/self/statm") as pages:
        held = int(pages.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 16_000_000, resource.RLIM_INFINITY))
    try:
        await pipe.ask("GET", "large", block_s=30)
    except MemoryError as exc:
        print(exc)

asyncio.run(main(sys.argv[1]))
"""


def test_A18_who_has_no_memory_for_an_answer_is_told_so_and_not_that_redis_is_away(
    redis_client: redis.Redis, redis_url: str
) -> None:
    redis_client.set("large", b"0" * 64_000_000)
    try:
        told = subprocess.run(
            [sys.executable, "-c", STARVED, redis_url], capture_output=True, text=True, timeout=60, check=True
        )
    finally:
        redis_client.delete("large")
    assert told.stdout.strip() == NO_MEMORY, told.stderr
