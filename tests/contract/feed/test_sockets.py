"""Both WebSocket adapters keep the same promises, against a plain server of another library."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.utils import accept_key

from feed.kalshi import socket
from feed.kalshi.errors import Disconnected, HandshakeRefused

Script = Callable[[ServerConnection], Awaitable[None]]
DEADLINE_S = 10.0


class Heard:
    """Keeps what an adapter delivers."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.pinged = asyncio.Event()
        self.turns: asyncio.Queue[int] = asyncio.Queue()  # how many frames had come

    def on_frame(self, data: bytes | memoryview) -> None:
        self.frames.put_nowait(bytes(data))

    def on_turn(self) -> None:
        self.turns.put_nowait(self.frames.qsize())

    def on_ping(self) -> None:
        self.pinged.set()

    async def frame(self) -> bytes:
        return await asyncio.wait_for(self.frames.get(), DEADLINE_S)


@pytest.fixture(params=["picows", "websockets"])
def adapter(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def venue() -> AsyncIterator[Callable[[Script], Awaitable[str]]]:
    """Start a server that plays a script to whoever connects; return its address."""
    servers = []

    def check(_connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("KALSHI-ACCESS-KEY") == "known":
            return None
        return _connection.respond(HTTPStatus.UNAUTHORIZED, '{"error":{"details":"NOT_FOUND"}}')

    async def start(script: Script) -> str:
        server = await serve(script, "127.0.0.1", 0, process_request=check, ping_interval=None, max_size=None)
        servers.append(server)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/trade-api/ws/v2"

    yield start
    for server in servers:
        server.close()


HEADERS = {"KALSHI-ACCESS-KEY": "known"}


async def test_whole_frames_arrive_in_order(adapter: str, venue: Callable[[Script], Awaitable[str]]) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send('{"n":1}')
        await connection.send(['{"n"', ":2", "}"])  # one message in three fragments
        await connection.send("x" * 2_000_000)
        await connection.wait_closed()

    heard = Heard()
    connection = await socket.connect(adapter, await venue(script), HEADERS, heard)
    assert [await heard.frame() for _ in range(2)] == [b'{"n":1}', b'{"n":2}']
    assert len(await heard.frame()) == 2_000_000
    await connection.close()


async def test_after_the_last_frame_of_a_read_its_end_is_told(
    adapter: str, venue: Callable[[Script], Awaitable[str]]
) -> None:
    async def script(connection: ServerConnection) -> None:
        for number in range(500):
            await connection.send(f'{{"n":{number}}}')
        await connection.send(["half of", " a message"])
        await connection.ping(b"at the end of a read")
        await connection.wait_closed()

    heard = Heard()
    connection = await socket.connect(adapter, await venue(script), HEADERS, heard)
    while await asyncio.wait_for(heard.turns.get(), DEADLINE_S) < 501:
        pass  # each read may bring any number of them
    await connection.close()


async def test_what_we_send_arrives_as_text(adapter: str, venue: Callable[[Script], Awaitable[str]]) -> None:
    async def script(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"{type(message).__name__} {message!r}")

    heard = Heard()
    connection = await socket.connect(adapter, await venue(script), HEADERS, heard)
    connection.send(b'{"id":1}')
    assert await heard.frame() == b"str '{\"id\":1}'"
    await connection.close()


async def test_a_ping_is_answered_and_told(adapter: str, venue: Callable[[Script], Awaitable[str]]) -> None:
    answered = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        await (await connection.ping(b"heartbeat"))
        answered.set()
        await connection.wait_closed()

    heard = Heard()
    connection = await socket.connect(adapter, await venue(script), HEADERS, heard)
    await asyncio.wait_for(answered.wait(), DEADLINE_S)
    assert heard.pinged.is_set()
    await connection.close()


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013])
async def test_B1_the_close_code_is_told(adapter: str, venue: Callable[[Script], Awaitable[str]], code: int) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.close(code)

    connection = await socket.connect(adapter, await venue(script), HEADERS, Heard())
    assert str(code) in await asyncio.wait_for(connection.wait_closed(), DEADLINE_S)


async def test_B1_a_cut_without_a_word_ends_the_wait(adapter: str, venue: Callable[[Script], Awaitable[str]]) -> None:
    async def script(connection: ServerConnection) -> None:
        connection.transport.abort()

    connection = await socket.connect(adapter, await venue(script), HEADERS, Heard())
    assert "closed" in await asyncio.wait_for(connection.wait_closed(), DEADLINE_S)
    connection.send(b"to nobody")


async def test_a_refused_handshake_tells_status_and_body(
    adapter: str, venue: Callable[[Script], Awaitable[str]]
) -> None:
    async def script(_connection: ServerConnection) -> None: ...

    with pytest.raises(HandshakeRefused, match="NOT_FOUND") as caught:
        await socket.connect(adapter, await venue(script), {}, Heard())
    assert caught.value.status == 401


async def test_nobody_listening_is_not_reachable(adapter: str, free_port: int) -> None:
    with pytest.raises(Disconnected, match="No WebSocket"):
        await socket.connect(adapter, f"ws://127.0.0.1:{free_port}/x", {}, Heard())


async def test_B1_a_line_that_is_lost_during_the_handshake_is_no_connection(adapter: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Disconnected):
            await socket.connect(adapter, f"ws://127.0.0.1:{port}/trade-api/ws/v2", HEADERS, Heard())


async def test_B3_a_peer_that_no_longer_reads_is_left_in_time(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More waits to be sent than the line takes: a close that waits for all of it waits as long as the system."""
    monkeypatch.setattr("feed.kalshi.socket.CLOSE_TIMEOUT_S", 0.2)
    leave = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = re.search(r"Sec-WebSocket-Key: *(\S+)", head, re.IGNORECASE)
        assert key is not None
        accepted = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key[1])}"
        writer.write(f"HTTP/1.1 101 Switching Protocols\r\n{accepted}\r\n\r\n".encode())
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await leave.wait()
        writer.transport.abort()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    connection = await socket.connect(adapter, url, {}, Heard())
    for _ in range(64):
        connection.send(b"x" * 1_000_000)
    async with asyncio.timeout(DEADLINE_S):
        await connection.close()
        await connection.wait_closed()
    leave.set()
    server.close()
