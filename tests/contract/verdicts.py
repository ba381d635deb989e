"""Let the venue's documents judge all that a local exchange says during a test, whoever asked.

The judge stands inside the faults: what a script garbles, or answers in the exchange's place, is not the exchange's
word. Complaints are told at the end of the test, for the exchange may run in another thread. An exchange that outlives
one test, as that of the fuzz, has a judge of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from venueframes import frame_document
from venuespec import specification

from feed.exchange.server import BASE, LocalExchange
from feed.exchange.stream.subscriptions import Session, Subscription

BEHIND_THE_FAULTS = 3  # of LocalExchange.application's middlewares


@pytest.fixture(autouse=True)
def the_documents_judge(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test during which the exchange said what the OpenAPI or AsyncAPI document does not know."""
    answers, frames = specification(), frame_document()
    complaints: list[str] = []

    @web.middleware
    async def judged(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException:
            raise
        except Exception as exc:
            complaints.append(f"{request.method} {request.path} crashed: {exc!r}")
            raise
        if answers is not None and isinstance(response, web.Response) and request.path.startswith(BASE):
            raw = response.body if isinstance(response.body, bytes) else b""
            path = request.path.removeprefix(BASE)
            headers = {**response.headers, "Content-Type": response.content_type}
            _note(complaints, lambda: answers.check(request.method, path, response.status, headers, raw))
        return response

    make, queue = LocalExchange.application, Session.queue

    def application(self: LocalExchange) -> web.Application:
        app = make(self)
        app.middlewares.insert(BEHIND_THE_FAULTS, judged)
        return app

    def queued(self: Session, subscription: Subscription | None, frame: bytes) -> None:
        if frames is not None:
            _note(complaints, lambda: frames.check_frame(msgspec.json.decode(frame)))
        queue(self, subscription, frame)

    monkeypatch.setattr(LocalExchange, "application", application)
    monkeypatch.setattr(Session, "queue", queued)
    yield
    assert complaints == []


def _note(complaints: list[str], check: Any) -> None:
    try:
        check()
    except (AssertionError, pytest.fail.Exception) as exc:
        complaints.append(str(exc))
