"""Our client, with a key, before the local exchange or before a server that follows a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.world import World
from feed.kalshi.environments import Environment, resolve
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from kalshimm.runtime.clock import ManualClock

NOW_US = 1_795_337_400_000_000
HOUR_US = 3_600_000_000
WITHIN_S = 5.0


class Desk(msgspec.Struct, frozen=True):
    """A client and the exchange it talks to, on one clock that only the test moves."""

    rest: Rest
    exchange: LocalExchange
    clock: ManualClock
    environment: Environment
    signer: Signer
    control_url: str

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the exchange's control port."""
        async with aiohttp.request(method, self.control_url + path, json=body) as response:
            answer = msgspec.json.decode(await response.read())
            assert response.status < 300, answer
            return answer


@pytest.fixture
def signer() -> Signer:
    return Signer("local", "a-key-id", Ed25519PrivateKey.generate())


@pytest.fixture(scope="module")
def key_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys for all exchanges of a module: an RSA key takes its time to make."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def desk(key_dir: Path) -> AsyncIterator[Desk]:
    """A client of an exchange with two empty markets."""
    world = World(seed=1, now_us=NOW_US)
    world.series["KXTEST"] = Series("KXTEST", "Test", "Tests", ("Unit",), "custom", ("Somebody", "https://a.invalid/"))
    world.list_event(Event("KXTEST-26NOV22", "KXTEST", "Test?", "", "MECNET", NOW_US, NOW_US))
    for suffix, structure in (("A", "linear_cent"), ("B", "tapered_deci_cent")):
        terms = Terms(
            ticker=f"KXTEST-26NOV22-{suffix}", market_id=f"id-of-{suffix}", event_ticker="KXTEST-26NOV22",
            title="Test?", yes_sub_title="Yes", no_sub_title="No", rules_primary="If so.", rules_secondary="",
            created_us=NOW_US, open_us=NOW_US, close_us=NOW_US + HOUR_US, expected_expiration_us=NOW_US + HOUR_US,
            latest_expiration_us=NOW_US + 2 * HOUR_US, settlement_timer_s=60, structure=structure,
        )  # fmt: skip
        world.list_market(terms, judge=lambda: "yes", determine_after_us=60_000_000)
    async for started in _started(world, key_dir):
        yield started


@pytest.fixture
async def busy_desk(key_dir: Path) -> AsyncIterator[Desk]:
    """A client of an exchange with the brisk scenario."""
    world = World(seed=5, now_us=NOW_US)
    populate(world, SCENARIOS["brisk"])
    async for started in _started(world, key_dir):
        yield started


async def _started(world: World, key_dir: Path) -> AsyncIterator[Desk]:
    clock = ManualClock(NOW_US)
    exchange, stop = LocalExchange(world, clock=clock, tier="prestige"), asyncio.Event()
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=key_dir, announce=ready.set_result))
    address = await asyncio.wait_for(ready, WITHIN_S)
    environment = resolve("local", address.rest, address.ws)
    signer = Signer.from_file("local", address.key_id, Path(address.private_key_path))
    async with Rest(environment, signer, clock) as rest:
        yield Desk(rest, exchange, clock, environment, signer, address.control)
    stop.set()
    await asyncio.wait_for(server, WITHIN_S)
