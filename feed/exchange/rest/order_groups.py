"""REST of order groups. Creating has a path of its own; the reads and the changes do not (facts.md 7.5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from feed.exchange.catalog import SHARD_DEFAULT, SHARDS
from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed, subaccount_read, subaccount_written
from feed.exchange.trading.accounts import Account
from feed.exchange.trading.groups import OrderGroup
from feed.exchange.trading.orders import Refusal
from feed.exchange.wire import private as private_wire
from feed.exchange.wire import requests
from feed.exchange.wire.answers import Query, answer, not_found

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

GROUPS = f"{BASE}/portfolio/order_groups"
GROUP = f"{GROUPS}/{{order_group_id}}"


class OrderGroupHandlers:
    """Reads and writes of one's own groups."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        own = partial(signed, self._exchange)
        return [
            web.post(f"{GROUPS}/create", own(self.create)),
            web.get(GROUPS, own(self.groups)),
            web.get(GROUP, own(self.group)),
            web.put(f"{GROUP}/limit", own(self.limit)),
            web.put(f"{GROUP}/reset", own(self.reset)),
            web.put(f"{GROUP}/trigger", own(self.trigger)),
            web.delete(GROUP, own(self.delete)),
        ]

    # --- reads: every subaccount's unless one is named, on every shard ---------------------------------------------

    async def groups(self, request: web.Request, account: Account) -> web.Response:
        subaccount = subaccount_read(request, Query("GetOrderGroups", request.query).integer("subaccount"))
        found = self._exchange.world.entry.groups.of(account, subaccount=subaccount)
        return answer({"order_groups": [private_wire.group_row(group) for group in found]})

    async def group(self, request: web.Request, account: Account) -> web.Response:
        subaccount = subaccount_read(request, Query("GetOrderGroup", request.query).integer("subaccount"))
        groups = self._exchange.world.entry.groups
        group = groups.find(account, request.match_info["order_group_id"], subaccount=subaccount)
        if group is None:
            return not_found()
        return answer(private_wire.group_body(group, groups.resting(group)))

    # --- writes: of one subaccount and one shard -------------------------------------------------------------------

    async def create(self, request: web.Request, account: Account) -> web.Response:
        raw = await request.read()
        new = requests.read_group(raw, request.content_type, partial(subaccount_written, request))
        if new.exchange_index not in SHARDS or new.subaccount not in account.subaccounts:
            return not_found()
        group = self._exchange.world.entry.groups.create(
            account, limit_cx=new.limit_cx, subaccount=new.subaccount, exchange_index=new.exchange_index
        )
        if isinstance(group, Refusal):
            return answer(group.body(), status=group.status)
        self._exchange.flush()
        return answer(private_wire.group_created(group), status=201)

    async def limit(self, request: web.Request, account: Account) -> web.Response:
        limit_cx = requests.read_group_limit(await request.read(), request.content_type)
        group = self._found(request, account, "UpdateOrderGroupLimit")
        if group is not None:
            self._exchange.world.entry.groups.set_limit(group, limit_cx)
        return self._done(group)

    async def reset(self, request: web.Request, account: Account) -> web.Response:
        group = self._found(request, account, "ResetOrderGroup")
        if group is not None:
            self._exchange.world.entry.groups.reset(group)
        return self._done(group)

    async def trigger(self, request: web.Request, account: Account) -> web.Response:
        group = self._found(request, account, "TriggerOrderGroup")
        if group is not None:
            self._exchange.world.entry.groups.trigger(group)
        return self._done(group)

    async def delete(self, request: web.Request, account: Account) -> web.Response:
        group = self._found(request, account, "DeleteOrderGroup")
        if group is not None:
            self._exchange.world.entry.groups.delete(group)
        return self._done(group)

    def _found(self, request: web.Request, account: Account, operation: str) -> OrderGroup | None:
        query = Query(operation, request.query)
        return self._exchange.world.entry.groups.find(
            account,
            request.match_info["order_group_id"],
            subaccount=subaccount_written(request, query.integer("subaccount")),
            exchange_index=query.integer("exchange_index") or SHARD_DEFAULT,
        )

    def _done(self, group: OrderGroup | None) -> web.Response:
        self._exchange.flush()
        return not_found() if group is None else answer({})
