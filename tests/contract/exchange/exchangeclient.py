"""A plain client of the exchange that signs for itself, and a client-side book."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import websockets
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from feed.exchange.server import LocalExchange, Ready
from kalshimm.runtime.clock import ManualClock

API = "/trade-api/v2"
WS_PATH = "/trade-api/ws/v2"
ORDERS = "/portfolio/events/orders"
DEADLINE_S = 10.0


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: Any


class Signer(msgspec.Struct, frozen=True):
    """A private key and the id under which the exchange knows it."""

    key_id: str
    key: Ed25519PrivateKey | RSAPrivateKey

    def headers(self, method: str, path: str, stamp_ms: int) -> dict[str, str]:
        text = f"{stamp_ms}{method}{path}".encode()
        if isinstance(self.key, RSAPrivateKey):
            signature = self.key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        else:
            signature = self.key.sign(text)
        return {
            "KALSHI-ACCESS-KEY": self.key_id,
            "KALSHI-ACCESS-TIMESTAMP": str(stamp_ms),
            "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
        }


def read_signer(key_id: str, pem: bytes) -> Signer:
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, Ed25519PrivateKey | RSAPrivateKey)
    return Signer(key_id, key)


class Venue:
    """A running exchange with a clock the test holds, and one signing client."""

    def __init__(self, exchange: LocalExchange, clock: ManualClock, ready: Ready, http: aiohttp.ClientSession) -> None:
        self.exchange, self.clock, self.ready = exchange, clock, ready
        self._http = http
        self._signer = read_signer(ready.key_id, Path(ready.private_key_path).read_bytes())

    def signer(self, file: str) -> Signer:
        """Return another of the exchange's own keys by its file."""
        folder = Path(self.ready.private_key_path).parent
        rows = msgspec.json.decode((folder / "keys.json").read_bytes())
        (key_id,) = [row["key_id"] for row in rows if row["file"] == file]
        return read_signer(key_id, (folder / file).read_bytes())

    def headers(self, method: str, path: str, *, offset_ms: int = 0, signer: Signer | None = None) -> dict[str, str]:
        return (signer or self._signer).headers(method, path, self.clock.wall_us() // 1_000 + offset_ms)

    async def call_as(self, signer: Signer, method: str, path: str, **options: Any) -> Reply:
        """Call a path below /trade-api/v2, signed with another key."""
        headers = self.headers(method, API + path.partition("?")[0], signer=signer)
        return await self.call(method, path, headers=headers, **options)

    async def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> Reply:
        """Call a path below /trade-api/v2, signed unless `headers` say otherwise."""
        sent = self.headers(method, API + path.partition("?")[0]) if headers is None else headers
        async with self._http.request(method, self.ready.rest + path, headers=sent, **options) as response:
            raw = await response.read()
            return Reply(response.status, msgspec.json.decode(raw) if raw else None)

    async def get(self, path: str) -> Any:
        """Read something public, unsigned; it must be there."""
        reply = await self.call("GET", path, headers={})
        assert reply.status == 200, reply
        return reply.body

    async def control(self, method: str, path: str, **options: Any) -> Reply:
        async with self._http.request(method, self.ready.control + path, **options) as response:
            return Reply(response.status, msgspec.json.decode(await response.read()))

    async def order(self, side: str, price: str, count: str = "10.00", **changes: Any) -> Reply:
        return await self.call("POST", ORDERS, json=an_order(side, price, count, **changes))

    async def outsider(self, side: str, price: str, count: str = "10.00", **changes: Any) -> Reply:
        return await self.control("POST", "/orders", json=an_order(side, price, count, **changes))

    @contextlib.asynccontextmanager
    async def socket(self, signer: Signer | None = None) -> AsyncIterator[Socket]:
        headers = self.headers("GET", WS_PATH, signer=signer)
        async with websockets.connect(self.ready.ws, additional_headers=headers, max_size=None) as connection:
            yield Socket(connection)


class Socket:
    """A WebSocket connection that speaks JSON."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.connection = connection

    async def say(self, command: dict[str, Any]) -> None:
        """Send a command, whatever it is; what a client should send the document judges in its own tests."""
        await self.connection.send(msgspec.json.encode(command).decode())

    async def subscribe(self, *channels: str, command_id: int = 1, **params: Any) -> None:
        await self.say({"id": command_id, "cmd": "subscribe", "params": {"channels": list(channels), **params}})

    async def next(self) -> dict[str, Any]:
        """Return the next frame."""
        frame: dict[str, Any] = msgspec.json.decode(await asyncio.wait_for(self.connection.recv(), DEADLINE_S))
        return frame

    async def settled(self, command_id: int) -> list[dict[str, Any]]:
        """Read everything the exchange has sent until now, by asking something and waiting for the answer."""
        await self.say({"id": command_id, "cmd": "list_subscriptions"})
        return await self.until("ok", id=command_id)

    async def until(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Read up to and with the first frame of `kind` whose top level or `msg` has `fields`."""
        read = []
        while True:
            frame = await self.next()
            read.append(frame)
            values = {**frame, **(frame["msg"] if isinstance(frame.get("msg"), dict) else {})}
            if frame["type"] == kind and fields.items() <= values.items():
                return read


def an_order(side: str, price: str, count: str, **changes: Any) -> dict[str, Any]:
    body = {
        "ticker": "KXTEST-26NOV22-A", "side": side, "price": price, "count": count,
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross",
    }  # fmt: skip
    return {k: v for k, v in (body | changes).items() if v is not None}


def levels_of(frames: list[dict[str, Any]], ticker: str) -> dict[str, dict[str, int]]:
    """Return a client's book of `ticker`: side → price → hundredths, from a snapshot and its deltas."""
    book: dict[str, dict[str, int]] = {"yes": {}, "no": {}}
    for frame in frames:
        message = frame.get("msg")
        if not isinstance(message, dict) or message.get("market_ticker") != ticker:
            continue
        if frame["type"] == "orderbook_snapshot":
            book = {s: {p: hundredths(c) for p, c in message.get(f"{s}_dollars_fp", [])} for s in ("yes", "no")}
        elif frame["type"] == "orderbook_delta":
            side, price = book[message["side"]], message["price_dollars"]
            side[price] = side.get(price, 0) + hundredths(message["delta_fp"])
            assert side[price] >= 0
            if not side[price]:
                del side[price]
    return book


def hundredths(text: str) -> int:
    return int(text.replace(".", ""))
