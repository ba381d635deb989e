"""REST of one's standing with the exchange: usage level, limits, costs, API keys."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from feed.exchange import keyfiles
from feed.exchange.auth import FULL_ACCESS, SCOPES, ApiKey, key_id_of, read_public_key
from feed.exchange.budgets import COSTS, DEFAULT_COST, reaches
from feed.exchange.members import UPGRADE
from feed.exchange.rest.public import BASE
from feed.exchange.rest.signed import signed
from feed.exchange.trading.accounts import Account
from feed.exchange.wire.answers import answer, nested, not_found
from feed.exchange.wire.bodies import failed, read_body

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange

OWN_KEYS_FROM = "premier"  # registering a public key of one's own needs this usage level (OpenAPI, CreateApiKey)


class NewKey(msgspec.Struct, kw_only=True):
    """What both ways to a new key have in common."""

    name: str = ""
    scopes: list[str] | None = None
    subaccount: int | None = None


class RegisteredKey(NewKey, kw_only=True):
    public_key: str = ""


class GeneratedKey(NewKey, kw_only=True):
    key_type: str = "rsa"


class AccountPages:
    """Handlers of /account and /api_keys."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        exchange, keys = self._exchange, f"{BASE}/api_keys"
        return [
            web.get(f"{BASE}/account/endpoint_costs", self.endpoint_costs),
            web.get(f"{BASE}/account/limits", signed(exchange, self.limits)),
            web.post(f"{BASE}/account/api_usage_level/upgrade", signed(exchange, self.upgrade)),
            web.get(keys, signed(exchange, self.keys)),
            web.post(keys, signed(exchange, self.register)),
            web.post(f"{keys}/generate", signed(exchange, self.generate)),
            web.delete(f"{keys}/{{api_key}}", signed(exchange, self.delete)),
        ]

    # --- usage level ----------------------------------------------------------------------------------------------

    async def endpoint_costs(self, _request: web.Request) -> web.Response:
        costs = [
            {"method": method, "path": BASE + re.sub(r"\{(\w+)\}", r":\1", path), "cost": cost}
            for (method, path), cost in COSTS.items()
        ]
        return answer({"default_cost": DEFAULT_COST, "endpoint_costs": costs})

    async def limits(self, _request: web.Request, account: Account) -> web.Response:
        return answer(self._exchange.members.of(account.name, self._exchange.now_us()).limits_body())

    async def upgrade(self, _request: web.Request, account: Account) -> web.Response:
        """Grant advanced to whoever has ordered through the API (every order here came through it)."""
        if not account.orders:
            return nested(403, "forbidden", "no API-created order among the latest 100 orders")
        members, now_us = self._exchange.members, self._exchange.now_us()
        if not reaches(members.of(account.name, now_us).budget.tier, UPGRADE):
            members.set_tier(account.name, UPGRADE, now_us)
        return web.Response(status=201)

    # --- keys -----------------------------------------------------------------------------------------------------

    async def keys(self, _request: web.Request, account: Account) -> web.Response:
        member = self._exchange.members.of(account.name, self._exchange.now_us())
        body: dict[str, Any] = {"api_keys": [_key_row(key) for key in self._exchange.keys.of(account.name)]}
        if member.region_expires_s is not None:
            body["api_key_region_expiration_ts"] = member.region_expires_s
        return answer(body)

    async def register(self, request: web.Request, account: Account) -> web.Response:
        operation = "CreateApiKey"
        wanted = read_body(await request.read(), request.content_type, RegisteredKey, operation)
        self._check(operation, wanted, account)
        if not wanted.public_key:
            raise failed(operation, "public_key", "required")
        member = self._exchange.members.of(account.name, self._exchange.now_us())
        if not reaches(member.budget.tier, OWN_KEYS_FROM):
            return nested(403, "forbidden", f"registering a public key needs the usage level {OWN_KEYS_FROM}")
        try:
            public = read_public_key(wanted.public_key.encode())
        except ValueError as exc:
            return nested(400, "invalid_parameters", f"public_key: {exc}")
        if self._exchange.keys.get(key_id_of(public)) is not None:
            return nested(409, "api_key_already_exists")
        key_id = self._add(public, wanted, account)
        return answer({"api_key_id": key_id}, status=201)

    async def generate(self, request: web.Request, account: Account) -> web.Response:
        operation = "GenerateApiKey"
        wanted = read_body(await request.read(), request.content_type, GeneratedKey, operation)
        self._check(operation, wanted, account)
        if wanted.key_type not in ("rsa", "ed25519"):
            raise failed(operation, "key_type", "oneof")
        # An RSA key takes a tenth of a second to find: the world must not stand still for it.
        private = await asyncio.to_thread(keyfiles.generate, "rsa" if wanted.key_type == "rsa" else "ed25519")
        key_id = self._add(private.public_key(), wanted, account)
        pem = keyfiles.pem_of(private).decode()
        return answer({"api_key_id": key_id, "private_key": pem, "key_type": wanted.key_type}, status=201)

    async def delete(self, request: web.Request, account: Account) -> web.Response:
        key = self._exchange.keys.get(request.match_info["api_key"])
        if key is None or key.account != account.name:
            return not_found()
        self._exchange.keys.remove(key.key_id)
        return web.Response(status=204)

    def _check(self, operation: str, wanted: NewKey, account: Account) -> None:
        """Refuse what no key can be.

        Raises:
            BadParameter: No name, an unknown scope, write without read, or a subaccount the account does not have.
        """
        if not wanted.name:
            raise failed(operation, "name", "required")
        scopes = FULL_ACCESS if wanted.scopes is None else tuple(wanted.scopes)
        if not scopes or any(scope not in SCOPES for scope in scopes):
            raise failed(operation, "scopes", "oneof")
        if "write" in scopes and "read" not in scopes:
            raise failed(operation, "scopes", "required_with")
        if wanted.subaccount is not None and wanted.subaccount not in account.subaccounts:
            raise failed(operation, "subaccount", "oneof")

    def _add(self, public: Any, wanted: NewKey, account: Account) -> str:
        scopes = FULL_ACCESS if wanted.scopes is None else tuple(wanted.scopes)
        return self._exchange.keys.register(
            public, account.name, name=wanted.name, scopes=scopes, subaccount=wanted.subaccount
        )


def _key_row(key: ApiKey) -> dict[str, Any]:
    row: dict[str, Any] = {"api_key_id": key.key_id, "name": key.name, "scopes": list(key.scopes)}
    return row if key.subaccount is None else {**row, "subaccount": key.subaccount}
