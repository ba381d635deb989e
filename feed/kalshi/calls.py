"""One call of the venue over REST, from asking the token budget to a typed answer.

    read     repeated with jittered back-off inside a deadline, until an answer comes that asking again cannot better
    write    sent at most once, and answered in one of three ways:
             accepted   a body of the promised shape in a 2xx is returned
             refused    RequestRefused (4xx but 408), and NeverSent or HeldBack when it provably never left
             unknown    OutcomeUnknown: everything else

A write that is cancelled while it waits (CancelledError) is unknown too: whoever cancels it must treat it so.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from feed.kalshi import clock as venue_clock
from feed.kalshi.environments import Environment
from feed.kalshi.errors import Disconnected, HeldBack, ProtocolViolation, RateLimited
from feed.kalshi.limiter import Ask, Limiter, Refused, Work
from feed.kalshi.refusals import refusal
from feed.kalshi.signing import Signer
from feed.kalshi.transport import Answer, Connection, Query, Request, Transport, address
from feed.kalshi.wire.bodies import Body, decode, encode, read, read_items
from feed.kalshi.wire.kinds import shown
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock

logger = logging.getLogger(__name__)

T = TypeVar("T")
B = TypeVar("B", bound=Body)

PAGES_MAX = 2_000  # a cursor that never ends is the venue's fault; going round for ever would be ours
SECOND_US = 1_000_000
NO_QUERY: Query = MappingProxyType({})


class Parameters(dict[str, str | Sequence[str]]):
    """A query: None and empty texts are left out, truth is spelt as the venue does."""

    def __init__(self, **values: str | int | bool | Sequence[str] | None) -> None:
        super().__init__()
        for name, value in values.items():
            if isinstance(value, bool):
                self[name] = "true" if value else "false"
            elif isinstance(value, int):
                self[name] = str(value)
            elif value:
                self[name] = value


def comma(values: str | Sequence[str] | None) -> str | None:
    """Return one or more values as the venue's comma-separated lists want them."""
    if values is None or isinstance(values, str):
        return values
    if not values:
        raise ValueError("an empty filter would mean everything")
    return ",".join(values)


def segment(value: str) -> str:
    """Return a value as one segment of a path."""
    if not value:
        raise ValueError("an empty id would name another endpoint")
    return quote(value, safe="")


class Write(NamedTuple):
    """One write.

    Args:
        asked: What it does, as a verb with its object, for messages: `cancel order …`.
        path: Below `/trade-api/v2`.
        accepted: Turns the decoded body of a 2xx (None when it is empty) into the answer; ValueError if it cannot.
        client_order_id: Of the order it may place.
    """

    work: Work
    method: str
    path: str
    asked: str
    accepted: Callable[[Any], Any]
    query: Query = NO_QUERY
    body: Mapping[str, Any] | None = None
    exchange_index: int | None = 0
    items: int = 1
    is_batch: bool = False
    client_order_id: str = ""

    @property
    def ask(self) -> Ask:
        return Ask(self.work, self.method, self.path, self.items, self.exchange_index, self.is_batch)


