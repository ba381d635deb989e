"""A TCP proxy between any process and what it talks to, that does to the bytes what a test says.

    client ──up──► Tap ──up──► target
           ◄─down─     ◄─down─

It runs on an event loop in a thread of its own, so that a test may block or sleep. Modes hold for the connections
that are open and for those to come, until the next mode; `faults` says what was done, and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.faults.log import FaultLog

T = TypeVar("T")

Direction = Literal["up", "down"]
BOTH: tuple[Direction, ...] = ("up", "down")
CHUNK_BYTES = 64 * 1024
ANSWER_S = 10.0
THROTTLED_CHUNKS_PER_S = 20
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclasses.dataclass(frozen=True)
class Mode:
    """What happens to bytes; the default passes them on.

    held: Directions in which nothing is passed on or read: a black hole, TCP stays up.
    dropped: Directions whose bytes are read and thrown away.
    rate_bytes_s: At most so many bytes a second in each direction.
    refuses: New connections are reset at once.
    """

    delay_s: float = 0.0
    rate_bytes_s: int | None = None
    held: tuple[Direction, ...] = ()
    dropped: tuple[Direction, ...] = ()
    refuses: bool = False


class _Link:
    """One client's connection and ours behind it."""

    def __init__(self, tap: Tap, client: asyncio.StreamWriter, target: asyncio.StreamWriter) -> None:
        self.tap = tap
        self.ends: dict[Direction, asyncio.StreamWriter] = {"up": target, "down": client}
        self.left: dict[Direction, int | None] = {"up": None, "down": None}  # bytes until the cut
        self.swallows_answer = False

    def reset(self) -> None:
        for writer in self.ends.values():
            _reset(writer)

    async def pump(self, reader: asyncio.StreamReader, direction: Direction) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self.tap.may_pass(direction)
                if direction in self.tap.mode.dropped:
                    continue
                if not await self._forward(data, direction):
                    return
            with contextlib.suppress(OSError):
                self.ends[direction].write_eof()
        except (ConnectionError, OSError):
            self.reset()

    async def _forward(self, data: bytes, direction: Direction) -> bool:
        """Pass bytes on as the mode has it; return whether the connection goes on."""
        tap = self.tap
        if direction == "up" and tap.take_pattern(data):
            self.swallows_answer = True
        elif direction == "down" and self.swallows_answer:
            tap.log.note("tap", f"{tap.name}: answer dropped, connection reset")
            self.reset()
            return False
        left = self.left[direction]
        if left is not None:
            data, self.left[direction] = data[:left], max(0, left - len(data))
        if tap.mode.delay_s:
            await asyncio.sleep(tap.mode.delay_s)  # the bytes behind wait in the socket: latency and less throughput
        await self._write(data, direction)
        if self.left[direction] == 0:
            tap.log.note("tap", f"{tap.name}: cut {direction}")
            self.reset()
            return False
        return True

    async def _write(self, data: bytes, direction: Direction) -> None:
        writer, rate = self.ends[direction], self.tap.mode.rate_bytes_s
        if rate is None:
            writer.write(data)
            await writer.drain()
            return
        step = max(1, rate // THROTTLED_CHUNKS_PER_S)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(len(part) / rate)


class Tap:
    """Listens on a free loopback port and passes on to `host:port`."""

    def __init__(self, name: str, host: str, port: int, log: FaultLog) -> None:
        self.name, self.log = name, log
        self.mode = Mode()
        self.port = 0
        self.accepted = 0
        self._target = (host, port)
        self._links: set[_Link] = set()
        self._pattern: bytes | None = None
        self._changed: asyncio.Event | None = None
        self._is_closing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"tap-{name}", daemon=True)
        self._thread.start()
        self._server = self._ask(self._listen())

    @classmethod
    def before(cls, name: str, url: str, log: FaultLog) -> Self:
        """Return a tap before the host and port of `url`; `url_through` gives the address that leads through it."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        return cls(name, parts.hostname, parts.port, log)

    def url_through(self, url: str) -> str:
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}"))

    @property
    def connections(self) -> int:
        return len(self._links)

    # ---- what a test does ------------------------------------------------------------------------------------------

    def pass_all(self) -> None:
        """Pass everything on from now; what was held goes on its way."""
        self._set(Mode(), "passes")

    def delay(self, delay_s: float) -> None:
        """Hold each piece back for `delay_s`, in both directions."""
        self._set(Mode(delay_s=delay_s), f"delays by {delay_s} s")

    def throttle(self, rate_bytes_s: int) -> None:
        self._set(Mode(rate_bytes_s=rate_bytes_s), f"throttles to {rate_bytes_s} bytes/s")

    def black_hole(self, *directions: Direction) -> None:
        """Pass nothing on in the given directions (both without any) and keep TCP up."""
        self._set(Mode(held=directions or BOTH), f"black hole {' '.join(directions or BOTH)}")

    def drop(self, *directions: Direction) -> None:
        """Take the bytes of a direction and throw them away."""
        self._set(Mode(dropped=directions), f"drops {' '.join(directions)}")

    def refuse(self) -> None:
        """Reset every connection, and each new one at once."""
        self._set(Mode(refuses=True), "refuses")
        self._call(self._reset_all)

    def reset(self) -> None:
        """Reset every open connection; new ones pass."""
        self._call(self._reset_all)
        self.log.note("tap", f"{self.name}: connections reset")

    def cut_after(self, count: int, direction: Direction) -> None:
        """Pass `count` more bytes of each open connection in a direction, then reset it."""

        def arm() -> None:
            for link in self._links:
                link.left[direction] = count

        self._call(arm)

    def lose_answer_to(self, pattern: bytes) -> None:
        """Pass on the next client bytes that hold `pattern`, drop the answer and reset: done, and nobody knows."""

        def arm() -> None:
            self._pattern = pattern

        self._call(arm)

    @property
    def is_armed(self) -> bool:
        """Whether `lose_answer_to` still waits for its bytes."""
        return self._pattern is not None

    def close(self) -> None:
        self._call(self._reset_all)
        self._ask(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()

    # ---- on the loop -----------------------------------------------------------------------------------------------

    def take_pattern(self, data: bytes) -> bool:
        if self._pattern is None or self._pattern not in data:
            return False
        self._pattern = None
        return True

    async def may_pass(self, direction: Direction) -> None:
        assert self._changed is not None
        while direction in self.mode.held:
            changed = self._changed
            await changed.wait()

    def _set(self, mode: Mode, what: str) -> None:
        def change() -> None:
            self.mode = mode
            assert self._changed is not None
            self._changed.set()
            self._changed = asyncio.Event()

        self._call(change)
        if mode != Mode():
            self.log.note("tap", f"{self.name}: {what}")

    async def _listen(self) -> asyncio.Server:
        self._changed = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.mode.refuses:
            _reset(writer)
            return
        try:
            target_reader, target_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)  # nobody there: as the client would see it without us
            return
        link = _Link(self, writer, target_writer)
        self._links.add(link)
        try:
            await asyncio.gather(link.pump(reader, "up"), link.pump(target_reader, "down"))
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
        finally:
            self._links.discard(link)
            link.reset()

    def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    async def _stop(self) -> None:
        self._is_closing = True
        self._server.close()
        own = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)

    def _call(self, work: Any) -> None:
        """Run a function on the loop and wait until it has."""

        async def run() -> None:
            work()

        self._ask(run())


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a host that went away does."""
    if writer.transport.is_closing():
        return
    found = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


def wait_until(condition: Any, what: str, *, within_s: float = ANSWER_S) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"never: {what}"
        time.sleep(0.01)
