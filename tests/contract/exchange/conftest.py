"""A running exchange for each test: real sockets, a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from exchangeclient import Venue

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.world import World
from kalshimm.runtime.clock import ManualClock

NOW_US = 1_795_337_400_000_000
HOUR_US = 3_600_000_000
STOP_WITHIN_S = 5.0


async def running(world: World, clock: ManualClock, key_dir: Path) -> AsyncIterator[Venue]:
    # A clock that stands still refills no bucket: the widest ones, unless a test is about them.
    exchange, stop = LocalExchange(world, clock=clock, tier="prestige"), asyncio.Event()
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=key_dir, announce=ready.set_result))
    address = await asyncio.wait_for(ready, STOP_WITHIN_S)
    async with aiohttp.ClientSession() as http:
        yield Venue(exchange, clock, address, http)
    stop.set()
    await asyncio.wait_for(server, STOP_WITHIN_S)


@pytest.fixture(scope="session")
def key_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys for all exchanges of a session: an RSA key takes its time to make."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def venue(key_dir: Path) -> AsyncIterator[Venue]:
    """An exchange with one event of two empty markets."""
    world = World(seed=1, now_us=NOW_US)
    world.series["KXTEST"] = Series(
        "KXTEST", "Test", "Tests", ("Unit",), "custom", ("Somebody", "https://example.invalid/")
    )
    world.list_event(Event("KXTEST-26NOV22", "KXTEST", "Test?", "", "MECNET", NOW_US, NOW_US))
    for suffix, structure in (("A", "linear_cent"), ("B", "tapered_deci_cent")):
        terms = Terms(
            ticker=f"KXTEST-26NOV22-{suffix}", market_id=f"id-of-{suffix}", event_ticker="KXTEST-26NOV22",
            title="Test?", yes_sub_title="Yes", no_sub_title="No", rules_primary="If so.", rules_secondary="",
            created_us=NOW_US, open_us=NOW_US, close_us=NOW_US + HOUR_US, expected_expiration_us=NOW_US + HOUR_US,
            latest_expiration_us=NOW_US + 2 * HOUR_US, settlement_timer_s=60, structure=structure,
        )  # fmt: skip
        world.list_market(terms, judge=lambda: "yes", determine_after_us=60_000_000)
    async for started in running(world, ManualClock(NOW_US), key_dir):
        yield started


@pytest.fixture
async def busy_venue(key_dir: Path) -> AsyncIterator[Venue]:
    """An exchange with the brisk scenario."""
    world = World(seed=5, now_us=NOW_US)
    populate(world, SCENARIOS["brisk"])
    async for started in running(world, ManualClock(NOW_US), key_dir):
        yield started
