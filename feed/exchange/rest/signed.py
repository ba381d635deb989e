"""What every handler of one's own account needs first: to know who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.auth import Denied
from feed.exchange.trading.accounts import PRIMARY, Account
from feed.exchange.wire.answers import answer

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

Handler = Callable[[web.Request, Account], Awaitable[web.Response]]


def signed(exchange: LocalExchange, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that lets only signed requests through, with the world brought to now."""

    async def checked(request: web.Request) -> web.Response:
        who = exchange.authenticate(request)
        if isinstance(who, Denied):
            return answer(who.body(), status=401)
        exchange.step()
        return await handler(request, who)

    return checked


def subaccount_written(_request: web.Request, named: int | None) -> int:
    """Return the subaccount a write (or a read that defaults to the primary) is about."""
    return PRIMARY if named is None else named


def subaccount_read(_request: web.Request, named: int | None) -> int | None:
    """Return the subaccount a list is limited to; None is all of them."""
    return named
