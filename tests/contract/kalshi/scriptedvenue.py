"""An HTTP server that answers by a script, badly if told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from feed.kalshi.environments import Environment
from feed.kalshi.transport import Connection

OK = "200 OK"
CREATED = "201 Created"
# Who waits for an answer that comes waits long enough for a busy machine; HASTY is for those that never do.
BRIEF = Connection(answer_timeout_s=20.0, deadline_s=20.0, first_wait_s=0.001, most_wait_s=0.002)
HASTY = Connection(answer_timeout_s=0.5, deadline_s=20.0, first_wait_s=0.001, most_wait_s=0.002)


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Step(msgspec.Struct, frozen=True):
    """What is done with one request: `sent` goes out, then the connection is kept, cut, or left hanging."""

    sent: bytes = b""
    then: str = "keep"


CUT = Step(then="cut")
SILENCE = Step(then="hang")


def answer(status: str, body: object = None, *, text: str | None = None, headers: str = "") -> Step:
    """A whole answer: `body` as JSON, or `text` as it is."""
    raw = b"" if body is None and text is None else text.encode() if text is not None else msgspec.json.encode(body)
    return Step(f"HTTP/1.1 {status}\r\nContent-Length: {len(raw)}\r\n{headers}\r\n".encode() + raw)


def cut_short(status: str, text: str) -> Step:
    """An answer that promises more than comes."""
    return Step(f"HTTP/1.1 {status}\r\nContent-Length: {len(text) + 9}\r\n\r\n{text}".encode(), "cut")


class ScriptedVenue:
    """The steps are taken one for each request, over all connections; the last one is repeated."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.seen: list[Seen] = []
        self.connections = 0
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Environment]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield Environment("local", f"http://127.0.0.1:{port}/trade-api/v2", "ws://127.0.0.1:1/")
        finally:
            self._stop.set()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                self.seen.append(await _request(reader))
                step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
                writer.write(step.sent)
                await writer.drain()
                if step.then == "hang":
                    await self._stop.wait()
                if step.then != "keep":
                    break
        writer.close()


async def _request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, target, headers, body)
