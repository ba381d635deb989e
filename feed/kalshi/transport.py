"""Carry one HTTP request to the venue and one answer back: no retry, no redirect, no cookie, an end to every wait.

What went wrong is told apart by one question that callers of writes live on: can the request have left? A connection
marks the request the moment it is had, before a byte is written, so `NeverSent` is a proof.
"""

from __future__ import annotations

import email.utils
import types
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from feed.kalshi.clock import Dated
from feed.kalshi.errors import Disconnected, NeverSent
from kalshimm.runtime.clock import Clock

Query = Mapping[str, str | Sequence[str]]


class Connection(msgspec.Struct, frozen=True):
    """How the way to the venue is used.

    Args:
        connect_timeout_s: Name, TCP and TLS, and waiting for a free connection.
        answer_timeout_s: The whole of one attempt.
        deadline_s: All attempts of a read together.
        first_wait_s: Before the second attempt of a read; doubles, jittered, up to `most_wait_s`.
        idle_s: A connection unused for so long is not used again: the venue may be closing it at that moment.
        connections: At most so many at once.
        name_ttl_s: How long an address that was looked up is believed.
    """

    connect_timeout_s: float = 3.0
    answer_timeout_s: float = 10.0
    deadline_s: float = 30.0
    first_wait_s: float = 0.25
    most_wait_s: float = 5.0
    idle_s: float = 15.0
    connections: int = 32
    name_ttl_s: int = 60


class Request(msgspec.Struct, frozen=True):
    """A request without its signature, so that it may be shown and logged."""

    method: str
    url: str
    body: bytes | None = None


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer read to its end; `dated` is None when it does not say when it was made."""

    status: int
    body: bytes
    dated: Dated | None = None


def address(base: str, path: str, query: Query) -> str:
    """Return the full address; a sequence in the query repeats its parameter."""
    return base + path + (f"?{urlencode(query, doseq=True, safe=',')}" if query else "")


class _Progress:
    """Whether a request may have left us."""

    def __init__(self) -> None:
        self.may_have_left = False


async def _had_connection(_: aiohttp.ClientSession, context: types.SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.may_have_left = True


class Transport:
    """One pool of connections; use as an async context manager."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        settings = self._connection
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_had_connection)
        trace.on_connection_reuseconn.append(_had_connection)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=aiohttp.ThreadedResolver(),  # names are looked up in a thread: the loop never waits for them
                ttl_dns_cache=settings.name_ttl_s,
                keepalive_timeout=settings.idle_s,
                limit=settings.connections,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )
        # aiohttp sends PUT and DELETE a second time when a kept connection breaks under the first; there is no
        # public switch. Without the attribute this line fails, and the test of a broken kept connection with it.
        assert self._http._retry_connection is True
        self._http._retry_connection = False
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def send(self, request: Request, headers: Mapping[str, str], *, within_s: float) -> Answer:
        """Send once and read the answer.

        Raises:
            NeverSent: No connection was had.
            Disconnected: One was had, and no whole answer came.
        """
        assert self._http is not None, "used outside its context"
        progress = _Progress()
        timeout = aiohttp.ClientTimeout(
            total=min(within_s, self._connection.answer_timeout_s), connect=self._connection.connect_timeout_s
        )
        content = {"Content-Type": "application/json"} if request.body is not None else {}
        sent_us = self._monotonic_us()
        try:
            async with self._http.request(
                request.method,
                URL(request.url, encoded=True),  # as signed, to the letter
                data=request.body,
                headers={**headers, **content},
                timeout=timeout,
                allow_redirects=False,
                trace_request_ctx=progress,
            ) as response:
                body = await response.read()
                dated = _dated(response.headers, sent_us, self._monotonic_us())
                return Answer(response.status, body, dated)
        except (aiohttp.ClientError, OSError) as exc:  # TimeoutError is an OSError
            kind = Disconnected if progress.may_have_left else NeverSent
            # Without its cause: some of aiohttp's errors hold the request, signature and all.
            raise kind(f"{request.method} {request.url} got no answer ({_why(exc)}).") from None

    def _monotonic_us(self) -> int:
        return round(self._clock.monotonic() * 1_000_000)


def _why(exc: BaseException) -> str:
    return " ".join(str(exc).split()).rstrip(".") or type(exc).__name__


def _dated(headers: Mapping[str, str], sent_us: int, received_us: int) -> Dated | None:
    """Return when an answer says it was made; one from a cache was made some other time."""
    if "Age" in headers or "Date" not in headers:
        return None
    try:
        made = email.utils.parsedate_to_datetime(headers["Date"])
        return Dated(int(made.timestamp()), sent_us, received_us)
    except (ValueError, OverflowError):
        return None
