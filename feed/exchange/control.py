"""The control port: what a test or an operator does to the exchange from outside the venue's API. Loopback only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from feed.exchange.auth import read_public_key
from feed.exchange.budgets import TIERS
from feed.exchange.control_bodies import number, problem, read_body, seconds_us
from feed.exchange.faults.script import check_close_code
from feed.exchange.keyfiles import OWNER
from feed.exchange.ledger import LinesGone
from feed.exchange.stream.framelog import FramesGone
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.orders import Placed, Refusal
from feed.exchange.wire import money as money_wire
from feed.exchange.wire import orders as orders_wire
from feed.exchange.wire import private as private_wire
from feed.exchange.wire import public as wire
from feed.exchange.wire import requests
from feed.exchange.wire.answers import answer

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

OUTSIDER = "outsider"


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """A public key (PEM) for an account."""

    public_key: str
    account: str = OWNER


class Standing(msgspec.Struct, forbid_unknown_fields=True):
    """What the exchange grants an account; what is left out stays. `region_expires_s`: Unix time, null for never."""

    tier: str | None = None
    region_expires_s: int | msgspec.UnsetType | None = msgspec.UNSET


class WhichClients(msgspec.Struct, forbid_unknown_fields=True):
    """The connections of an account, or all."""

    account: str = ""


class CloseClients(WhichClients, forbid_unknown_fields=True):
    """How they are closed; code 1006 cuts them."""

    code: int = 1001

    def __post_init__(self) -> None:
        check_close_code(self.code)


class Control:
    """Handlers of the control port."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/ledger", self.ledger),
            web.get("/ledger/lines", self.ledger_lines),
            web.get("/frames", self.frames),
            web.get("/state", self.state),
            web.post("/clients/close", self.close_clients),
            web.post("/clients/silence", self.silence_clients),
            web.post("/accounts/keys", self.add_key),
            web.put("/accounts/{account}/standing", self.set_standing),
            web.post("/orders", self.place_order),
            web.post("/orders/{order_id}/amend", self.amend_order),
            web.delete("/orders/{order_id}", self.cancel_order),
        ]

    async def ledger(self, request: web.Request) -> web.Response:
        """Return all that every account has and how its cash came about; `?account=NAME` for one."""
        name = request.query.get("account")
        accounts = self._exchange.step().accounts
        return answer({a.name: self._account(a) for a in accounts.values() if name in (None, a.name)})

    def _account(self, account: Account) -> dict[str, Any]:
        groups = self._exchange.world.entry.groups.of(account)
        return {
            "user_id": account.user_id,
            "balance": money_wire.balance_body(account, None),
            "orders": [private_wire.order_body(o, account.user_id) for o in account.orders.values()],
            "fills": [private_wire.fill_row(fill) for fill in account.fills],
            "positions": [
                {**private_wire.position_row(p), "subaccount_number": p.subaccount} for p in account.positions.values()
            ],
            "settlements": [money_wire.settlement_row(s) for s in account.settlements],
            "subaccount_balances": money_wire.subaccount_balances(account),
            "cash_book": [money_wire.cash_book_row(entry) for entry in account.ledger.entries],
            "order_groups": [private_wire.group_row(group) for group in groups],
        }

    async def ledger_lines(self, request: web.Request) -> web.Response:
        """Return what happened: `?after=N` lines behind line N, `?kind=request|event`, `?account=NAME`."""
        kind = request.query.get("kind", "")
        try:
            after = number(request.query.get("after", "0"), "after")
        except ValueError as exc:
            return problem(exc)
        if kind not in ("", "request", "event"):
            return answer({"problem": f"kind: expected request or event, found {kind!r}"}, status=400)
        self._exchange.step()
        try:
            lines = self._exchange.ledger.after(after, kind=kind, account=request.query.get("account"))
        except LinesGone as gone:
            return answer({"problem": f"after: {gone}, ask for those after {gone.oldest - 1}"}, status=410)
        return answer({"lines": lines})

    async def frames(self, request: web.Request) -> web.Response:
        """Return frames as they were before any fault: `?after=N` those behind frame N, `?account=NAME`."""
        try:
            after = number(request.query.get("after", "0"), "after")
        except ValueError as exc:
            return problem(exc)
        if not self._exchange.frames.is_on:
            return answer({"problem": "frames are not kept: start the exchange with --keep-frames N"}, status=409)
        self._exchange.step()
        try:
            frames = self._exchange.frames.after(after, account=request.query.get("account"))
        except FramesGone as gone:
            return answer({"problem": f"after: {gone}, ask for those after {gone.oldest - 1}"}, status=410)
        return answer({"frames": frames})

    async def state(self, _request: web.Request) -> web.Response:
        world = self._exchange.step()
        clients = [
            {
                "account": s.account,
                "subscriptions": [{"sid": i, "channel": u.channel} for i, u in s.subscriptions.items()],
            }
            for s in self._exchange.hub.sessions
        ]
        markets = {
            ticker: {"status": market.status, "close_time": wire.rfc3339(market.terms.close_us)}
            for ticker, market in world.markets.items()
        }
        return answer({"now": wire.rfc3339(world.now_us), "clients": clients, "markets": markets})

    async def close_clients(self, request: web.Request) -> web.Response:
        """Close WebSockets now, as maintenance does; a fault script waits for a frame."""
        try:
            body = read_body(await request.read(), CloseClients)
        except ValueError as exc:
            return problem(exc)
        clients = self._exchange.sockets.of(body.account)
        await asyncio.gather(*(client.close(body.code) for client in clients))
        return answer({"clients": len(clients)})

    async def silence_clients(self, request: web.Request) -> web.Response:
        """Send and answer nothing on the WebSockets that are open now, not even pings; TCP stays up."""
        try:
            body = read_body(await request.read(), WhichClients)
        except ValueError as exc:
            return problem(exc)
        clients = self._exchange.sockets.of(body.account)
        for client in clients:
            client.line.is_silent = True
        return answer({"clients": len(clients)})

    async def add_key(self, request: web.Request) -> web.Response:
        """Register a public key: {"public_key": PEM, "account": name?} → {"key_id"}."""
        try:
            body = read_body(await request.read(), NewKey)
            key = read_public_key(body.public_key.encode())
        except ValueError as exc:
            return problem(exc)
        account = self._exchange.world.account(body.account)
        return answer({"key_id": self._exchange.keys.register(key, account.name), "account": account.name})

    async def set_standing(self, request: web.Request) -> web.Response:
        """Set what the exchange grants an account: {"tier": name?, "region_expires_s": Unix time or null?}."""
        try:
            body = read_body(await request.read(), Standing)
            if body.tier is not None and body.tier not in TIERS:
                raise ValueError(f"tier: expected one of {', '.join(TIERS)}")
            if isinstance(body.region_expires_s, int):
                seconds_us(body.region_expires_s, "region_expires_s")
        except ValueError as exc:
            return problem(exc)
        members, name, now_us = self._exchange.members, request.match_info["account"], self._exchange.now_us()
        if body.tier is not None:
            members.set_tier(name, body.tier, now_us)
        member = members.of(name, now_us)
        if body.region_expires_s is not msgspec.UNSET:
            member.region_expires_s = body.region_expires_s
        return answer({"tier": member.budget.tier, "region_expires_s": member.region_expires_s})

    async def place_order(self, request: web.Request) -> web.Response:
        """Place an order as somebody else: the body of a create, and `account` (default: an outside person)."""
        name = request.query.get("account", OUTSIDER)
        new = requests.read_create(await request.read(), request.content_type)
        world = self._exchange.step()
        result = world.entry.place(world.account(name), new)
        self._exchange.flush()
        if not isinstance(result, Placed):
            return answer(result.body(), status=result.status)
        return answer(private_wire.order_body(result.order, world.account(name).user_id), status=201)

    async def amend_order(self, request: web.Request) -> web.Response:
        """Amend an order by a person's hand: the body of an amend, and `account`."""
        amendment, _ = requests.read_amend(await request.read(), request.content_type)
        world = self._exchange.step()
        account = world.account(request.query.get("account", OWNER))
        result = world.entry.amend(account, request.match_info["order_id"], amendment)
        self._exchange.flush()
        if isinstance(result, Refusal):
            return answer(result.body(), status=result.status)
        return answer(orders_wire.amended(result, world.now_us))

    async def cancel_order(self, request: web.Request) -> web.Response:
        """Cancel an order by a person's hand, `account`'s."""
        world = self._exchange.step()
        account = world.account(request.query.get("account", OWNER))
        result = world.entry.cancel_by_id(account, request.match_info["order_id"])
        self._exchange.flush()
        if isinstance(result, Refusal):
            return answer(result.body(), status=result.status)
        return answer(orders_wire.cancelled(result, world.now_us))
