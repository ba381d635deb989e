"""Our client, with a key, before the local exchange or before a server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.world import World
from feed.kalshi.environments import resolve
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from kalshimm.runtime.clock import ManualClock

NOW_US = 1_795_337_400_000_000
WITHIN_S = 5.0


class Desk(msgspec.Struct, frozen=True):
    """A client and the exchange it talks to, on one clock that only the test moves."""

    rest: Rest
    exchange: LocalExchange
    clock: ManualClock


@pytest.fixture
def signer() -> Signer:
    return Signer("local", "a-key-id", Ed25519PrivateKey.generate())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A client of the local exchange with the brisk scenario."""
    clock, world = ManualClock(NOW_US), World(seed=5, now_us=NOW_US)
    populate(world, SCENARIOS["brisk"])
    exchange, stop = LocalExchange(world, clock=clock), asyncio.Event()
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=tmp_path / "keys", announce=ready.set_result))
    address = await asyncio.wait_for(ready, WITHIN_S)
    environment = resolve("local", address.rest, address.ws)
    key = Signer.from_file("local", address.key_id, Path(address.private_key_path))
    async with Rest(environment, key, clock) as rest:
        yield Desk(rest, exchange, clock)
    stop.set()
    await asyncio.wait_for(server, WITHIN_S)
