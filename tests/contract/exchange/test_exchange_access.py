"""Who may do what, and who can pay: keys, scopes, subaccounts, token buckets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchangeclient import API, ORDERS, WS_PATH, Reply, Signer, Venue, an_order, read_signer

BALANCE, FILLS = "/portfolio/balance", "/portfolio/fills"
TOO_MANY = {"error": "too many requests"}


async def a_key(venue: Venue, **terms: Any) -> Signer:
    reply = await venue.call("POST", "/api_keys/generate", json={"name": "made", "key_type": "ed25519", **terms})
    assert reply.status == 201, reply
    return read_signer(reply.body["api_key_id"], reply.body["private_key"].encode())


async def set_tier(venue: Venue, tier: str) -> None:
    assert (await venue.control("PUT", "/accounts/owner/standing", json={"tier": tier})).status == 200


def public_pem(key: Ed25519PrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def assert_forbidden(reply: Reply, words: str) -> None:
    assert (reply.status, reply.body["error"]["code"]) == (403, "forbidden")
    assert words in reply.body["error"]["details"]


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_each_of_the_own_key_files_signs_for_its_account(venue: Venue) -> None:
    await venue.order("bid", "0.4000")
    for file, count in (("ed25519.pem", 1), ("rsa.pem", 1), ("read.pem", 1), ("second.pem", 0)):
        reply = await venue.call_as(venue.signer(file), "GET", "/portfolio/orders")
        assert (reply.status, len(reply.body["orders"])) == (200, count)


@pytest.mark.parametrize("key_type", ["rsa", "ed25519", None])
async def test_a_generated_key_signs_until_it_is_deleted(venue: Venue, key_type: str | None) -> None:
    wanted = {"name": "fresh"} | ({"key_type": key_type} if key_type else {})
    made = (await venue.call("POST", "/api_keys/generate", json=wanted)).body
    assert made["key_type"] == (key_type or "rsa")
    begin = "-----BEGIN PRIVATE KEY-----" if key_type == "ed25519" else "-----BEGIN RSA PRIVATE KEY-----"
    assert made["private_key"].startswith(begin)
    signer = read_signer(made["api_key_id"], made["private_key"].encode())
    assert (await venue.call_as(signer, "GET", BALANCE)).status == 200
    assert (await venue.call("DELETE", f"/api_keys/{signer.key_id}")).status == 204
    gone = await venue.call_as(signer, "GET", BALANCE)
    assert (gone.status, gone.body["error"]["details"]) == (401, "NOT_FOUND")
    assert (await venue.call("DELETE", f"/api_keys/{signer.key_id}")).status == 404


async def test_a_public_key_is_registered_once_and_from_premier_on(venue: Venue) -> None:
    key = Ed25519PrivateKey.generate()
    wanted = {"name": "mine", "public_key": public_pem(key), "scopes": ["read"]}
    await set_tier(venue, "paragon")
    made = await venue.call("POST", "/api_keys", json=wanted)
    assert made.status == 201
    reply = await venue.call_as(Signer(made.body["api_key_id"], key), "GET", BALANCE)
    assert reply.status == 200
    assert (await venue.call("POST", "/api_keys", json=wanted)).status == 409
    await set_tier(venue, "expert")
    other = wanted | {"public_key": public_pem(Ed25519PrivateKey.generate())}
    assert_forbidden(await venue.call("POST", "/api_keys", json=other), "premier")


async def test_the_list_of_keys_tells_scopes_subaccount_and_the_region_attestation(venue: Venue) -> None:
    await a_key(venue, name="narrow", scopes=["write::trade"], subaccount=0)
    body = (await venue.call("GET", "/api_keys")).body
    assert "api_key_region_expiration_ts" not in body
    rows = {row["name"]: row for row in body["api_keys"]}
    assert (rows["narrow"]["scopes"], rows["narrow"]["subaccount"]) == (["write::trade"], 0)
    assert rows["read"]["scopes"] == ["read"]
    assert "second" not in rows
    await venue.control("PUT", "/accounts/owner/standing", json={"region_expires_s": 1_795_000_000})
    body = (await venue.call("GET", "/api_keys")).body
    assert body["api_key_region_expiration_ts"] == 1_795_000_000


@pytest.mark.parametrize(
    ("path", "body", "status", "form"),
    [
        ("/api_keys/generate", {}, 400, "msg"),
        ("/api_keys/generate", {"name": "x", "scopes": ["sing"]}, 400, "msg"),
        ("/api_keys/generate", {"name": "x", "scopes": []}, 400, "msg"),
        ("/api_keys/generate", {"name": "x", "scopes": ["write"]}, 400, "msg"),
        ("/api_keys/generate", {"name": "x", "subaccount": 64}, 400, "msg"),
        ("/api_keys/generate", {"name": "x", "key_type": "dsa"}, 400, "msg"),
        ("/api_keys/generate", {"name": 7}, 400, "code"),
        ("/api_keys/generate", [], 400, "code"),
        ("/api_keys", {"name": "x"}, 400, "msg"),
        ("/api_keys", {"name": "x", "public_key": "nonsense"}, 400, "error"),
    ],
)
async def test_a_key_nobody_can_have_is_refused(venue: Venue, path: str, body: Any, status: int, form: str) -> None:
    reply = await venue.call("POST", path, json=body)
    assert (reply.status, form in reply.body) == (status, True)


# --- scopes and subaccounts -------------------------------------------------------------------------------------------


async def test_a_key_that_may_only_read_does_not_write(venue: Venue) -> None:
    reader = venue.signer("read.pem")
    assert (await venue.call_as(reader, "GET", FILLS)).status == 200
    refused = await venue.call_as(reader, "POST", ORDERS, json=an_order("bid", "0.4000", "1.00"))
    assert_forbidden(refused, "write")
    assert_forbidden(await venue.call_as(reader, "POST", "/api_keys/generate", json={"name": "x"}), "write")


async def test_child_scopes_open_their_own_endpoints_alone(venue: Venue) -> None:
    trader = await a_key(venue, scopes=["write::trade"])
    assert (await venue.call_as(trader, "POST", ORDERS, json=an_order("bid", "0.4000", "1.00"))).status == 201
    assert_forbidden(await venue.call_as(trader, "GET", BALANCE), "read")
    accountant = await a_key(venue, scopes=["read::portfolio_balance"])
    assert (await venue.call_as(accountant, "GET", BALANCE)).status == 200
    assert_forbidden(await venue.call_as(accountant, "GET", FILLS), "read")
    assert_forbidden(await venue.call_as(accountant, "DELETE", ORDERS), "write")


async def test_a_pinned_key_reaches_no_other_subaccount_and_manages_nothing(venue: Venue) -> None:
    pinned = await a_key(venue, subaccount=0)
    order = an_order("bid", "0.4000", "1.00")
    assert (await venue.call_as(pinned, "POST", ORDERS, json=order)).status == 201
    assert (await venue.call_as(pinned, "GET", "/portfolio/orders?subaccount=0")).status == 200
    words = "restricted to a single sub-account"
    assert_forbidden(await venue.call_as(pinned, "GET", "/portfolio/orders?subaccount=1"), words)
    assert_forbidden(await venue.call_as(pinned, "POST", ORDERS, json=order | {"subaccount": 1}), words)
    assert_forbidden(await venue.call_as(pinned, "GET", "/api_keys"), words)


async def test_a_public_read_with_a_wrong_signature_is_refused_and_without_one_served(venue: Venue) -> None:
    wrong = venue.headers("GET", API + BALANCE)
    assert (await venue.call("GET", "/markets", headers=wrong)).status == 401
    assert (await venue.call("GET", "/markets", headers={})).status == 200


async def test_a_pinned_key_means_its_subaccount_when_it_names_none(venue: Venue) -> None:
    number = (await venue.call("POST", "/portfolio/subaccounts", json={})).body["subaccount_number"]
    pinned = await a_key(venue, subaccount=number)
    assert (await venue.call_as(pinned, "GET", BALANCE)).body["balance"] == 0
    assert (await venue.order("bid", "0.4000", "1.00")).status == 201
    assert (await venue.call_as(pinned, "GET", "/portfolio/orders")).body["orders"] == []
    poor = await venue.call_as(pinned, "POST", ORDERS, json=an_order("bid", "0.4000", "1.00"))
    assert (poor.status, poor.body["error"]["code"]) == (400, "insufficient_balance")


async def test_a_pinned_key_hears_of_its_subaccount_alone(venue: Venue) -> None:
    number = (await venue.call("POST", "/portfolio/subaccounts", json={})).body["subaccount_number"]
    pinned = await a_key(venue, subaccount=number)
    async with venue.socket(pinned) as socket, venue.socket() as unpinned:
        for connection in (socket, unpinned):
            await connection.subscribe("user_orders")
            await connection.settled(2)
        assert (await venue.order("bid", "0.4000", "1.00")).status == 201
        assert [frame["type"] for frame in await unpinned.settled(3)] == ["user_order", "ok"]
        assert [frame["type"] for frame in await socket.settled(3)] == ["ok"]


@pytest.mark.parametrize(("category", "status"), [("Sports", 403), ("Tests", 201)])
async def test_a_lapsed_location_attestation_bars_some_categories_alone(
    venue: Venue, category: str, status: int
) -> None:
    world = venue.exchange.world
    world.series["KXTEST"] = msgspec.structs.replace(world.series["KXTEST"], category=category)
    now_s = venue.clock.wall_us() // 1_000_000
    await venue.control("PUT", "/accounts/owner/standing", json={"region_expires_s": now_s + 1})
    assert (await venue.order("bid", "0.0100", "1.00")).status == 201
    venue.clock.advance_us(1_000_000)
    assert (await venue.order("bid", "0.0100", "1.00")).status == status
    batch = {"orders": [an_order("bid", "0.0100", "1.00")]}
    assert (await venue.call("POST", f"{ORDERS}/batched", json=batch)).status == status
    assert (await venue.call("DELETE", ORDERS)).status == 204  # what rests can always be pulled


# --- token buckets ----------------------------------------------------------------------------------------------------


async def test_limits_tell_tier_rates_capacities_and_grants(venue: Venue) -> None:
    await set_tier(venue, "advanced")
    assert (await venue.call("GET", "/account/limits")).body == {
        "usage_tier": "advanced",
        "read": {"refill_rate": 300, "bucket_capacity": 900},
        "write": {"refill_rate": 300, "bucket_capacity": 900},
        "grants": [{"exchange_instance": "event_contract", "level": "advanced", "source": "manual"}],
    }
    await set_tier(venue, "basic")
    basic = (await venue.call("GET", "/account/limits")).body
    assert (basic["usage_tier"], basic["write"]["bucket_capacity"], basic["grants"]) == ("basic", 100, [])


async def test_costs_are_served_as_recorded(venue: Venue, recorded: Path) -> None:
    served = await venue.get("/account/endpoint_costs")
    file = recorded / "rest/fortuna_demo_2026-06/account__endpoint_costs.json"
    before = json.loads(file.read_bytes())
    assert served["default_cost"] == before["default_cost"]
    rows = {(row["method"], row["path"]): row["cost"] for row in served["endpoint_costs"]}
    known = {(row["method"], row["path"]): row["cost"] for row in before["endpoint_costs"]}
    assert {key: known[key] for key in rows.keys() & known.keys()} == {
        key: rows[key] for key in rows.keys() & known.keys()
    }
    # Younger than the recording: cancel-all, which costs one cancel since 2026-09-03.
    assert rows.keys() - known.keys() == {("DELETE", API + ORDERS)}


async def test_an_empty_bucket_is_a_bare_429_without_headers_until_time_passes(venue: Venue) -> None:
    await set_tier(venue, "basic")
    for _ in range(60):
        assert (await venue.call("GET", BALANCE)).status == 200
    async with aiohttp.ClientSession() as http:
        headers = venue.headers("GET", API + BALANCE)
        async with http.get(venue.ready.rest + BALANCE, headers=headers) as response:
            assert (response.status, await response.json()) == (429, TOO_MANY)
            assert not [name for name in response.headers if "retry" in name.lower() or "limit" in name.lower()]
    assert (await venue.call("GET", "/markets")).status == 429  # signed, so it is counted
    assert (await venue.call("GET", "/markets", headers={})).status == 200
    assert (await venue.call_as(venue.signer("rsa.pem"), "GET", BALANCE)).status == 429  # the account's, not the key's
    assert (await venue.order("bid", "0.4000")).status == 201  # writes have a bucket of their own
    venue.clock.advance_us(50_000)
    assert (await venue.call("GET", BALANCE)).status == 200
    assert (await venue.call("GET", BALANCE)).status == 429


async def test_a_write_is_billed_where_it_goes(venue: Venue) -> None:
    await set_tier(venue, "basic")
    for number in range(9):
        created = await venue.order("bid", "0.0100", "1.00", exchange_index=0, client_order_id=str(number))
        assert created.status == 201
    # 10 tokens are left on the unscoped bucket, 100 on each shard's own.
    assert (await venue.order("bid", "0.0100", "1.00", exchange_index=2)).status == 404
    assert (await venue.order("bid", "0.0100", "1.00")).status == 201  # found by ticker: billed to all
    assert (await venue.order("bid", "0.0100", "1.00")).body == TOO_MANY
    for _ in range(8):
        assert (await venue.order("bid", "0.0100", "1.00", exchange_index=2)).status == 404
    assert (await venue.order("bid", "0.0100", "1.00", exchange_index=2)).status == 429
    assert (await venue.order("bid", "0.0100", "1.00", exchange_index=3)).status == 404


async def test_advanced_is_granted_to_whoever_has_ordered_through_the_api(venue: Venue) -> None:
    await set_tier(venue, "basic")
    assert (await venue.call("POST", "/account/api_usage_level/upgrade")).status == 403
    await venue.order("bid", "0.0100", "1.00")
    assert (await venue.call("POST", "/account/api_usage_level/upgrade")).status == 201
    assert (await venue.call("GET", "/account/limits")).body["usage_tier"] == "advanced"


# --- the stream -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"KALSHI-ACCESS-KEY": "00000000-0000-0000-0000-000000000000"}, "NOT_FOUND"),
        ({"KALSHI-ACCESS-SIGNATURE": "AAAA"}, "INCORRECT_API_KEY_SIGNATURE"),
    ],
)
async def test_a_handshake_is_refused_with_the_bodies_of_rest(
    venue: Venue, changes: dict[str, str], details: str
) -> None:
    headers = venue.headers("GET", WS_PATH) | changes | {"Connection": "Upgrade", "Upgrade": "websocket"}
    async with aiohttp.ClientSession() as http, http.get(venue.ready.ws.replace("ws:", "http:"), headers=headers) as r:
        assert (r.status, (await r.json())["error"]["details"]) == (401, details)


async def test_a_stale_handshake_is_refused_and_one_without_the_scope_forbidden(venue: Venue) -> None:
    address = venue.ready.ws.replace("ws:", "http:")
    trader = await a_key(venue, scopes=["write::trade"])
    async with aiohttp.ClientSession() as http:
        async with http.get(address, headers=venue.headers("GET", WS_PATH, offset_ms=-30_000)) as stale:
            assert (stale.status, (await stale.json())["error"]["code"]) == (401, "header_timestamp_expired")
        async with http.get(address, headers=venue.headers("GET", WS_PATH, signer=trader)) as narrow:
            assert (narrow.status, (await narrow.json())["error"]["code"]) == (403, "forbidden")
        async with http.get(address, headers=venue.headers("GET", WS_PATH)) as no_handshake:
            assert (no_handshake.status, (await no_handshake.json())["error"]["code"]) == (400, "bad_request")
