"""`/account` and `/api_keys`: what the account may do, and its keys.

Neither is an order write, so all of it is paid from the read budget (facts.md section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from feed.kalshi.calls import Calls, Write, segment
from feed.kalshi.endpoints.orders import nothing
from feed.kalshi.limiter import Work
from feed.kalshi.wire.account import AccountLimits, ApiKeys, EndpointCosts, KeyGenerated, KeyRegistered
from feed.kalshi.wire.bodies import read

KEYS = "/api_keys"


class Account:
    """Limits, costs and keys."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def limits(self) -> AccountLimits:
        return await self._calls.read(AccountLimits, "/account/limits")

    async def endpoint_costs(self) -> EndpointCosts:
        return await self._calls.read(EndpointCosts, "/account/endpoint_costs")

    async def keys(self) -> ApiKeys:
        """Return the keys and when their region attestation lapses (`feed.kalshi.attestation`)."""
        return await self._calls.read(ApiKeys, KEYS)

    async def register_key(
        self,
        name: str,
        public_key_pem: str,
        *,
        scopes: Sequence[str] | None = None,
        subaccount: int | None = None,
    ) -> KeyRegistered:
        """Register a public key of ours; without scopes it may do everything."""
        body = _key(name, scopes, subaccount, public_key=public_key_pem)
        call = Write(
            Work.READ, "POST", KEYS, f"register key {name}", lambda data: read(KeyRegistered, data), body=body
        )  # fmt: skip
        registered: KeyRegistered = await self._calls.write(call)
        return registered

    async def generate_key(
        self,
        name: str,
        *,
        key_type: str = "ed25519",
        scopes: Sequence[str] | None = None,
        subaccount: int | None = None,
    ) -> KeyGenerated:
        """Let the venue make a key; its private half is told this once, and shown in no message."""
        body = _key(name, scopes, subaccount, key_type=key_type)
        call = Write(
            Work.READ, "POST", f"{KEYS}/generate", f"generate key {name}", lambda data: read(KeyGenerated, data),
            body=body,
        )  # fmt: skip
        generated: KeyGenerated = await self._calls.write(call)
        return generated

    async def delete_key(self, key_id: str) -> None:
        call = Write(Work.READ, "DELETE", f"{KEYS}/{segment(key_id)}", f"delete key {key_id}", nothing)
        await self._calls.write(call)


def _key(name: str, scopes: Sequence[str] | None, subaccount: int | None, **more: Any) -> dict[str, Any]:
    optional = {"scopes": None if scopes is None else list(scopes), "subaccount": subaccount}
    return {"name": name, **more, **{key: value for key, value in optional.items() if value is not None}}
