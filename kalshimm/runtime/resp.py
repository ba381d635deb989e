"""A connection to Redis where a round trip must cost little: many commands in one write, or a blocking read.

redis-py packs and awaits command by command, which costs more than everything else that a busy gateway, or a trader
that follows its book, does. Here the caller packs, one write carries it all, and hiredis reads the answers.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from kalshimm.runtime.streams import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S

pack = hiredis.pack_command

Ended = Callable[[Any, Exception | None], None]

OUT_OF_MEMORY = "Out of memory"  # how hiredis says so
NO_MEMORY = "there is no memory left for what Redis answers"


class Refused(ResponseError):
    """Redis answered at least one of the commands with an error; the others may have been carried out."""


class Pipe:
    """One connection, opened when it is needed and again after it broke; at most one write is under way.

    Args:
        url: redis://, rediss:// or unix://, as everywhere.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._line: _Line | None = None

    @property
    def is_open(self) -> bool:
        return self._line is not None and not self._line.is_lost

    async def send(self, commands: bytes, answers: int) -> None:
        """Write packed commands, and return once all of their `answers` have come and none was an error.

        Raises:
            Refused: One was; the connection stays.
            RedisError, OSError, TimeoutError: No connection, or it broke: nobody knows what was carried out.
        MemoryError: As above, and it is ours to end: trying again would be half a life.
        """
        await self._answer(commands, answers)

    async def ask(self, *command: str | bytes | int, block_s: float = 0.0) -> Any:
        """Return the answer of one command, which Redis may hold back for `block_s`; raises what `send` raises."""
        return await self._answer(pack(cast(Any, command)), 1, block_s=block_s)

    async def open(self) -> None:
        """Connect unless connected."""
        if not self.is_open:
            self._line = await _opened(self._url)

    def write(self, commands: bytes, answers: int, ended: Ended, *, block_s: float = 0.0) -> None:
        """Write packed commands at once; the line must be open, and what was written before answered.

        `ended` is always called, perhaps before this returns: with the last of the answers and None, or with None and
        what `send` raises.
        """
        assert self._line is not None, "a pipe is opened before it is written to"
        self._line.write(commands, answers, ended, within_s=ANSWER_TIMEOUT_S + block_s)

    async def _answer(self, commands: bytes, answers: int, *, block_s: float = 0.0) -> Any:
        if not self.is_open:
            await self.open()
        answer, ended = _awaitable()
        self.write(commands, answers, ended, block_s=block_s)
        try:
            return await answer
        except asyncio.CancelledError:
            self.close()  # an answer that comes later must not be taken for that of the next command
            raise

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


def _awaitable() -> tuple[asyncio.Future[Any], Ended]:
    """Return a future, and what brings it to its end."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def ended(last: Any, exc: Exception | None) -> None:
        if answer.done():
            return  # nobody waits any more
        if exc is None:
            answer.set_result(last)
        else:
            answer.set_exception(exc)

    return answer, ended


class _Line(asyncio.Protocol):
    """One connection with at most one write under way.

    Its end is told by a call, not by a future, and its patience is one timer that is put off when it is due: either
    would cost a busy gateway a good part of what a write costs.
    """

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=Refused)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._missing = 0
        self._last: Any = None
        self._refusal: Exception | None = None
        self._ended: Ended | None = None
        self._within_s = self._due_s = 0.0
        self._patience: asyncio.TimerHandle | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, MemoryError):
            self._fail(MemoryError(NO_MEMORY))
        else:
            self._fail(RedisConnectionError(f"Redis closed the connection ({exc or 'end of file'})."))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                self._missing -= 1
                self._last = answer
                if isinstance(answer, Refused) and self._refusal is None:
                    self._refusal = answer
        except hiredis.ProtocolError as exc:
            is_ours = str(exc) == OUT_OF_MEMORY
            self._fail(
                MemoryError(NO_MEMORY) if is_ours else RedisConnectionError(f"What answers is no Redis ({exc}).")
            )
            return
        if self._missing == 0:
            self._end(self._refusal)

    def write(self, commands: bytes, answers: int, ended: Ended, *, within_s: float) -> None:
        assert self._transport is not None, "a line is used once it is connected"
        self._missing, self._refusal, self._ended = answers, None, ended
        if self.is_lost:
            self._fail(RedisConnectionError("Redis closed the connection."))
            return
        self._within_s, self._due_s = within_s, self._loop.time() + within_s
        if self._patience is None or self._patience.when() > self._due_s:
            self._wait_until_due()
        self._transport.write(commands)

    def _wait_until_due(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self._loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        """Lose patience if the write that is under way is overdue; without one, the next write waits anew."""
        self._patience = None
        if self._ended is None:
            return
        if self._loop.time() >= self._due_s:
            self._fail(TimeoutError(f"Redis did not answer within {self._within_s:g} s."))
        else:
            self._wait_until_due()

    def close(self) -> None:
        self._fail(RedisConnectionError("The connection to Redis was closed."))

    def _fail(self, exc: Exception) -> None:
        """End the connection: nobody knows what of the write that is under way was carried out."""
        self.is_lost = True
        if self._patience is not None:
            self._patience.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        """Bring the write that is under way to its end."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._last if exc is None else None, exc)


async def _opened(url: str) -> _Line:
    """Connect, log in and choose the database that the URL names."""
    options = parse_url(url)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            line = await _connected(url, options)
    except TimeoutError:
        raise
    except OSError as exc:  # a name that is not known, a network that is away
        raise RedisConnectionError(f"Redis cannot be reached ({exc}).") from exc
    try:
        for command in _introduction(options):
            answer, ended = _awaitable()
            line.write(pack(command), 1, ended, within_s=CONNECT_TIMEOUT_S)
            await answer
    except Refused as exc:
        line.close()
        raise AuthenticationError(f"Redis refuses us ({exc}).") from exc
    except BaseException:
        line.close()
        raise
    return line


async def _connected(url: str, options: Any) -> _Line:
    loop = asyncio.get_running_loop()
    if "path" in options:
        _, line = await loop.create_unix_connection(_Line, options["path"])
        return line
    encryption = ssl.create_default_context() if urlsplit(url).scheme == "rediss" else None
    _, line = await loop.create_connection(
        _Line, options.get("host", "localhost"), options.get("port", 6379), ssl=encryption
    )
    return line


def _introduction(options: Any) -> list[tuple[Any, ...]]:
    commands: list[tuple[Any, ...]] = []
    if options.get("password"):
        name = (options["username"],) if options.get("username") else ()
        commands.append(("AUTH", *name, options["password"]))
    if options.get("db"):
        commands.append(("SELECT", str(options["db"])))
    return commands
