"""The gateway's line to the exchange: bytes pass both ways until it is cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

from kalshimm.runtime.worker import cancel

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16


class Relay:
    """One listening port before the port of a URL."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._is_open = True
        self._lines: set[asyncio.Task[None]] = set()
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Relay]:
        server = await asyncio.start_server(self._accepted, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        self.url = urlunsplit(self._parts._replace(netloc=f"{HOST}:{port}"))
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._lines, return_exceptions=True)

    def cut(self, *, refuses: bool = False) -> None:
        """End every connection; with `refuses` also each new one, until `open`."""
        self._is_open = not refuses
        for line in self._lines:
            line.cancel()

    def open(self) -> None:
        self._is_open = True

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            writer.transport.abort()
            return
        line = asyncio.create_task(self._carry(reader, writer), name="relay")
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await line

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._parts.port is not None, "the exchange says where it listens"
        far_reader, far_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        ways = [asyncio.create_task(_pass(reader, far_writer)), asyncio.create_task(_pass(far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                await cancel(way)
            for end in (writer, far_writer):
                end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(PIECE_BYTES):
            writer.write(data)
            await writer.drain()