class Calls:
    """Calls of one environment with one key, or with none for what is public."""

    def __init__(
        self,
        environment: Environment,
        signer: Signer | None,
        clock: Clock,
        *,
        limiter: Limiter | None = None,
        connection: Connection | None = None,
    ) -> None:
        self._connection = connection or Connection()
        self._environment, self._signer, self._clock, self._limiter = environment, signer, clock, limiter
        self.transport = Transport(self._connection, clock)
        self._venue_time: venue_clock.VenueTime | None = None

    def clock_offset(self) -> venue_clock.Offset | None:
        """Return how far the venue's clock is ahead of ours; None before the first dated answer."""
        if self._venue_time is None:
            return None
        now_us = round(self._clock.monotonic() * SECOND_US)
        return venue_clock.offset(self._venue_time, wall_us=self._clock.wall_us(), monotonic_us=now_us)

    # ---- reads -------------------------------------------------------------------------------------------------------

    async def read(self, kind: type[B], path: str, query: Query = NO_QUERY, *, inside: str = "") -> B:
        """Return the body of a read, or the part of it that stands under `inside`.

        Raises:
            RequestRefused: The venue said no; asking again would not help.
            Disconnected, RateLimited, HeldBack: It could not be asked within the deadline.
            ProtocolViolation: The answer has not the shape it should.
        """
        data = await self.decoded(path, query)
        return self.shaped(lambda value: read(kind, value), data, path, inside=inside)

    def shaped(self, parse: Callable[[Any], T], data: Any, path: str, *, inside: str = "") -> T:
        """Return what `parse` makes of a decoded answer to a read; a ValueError of it is the venue's fault."""
        try:
            return parse(part(data, inside) if inside else data)
        except ValueError as exc:
            raise ProtocolViolation(f"GET {path} answered what nobody documented: {exc}.") from exc

    async def decoded(self, path: str, query: Query = NO_QUERY, *, also: Collection[int] = ()) -> Any:
        """Return the decoded JSON of a read.

        Args:
            also: Statuses beside 200 whose body is an answer, if it is JSON.
        """
        give_up = self._clock.monotonic() + self._connection.deadline_s
        attempt = 0
        while True:
            attempt += 1
            left_s = give_up - self._clock.monotonic()
            try:
                return await self._read_once(path, query, also, within_s=left_s)
            except (RateLimited, Disconnected, HeldBack) as exc:
                wait_s = self._wait_s(attempt, exc)
                if self._clock.monotonic() + wait_s >= give_up:
                    raise
                logger.info("read of %s failed, again in %.2f s: %s", path, wait_s, exc, extra={"action": "rest_retry"})
                await asyncio.sleep(wait_s)

    def _wait_s(self, attempt: int, exc: Exception) -> float:
        if isinstance(exc, HeldBack):
            return float("inf") if exc.wait_s is None else exc.wait_s
        settings = self._connection
        return delay_s(attempt, first_s=settings.first_wait_s, most_s=settings.most_wait_s, jitter=random.random())

    async def _read_once(self, path: str, query: Query, also: Collection[int], *, within_s: float) -> Any:
        ask = Ask(Work.READ, "GET", path)
        await self._afford(ask, f"read {path}")
        answer = await self._send("GET", path, query, None, within_s=within_s)
        if answer.status == 200 or answer.status in also:
            try:
                return decode(answer.body)
            except (ValueError, msgspec.DecodeError) as exc:
                raise Disconnected(f"GET {path} was answered with HTTP {answer.status} and no JSON ({exc}).") from exc
        if is_unsure(answer.status):
            raise Disconnected(f"GET {path} was answered with HTTP {answer.status}.")
        refused = refusal(answer.status, answer.body)
        if isinstance(refused, RateLimited):
            await self._told_too_many(ask)
        raise refused

    # ---- writes ------------------------------------------------------------------------------------------------------

    async def write(self, call: Write) -> Any:
        """Send a write once and return what `accepted` makes of its answer.

        Raises:
            RequestRefused: Not done, says the venue.
            NeverSent, HeldBack: Not done, because it never left.
            OutcomeUnknown: Perhaps done.
        """
        assert self._signer is not None, "writes want a key"
        await self._afford(call.ask, call.asked)
        body = None if call.body is None else encode(dict(call.body))
        try:
            answer = await self._send(call.method, call.path, call.query, body, within_s=float("inf"))
        except Disconnected as exc:
            if type(exc) is not Disconnected:
                raise
            raise OutcomeUnknown(call.asked, str(exc).rstrip("."), client_order_id=call.client_order_id) from exc
        if not 200 <= answer.status < 300:
            if is_unsure(answer.status):
                raise self._unknown(call, f"the answer was HTTP {answer.status}")
            refused = refusal(answer.status, answer.body)
            if isinstance(refused, RateLimited):
                await self._told_too_many(call.ask)
            raise refused
        try:
            return call.accepted(decode(answer.body) if answer.body else None)
        except (ValueError, msgspec.DecodeError) as exc:
            raise self._unknown(call, f"the answer was HTTP {answer.status} with a body of no known shape") from exc

    def _unknown(self, call: Write, problem: str) -> OutcomeUnknown:
        return OutcomeUnknown(call.asked, problem, client_order_id=call.client_order_id)

    # ---- both --------------------------------------------------------------------------------------------------------

    async def _afford(self, ask: Ask, asked: str) -> None:
        if self._limiter is None:
            return
        answer = await self._limiter.acquire(ask)
        if isinstance(answer, Refused):
            wait_s = None if answer.wait_us is None else answer.wait_us / SECOND_US
            raise HeldBack(asked, answer.reason, wait_s, answer.fits)

    async def _told_too_many(self, ask: Ask) -> None:
        if self._limiter is not None:
            await self._limiter.rate_limited(ask)

    async def _send(self, method: str, path: str, query: Query, body: bytes | None, *, within_s: float) -> Answer:
        request = Request(method, address(self._environment.rest_url, path, query), body)
        wall_ms = self._clock.wall_us() // 1_000
        headers = self._signer.headers(method, request.url, wall_ms=wall_ms) if self._signer else {}
        answer = await self.transport.send(request, headers, within_s=within_s)
        if answer.dated is not None:
            self._learn_time(answer.dated)
        return answer

    def _learn_time(self, dated: venue_clock.Dated) -> None:
        before = self.clock_offset()
        self._venue_time = venue_clock.learn(self._venue_time, dated)
        now = self.clock_offset()
        if now is not None and now.must_warn and not (before is not None and before.must_warn):
            logger.warning(
                "our clock differs from the exchange's by %.1f s (± %.1f s)",
                now.estimate_us / SECOND_US,
                now.error_us / SECOND_US,
                extra={"action": "clock_offset", "offset_us": now.estimate_us, "error_us": now.error_us},
            )


