"""A running exchange for each test: real sockets, a clock that only the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from exchangeclient import Venue

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.flow.scenarios import SCENARIOS, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.switches import Switches
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


def a_world(series: str, event: str, structures: dict[str, str], **switches: Any) -> World:
    """Return a world of one event; `structures` names its markets' price structures by ticker."""
    world = World(seed=1, now_us=NOW_US, switches=Switches(**switches))
    world.series[series] = Series(
        series, "Test", "Tests", ("Unit",), "custom", ("Somebody", "https://example.invalid/")
    )
    world.list_event(Event(event, series, "Test?", "", "MECNET", NOW_US, NOW_US))
    for ticker, structure in structures.items():
        terms = Terms(
            ticker=ticker, market_id=f"id-of-{ticker.rpartition('-')[2]}", event_ticker=event,
            title="Test?", yes_sub_title="Yes", no_sub_title="No", rules_primary="If so.", rules_secondary="",
            created_us=NOW_US, open_us=NOW_US, close_us=NOW_US + HOUR_US, expected_expiration_us=NOW_US + HOUR_US,
            latest_expiration_us=NOW_US + 2 * HOUR_US, settlement_timer_s=60, structure=structure,
        )  # fmt: skip
        world.list_market(terms, judge=lambda: "yes", determine_after_us=60_000_000)
    return world


TWO_MARKETS = {"KXTEST-26NOV22-A": "linear_cent", "KXTEST-26NOV22-B": "tapered_deci_cent"}


@pytest.fixture
async def venue(key_dir: Path) -> AsyncIterator[Venue]:
    """An exchange with one event of two empty markets."""
    world = a_world("KXTEST", "KXTEST-26NOV22", TWO_MARKETS)
    async for started in running(world, ManualClock(NOW_US), key_dir):
        yield started


@pytest.fixture
def switched(key_dir: Path) -> Callable[..., AbstractAsyncContextManager[Venue]]:
    """The same exchange with switches: `async with switched(netting=False) as venue`."""

    @asynccontextmanager
    async def start(**switches: Any) -> AsyncIterator[Venue]:
        world = a_world("KXTEST", "KXTEST-26NOV22", TWO_MARKETS, **switches)
        async for started in running(world, ManualClock(NOW_US), key_dir):
            yield started

    return start


@pytest.fixture
async def recorded_venue(key_dir: Path) -> AsyncIterator[Venue]:
    """An exchange with the market of the demo recording, and an offer in it at the recorded price."""
    event = "KXWTACHALLENGERMATCH-26JUN11JIMLEP"
    world = a_world("KXWTACHALLENGERMATCH", event, {f"{event}-LEP": "linear_cent"})
    async for started in running(world, ManualClock(NOW_US), key_dir):
        offered = await started.outsider("ask", "0.5200", "1.00", ticker=f"{event}-LEP")
        assert offered.status == 201
        yield started


@pytest.fixture
async def busy_venue(key_dir: Path) -> AsyncIterator[Venue]:
    """An exchange with the brisk scenario."""
    world = World(seed=5, now_us=NOW_US)
    populate(world, SCENARIOS["brisk"])
    async for started in running(world, ManualClock(NOW_US), key_dir):
        yield started
