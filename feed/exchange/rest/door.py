"""The door before every handler: who asks, may they, and can they pay. The rules are in `access` and `budgets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from feed.exchange import access
from feed.exchange.access import Rule
from feed.exchange.auth import KEY_HEADER, ApiKey, Denied
from feed.exchange.budgets import SECOND_US
from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import KEY
from feed.exchange.stream.socket import PATH
from feed.exchange.wire.answers import answer, nested

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

# Public reads may be signed as well; then they are paid for, and a wrong signature is refused.
SIGNED = (KEY_HEADER, "KALSHI-ACCESS-SIGNATURE")
STREAM = Rule("GET", "stream", needs_key=True, scopes=("read",), is_write=False, cost=0, takes_pinned=True)


class Door:
    """A middleware; it leaves the key of a signed request under `KEY`."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.match_info.http_exception is not None:
                return await handler(request)  # there is no such path
            refusal = await self._refusal(request, self._rule(request))
            return await handler(request) if refusal is None else refusal

        return door

    def _rule(self, request: web.Request) -> Rule:
        resource = request.match_info.route.resource
        assert resource is not None, "a route that matched has a resource"
        if resource.canonical == PATH:
            return STREAM
        return access.rule_of(request.method, resource.canonical.removeprefix(BASE))

    async def _refusal(self, request: web.Request, rule: Rule) -> web.Response | None:
        """Return the answer to a request that stays outside, None for one that may pass."""
        needs_key = rule.needs_key or (rule.is_book and self._exchange.world.switches.books_need_a_key)
        if not needs_key and not any(header in request.headers for header in SIGNED):
            admitted = self._exchange.members.admits(request.remote or "", rule.cost, self._exchange.now_us())
            return None if admitted else too_many()
        key = self._exchange.verify(request)
        if isinstance(key, Denied):
            return answer(key.body(), status=401)
        request[KEY] = key
        body = await _body(request) if rule.method != "GET" else None
        if not self._pays(request, rule, key, body):
            return too_many()
        if not needs_key:
            return None
        return _forbidden(request, rule, key, body) or self._out_of_region(rule, key, body)

    def _out_of_region(self, rule: Rule, key: ApiKey, body: Any) -> web.Response | None:
        """Return the refusal of an order in what only attested accounts may trade; the venue's words are not known."""
        world, now_us = self._exchange.world, self._exchange.now_us()
        expires_s = self._exchange.members.of(key.account, now_us).region_expires_s
        if expires_s is None or now_us < expires_s * SECOND_US:
            return None
        markets = [world.markets[ticker] for ticker in access.tickers_ordered(rule, body) if ticker in world.markets]
        if any(world.series_of(market).category in access.ATTESTED_CATEGORIES for market in markets):
            return nested(403, "forbidden", "location attestation has expired")
        return None

    def _pays(self, request: web.Request, rule: Rule, key: ApiKey, body: Any) -> bool:
        now_us = self._exchange.now_us()
        budget = self._exchange.members.of(key.account, now_us).budget
        cost = rule.cost * access.items_in(rule, body)
        if not rule.is_write:
            return budget.read(cost, now_us)
        return budget.write(cost, now_us, shard=access.shard_of(rule, request.query, body))


def too_many() -> web.Response:
    """The bare 429, without any header that says when to come back (facts.md section 3)."""
    return answer({"error": "too many requests"}, status=429)


def _forbidden(request: web.Request, rule: Rule, key: ApiKey, body: Any) -> web.Response | None:
    if rule.scopes and not key.may(rule.scopes):
        return nested(403, "forbidden", f"API key lacks the scope {rule.scopes[0]}")
    if key.subaccount is None:
        return None
    if not rule.takes_pinned or access.foreign_subaccount(key.subaccount, request.query, body):
        return nested(403, "forbidden", "API key is restricted to a single sub-account")
    return None


async def _body(request: web.Request) -> Any:
    raw = await request.read()  # kept by the request: the handler reads it again
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the handler says what is wrong with it