def is_unsure(status: int) -> bool:
    """Return whether an HTTP status leaves open what became of a request: only 4xx but 408 is a clear no."""
    return status == 408 or not 400 <= status < 500


def part(data: Any, name: str) -> Any:
    """Return what stands under a name of a decoded object; ValueError if nothing does."""
    if not isinstance(data, dict):
        raise ValueError(f"expected an object, found {shown(data)}")
    if name not in data:
        raise ValueError(f"{name} is missing")
    return data[name]


class Listing(NamedTuple, Generic[T]):
    """All items of a list, and those that could not be read, as they came: what they say is not known."""

    items: tuple[T, ...]
    unreadable: tuple[Any, ...]


class Pages(Generic[B]):
    """A list of the venue, read page by page while it is iterated; each use reads it anew.

    Items that cannot be read are logged, and gathered by `all`.
    """

    def __init__(
        self, calls: Calls, kind: type[B], path: str, query: Query, name: str, *, cursor_name: str = "cursor"
    ) -> None:
        self._calls, self._kind, self._path, self._query = calls, kind, path, query
        self._name, self._cursor_name = name, cursor_name

    async def __aiter__(self) -> AsyncIterator[B]:
        async for page in self.pages():
            for item in page.items:
                yield item

    async def all(self) -> Listing[B]:
        """Read to the end."""
        items: list[B] = []
        unreadable: list[Any] = []
        async for page in self.pages():
            items += page.items
            unreadable += page.unreadable
        return Listing(tuple(items), tuple(unreadable))

    async def pages(self) -> AsyncIterator[Listing[B]]:
        """Yield page after page, up to an empty or repeated cursor."""
        cursor = ""
        for _ in range(PAGES_MAX):
            query = {**self._query, "cursor": cursor} if cursor else self._query
            data = await self._calls.decoded(self._path, query)
            yield self._calls.shaped(self._page, data, self._path)
            following = data.get(self._cursor_name)
            if not isinstance(following, str) or following in ("", cursor):
                return
            cursor = following
        raise ProtocolViolation(f"GET {self._path} did not end after {PAGES_MAX} pages.")

    def _page(self, data: Any) -> Listing[B]:
        return listing(self._kind, data, self._name, self._path)


def listing(kind: type[B], data: Any, name: str, path: str) -> Listing[B]:
    """Return the list that stands under `name` of a decoded answer; null is an empty one."""
    found = part(data, name)
    if found is not None and not isinstance(found, list):
        raise ValueError(f"{name}: expected a list, found {shown(found)}")
    items, unfit = read_items(kind, found or [])
    if unfit:
        logger.warning(
            "%d of %d %s from %s cannot be read",
            len(unfit), len(items) + len(unfit), name, path,
            extra={"action": "rest_unreadable", "first": shown(unfit[0])},
        )  # fmt: skip
    return Listing(items, tuple(unfit))
