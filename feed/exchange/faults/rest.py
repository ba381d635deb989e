"""Carry faults out on REST requests: a middleware around everything the venue serves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.script import (
    Answer,
    ApplyThenAnswer,
    ApplyThenDelay,
    ApplyThenDrop,
    Cut,
    Delay,
    Drop,
    RestFault,
)
from feed.exchange.ledger import Asker
from kalshimm.runtime.clock import Clock


def middleware(plan: FaultPlan, clock: Clock, *, base: str, asker: Asker) -> Middleware:
    """Return the middleware; it must lie outside every other, so that nothing answers in its place.

    Args:
        base: Path that scripts leave out.
        asker: Names the account of a request, "" for nobody known.
    """

    @web.middleware
    async def faulty(request: web.Request, handler: Handler) -> web.StreamResponse:
        account = asker(request)
        faults = plan.of_request(
            method=request.method,
            path=request.path.removeprefix(base),
            account=account,
            body=await _body(request),
            now_us=clock.wall_us(),
        )

        def note(fault: RestFault) -> None:
            what = f"{request.method} {request.path_qs}"
            plan.note(fault, at_us=clock.wall_us(), account=account, what=what)

        for fault in faults:
            if isinstance(fault, Delay):
                await asyncio.sleep(fault.delay_ms / 1_000)
                note(fault)
        last = faults[-1] if faults else None
        match last:
            case Drop():
                note(last)
                return _hang_up(request)
            case Answer():
                note(last)
                return _said(last)
            case ApplyThenDrop():
                await handler(request)
                note(last)
                return _hang_up(request)
            case ApplyThenDelay():
                answer = await handler(request)
                await asyncio.sleep(last.delay_ms / 1_000)
                note(last)
                return answer
            case ApplyThenAnswer():
                await handler(request)
                note(last)
                return _said(last)
            case Cut():
                answer = await handler(request)
                note(last)
                return await _cut_short(request, answer, last.bytes)
            case _:
                return await handler(request)

    return faulty


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.body_exists:
        return {}
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}  # what the handler will say of it is its affair
    return body if isinstance(body, dict) else {}


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere


def _said(fault: Answer | ApplyThenAnswer) -> web.Response:
    return web.Response(body=fault.text.encode(), status=fault.status, content_type=fault.content_type)


async def _cut_short(request: web.Request, answer: web.StreamResponse, count: int) -> web.StreamResponse:
    body = answer.body if isinstance(answer, web.Response) else None
    if not isinstance(body, bytes) or not body:
        return _hang_up(request)  # a head alone (204) would be a whole answer
    response = web.StreamResponse(status=answer.status)
    response.content_type = answer.content_type
    response.content_length = max(len(body), count + 1)  # the head promises more than comes
    await response.prepare(request)
    await response.write(body[:count])
    return _hang_up(request)
