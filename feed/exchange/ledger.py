"""What happened at this exchange, line by line with its own time: the evidence by which tests judge.

Two kinds of line share one numbering: each REST request that reached us (also those a fault left unapplied or
unanswered), and each thing that happened: what an account or the life-cycle channel was told, told or not told, and
every pause. What accounts have now is the control port's `/ledger`; how they came to it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from feed.exchange.happenings import Announced, Halted, Happening, Private
from kalshimm.runtime.clock import Clock

UNANSWERED = 0
LINES_KEPT = 500_000
HALTS = "halt"  # what stands for a channel at lines that no client was told: pauses, by hand or by plan


class RequestLine(msgspec.Struct, frozen=True, tag="request", tag_field="line"):
    """One REST request. `status` is what the client saw, 0 for a connection cut; `account` "" for an unknown key."""

    number: int
    at_us: int
    account: str
    method: str
    path: str
    status: int
    body: msgspec.Raw


class EventLine(msgspec.Struct, frozen=True, tag="event", tag_field="line"):
    """One message of a private channel (`account`'s) or of the life-cycle channel, in wire form; or a halt."""

    number: int
    at_us: int
    account: str
    channel: str
    body: dict[str, Any]


Line = RequestLine | EventLine
Asker = Callable[[web.Request], str]  # names the account of a request, without judging its signature
NO_BODY = msgspec.Raw(b"null")


class LinesGone(LookupError):
    """Lines were asked for that the ledger no longer has; `oldest` is the number of the first it still has."""

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        super().__init__(f"lines before number {oldest} are gone")


class Ledger:
    """All lines since the start, each with its number; an exchange that runs for weeks forgets the oldest.

    Args:
        kept: How many lines it has at least; what is forgotten is never left out silently.
    """

    def __init__(self, *, kept: int = LINES_KEPT) -> None:
        self._kept = kept
        self._lines: list[Line] = []
        self._gone = 0

    def record(self, happenings: Iterable[Happening], *, at_us: int) -> None:
        for happening in happenings:
            match happening:
                case Private():
                    self._add_event(happening.account, happening.channel, happening.body, at_us)
                case Announced():
                    self._add_event("", happening.type, happening.body, at_us)
                case Halted():
                    body = {"halt": happening.halt, "scope": happening.scope, "is_on": happening.is_on}
                    self._add_event("", HALTS, body, at_us)

    def _add_event(self, account: str, channel: str, body: dict[str, Any], at_us: int) -> None:
        self._add(EventLine(self._next(), at_us, account, channel, body))

    def request(self, *, at_us: int, account: str, method: str, path: str, status: int, body: bytes) -> None:
        self._add(RequestLine(self._next(), at_us, account, method, path, status, _json_or_text(body)))

    def _next(self) -> int:
        return self._gone + len(self._lines) + 1

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        if len(self._lines) >= 2 * self._kept:  # seldom, and then half of them: dropping one is dear
            del self._lines[: self._kept]
            self._gone += self._kept

    def after(self, number: int, *, kind: str = "", account: str | None = None) -> list[Line]:
        """Return the lines behind line `number`; of one kind (`request`, `event`) and account if given.

        Raises:
            LinesGone: Some of them are forgotten.
        """
        if number < self._gone:
            raise LinesGone(self._gone + 1)
        kinds: dict[str, tuple[type[Line], ...]] = {"request": (RequestLine,), "event": (EventLine,)}
        wanted = kinds.get(kind, (RequestLine, EventLine))
        lines = self._lines[number - self._gone :]
        return [line for line in lines if isinstance(line, wanted) and account in (None, line.account)]


def _json_or_text(body: bytes) -> msgspec.Raw:
    if not body:
        return NO_BODY
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.Raw(msgspec.json.encode(body.decode(errors="replace")))
    return msgspec.Raw(body)


def middleware(ledger: Ledger, clock: Clock, asker: Asker) -> Middleware:
    """Return the middleware that writes request lines; it must lie outside the faults."""

    @web.middleware
    async def noted(request: web.Request, handler: Handler) -> web.StreamResponse:
        at_us = clock.wall_us()
        status, body = UNANSWERED, b""
        try:
            body = await request.read() if request.body_exists else b""
            response = await handler(request)
            if request.transport is not None and not request.transport.is_closing():
                status = response.status
        except web.HTTPException as exc:
            status = exc.status
            raise
        finally:
            ledger.request(
                at_us=at_us, account=asker(request), method=request.method, path=request.path_qs, status=status,
                body=body,
            )  # fmt: skip
        return response

    return noted
