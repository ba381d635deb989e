"""What every handler of one's own account needs first: to know who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.auth import ApiKey
from feed.exchange.trading.accounts import PRIMARY, Account

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

KEY = web.RequestKey("key", ApiKey)  # the key of a signed request, as the door has verified it

Handler = Callable[[web.Request, Account], Awaitable[web.Response]]


def signed(exchange: LocalExchange, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that is told whose request it is, with the world brought to now."""

    async def checked(request: web.Request) -> web.Response:
        exchange.step()
        return await handler(request, exchange.world.account(request[KEY].account))

    return checked


def signed_read(exchange: LocalExchange, handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler like `signed` that sees the account as reads see it: perhaps a while ago."""

    async def trailing(request: web.Request, account: Account) -> web.Response:
        return await handler(request, exchange.as_read(account, f"{request.method} {request.path_qs}"))

    return signed(exchange, trailing)


def subaccount_written(request: web.Request, named: int | None) -> int:
    """Return the subaccount a write (or a read that defaults to the primary) is about.

    For a key pinned to one it is that one: the door has turned away whoever named another.
    """
    pinned = _pinned(request)
    if pinned is not None:
        return pinned
    return PRIMARY if named is None else named


def subaccount_read(request: web.Request, named: int | None) -> int | None:
    """Return the subaccount a list is limited to; None is all of them."""
    pinned = _pinned(request)
    return named if pinned is None else pinned


def _pinned(request: web.Request) -> int | None:
    """Return the subaccount the request's key is pinned to; requests on the control port have no key."""
    key = request.get(KEY)
    return key.subaccount if key is not None else None
