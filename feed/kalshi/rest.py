"""Read the venue over REST: signed, with an end to every call.

Reads are repeated with jittered back-off inside a deadline when the way to the venue fails or it is busy; a refusal
is raised at once. Nothing here writes orders.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import aiohttp
import msgspec

from feed.kalshi.environments import Environment
from feed.kalshi.errors import Disconnected, ProtocolViolation, RateLimited, RequestRefused, Unauthorized
from feed.kalshi.signing import Signer
from feed.kalshi.wire import rest as wire
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPT_TIMEOUT_S = 10.0
DEADLINE_S = 30.0
EVENTS_PAGE = 200
PROGRAMS_PAGE = 1_000
TICKERS_A_READ = 100  # keeps the address well under what servers take
PAGES_MAX = 2_000  # a cursor that never ends is the venue's fault; going round for ever would be ours


class Rest:
    """One client of one environment; use as an async context manager.

    Args:
        signer: None sends unsigned requests: enough for the catalogue.
    """

    def __init__(self, environment: Environment, signer: Signer | None, clock: Clock) -> None:
        self._environment, self._signer, self._clock = environment, signer, clock
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._http is not None
        await self._http.close()

    async def events(self, *, status: str, series_ticker: str = "") -> AsyncIterator[wire.EventBody]:
        """Yield events with their markets, page by page."""
        query = {"status": status, "limit": str(EVENTS_PAGE), "with_nested_markets": "true"}
        if series_ticker:
            query["series_ticker"] = series_ticker
        cursor = ""
        for _ in range(PAGES_MAX):
            page = await self._get("/events", {**query, **({"cursor": cursor} if cursor else {})}, wire.EventsPage)
            for event in page.events:
                yield event
            if not page.cursor or page.cursor == cursor:
                return
            cursor = page.cursor
        raise ProtocolViolation(f"GET /events did not end after {PAGES_MAX} pages.")

    async def markets(self, tickers: Sequence[str]) -> list[wire.MarketBody]:
        """Return the named markets, whatever their status; one the venue does not know is left out."""
        found: list[wire.MarketBody] = []
        for start in range(0, len(tickers), TICKERS_A_READ):
            chunk = tickers[start : start + TICKERS_A_READ]
            query = {"tickers": ",".join(chunk), "limit": str(TICKERS_A_READ)}
            found += (await self._get("/markets", query, wire.MarketsPage)).markets
        return found

    async def series(self, ticker: str) -> wire.SeriesBody:
        answer = await self._get(f"/series/{ticker}", {}, wire.SeriesAnswer)
        return answer.series

    async def all_series(self) -> list[wire.SeriesBody]:
        """Return every series: the venue does not page this list."""
        return (await self._get("/series", {}, wire.SeriesList)).series

    async def incentive_programs(self, *, status: str = "all") -> AsyncIterator[wire.ProgramBody]:
        """Yield incentive programs, page by page."""
        query = {"status": status, "limit": str(PROGRAMS_PAGE)}
        cursor = ""
        for _ in range(PAGES_MAX):
            extra = {"cursor": cursor} if cursor else {}
            page = await self._get("/incentive_programs", {**query, **extra}, wire.ProgramsPage)
            for program in page.incentive_programs:
                yield program
            if not page.next_cursor or page.next_cursor == cursor:
                return
            cursor = page.next_cursor
        raise ProtocolViolation(f"GET /incentive_programs did not end after {PAGES_MAX} pages.")

    async def _get(self, path: str, query: Mapping[str, str], answer: type[T]) -> T:
        body = await self._read(path, query)
        try:
            return msgspec.json.decode(body, type=answer)
        except msgspec.MsgspecError as exc:
            raise ProtocolViolation(f"GET {path} answered what nobody documented: {exc}.") from exc

    async def _read(self, path: str, query: Mapping[str, str]) -> bytes:
        """Return the body of a read, repeating it within the deadline.

        Raises:
            RequestRefused: The venue said no; asking again would not help.
            Disconnected: It could not be asked within the deadline.
        """
        give_up = self._clock.monotonic() + DEADLINE_S
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(path, query)
            except (RateLimited, Disconnected) as exc:
                wait = delay_s(attempt, first_s=0.25, most_s=5.0, jitter=random.random())
                if self._clock.monotonic() + wait >= give_up:
                    raise
                logger.info("read of %s failed, again in %.2f s: %s", path, wait, exc, extra={"action": "rest_retry"})
                await asyncio.sleep(wait)

    async def _once(self, path: str, query: Mapping[str, str]) -> bytes:
        assert self._http is not None, "used outside its context"
        url = self._environment.rest_url + path
        headers = self._signer.headers("GET", url, wall_ms=self._clock.wall_us() // 1_000) if self._signer else {}
        try:
            async with self._http.get(url, params=query, headers=headers) as answer:
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise Disconnected(f"GET {path} got no answer ({exc or type(exc).__name__}).") from exc
        if status == 200:
            return body
        if status >= 500 or status == 408:
            raise Disconnected(f"GET {path} was answered with HTTP {status}.")
        raise refusal(status, body)


def refusal(status: int, body: bytes) -> RequestRefused:
    """Return the typed refusal that an error body means, whichever of the venue's shapes it has."""
    kind: type[RequestRefused] = {401: Unauthorized, 403: Unauthorized, 429: RateLimited}.get(status, RequestRefused)
    code, message = _error_text(body)
    return kind(status, code, message)


def _error_text(body: bytes) -> tuple[str, str]:
    try:
        error = msgspec.json.decode(body, type=wire.ErrorBody)
        nested: Any = msgspec.json.decode(error.error)
        if isinstance(nested, str):
            return "", nested
        if isinstance(nested, dict):
            inner = msgspec.convert(nested, wire.NestedError)
            return str(inner.code), inner.details or inner.message
        return str(error.code or ""), error.message or error.msg or error.details or ""
    except msgspec.MsgspecError:
        return "", body[:200].decode(errors="replace")
