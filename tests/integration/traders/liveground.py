"""A local exchange in this process, with one market of the given name and a clock that leaps over every wait."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from feed.exchange.catalog import Event, Series, Terms
from feed.exchange.faults.script import AnyFault
from feed.exchange.ledger import RequestLine
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.switches import Switches
from feed.exchange.trading.accounts import Order
from feed.exchange.world import World
from feed.kalshi.environments import Environment, resolve
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.transport import Connection
from feed.kalshi.wire.orders import Placed, PlaceOrder
from kalshimm.runtime.clock import SystemClock
from markets.core.orderids import Owner
from markets.core.units import Side

TICKER = "HAND-1"
OWNER_ACCOUNT = "owner"
HOUR_US = 3_600_000_000
WITHIN_S = 5.0
HASTY = Connection(deadline_s=0.5, first_wait_s=0.05, most_wait_s=0.1)


class LeapingClock(SystemClock):
    """The machine's clock, ahead by every wait that was asked for."""

    def __init__(self) -> None:
        self.leapt_s = 0.0
        self.waits_s: list[float] = []

    def wall_us(self) -> int:
        return super().wall_us() + int(self.leapt_s * 1_000_000)

    def monotonic(self) -> float:
        return super().monotonic() + self.leapt_s

    async def sleep(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.leapt_s += seconds
        await asyncio.sleep(0)


class DatedExchange(LocalExchange):
    """Its answers are dated by its own clock, not by the machine's."""

    def application(self) -> web.Application:
        async def date(_request: web.Request, response: web.StreamResponse) -> None:
            response.headers["Date"] = email.utils.formatdate(self.now_us() // 1_000_000, usegmt=True)

        app = super().application()
        app.on_response_prepare.append(date)
        return app


class Ground:
    """The exchange, and the owner's own client."""

    def __init__(self, exchange: LocalExchange, ready: Ready, signer: Signer, rest: Rest, clock: SystemClock) -> None:
        self.exchange, self.ready, self.signer, self.rest, self.clock = exchange, ready, signer, rest, clock

    @property
    def environment(self) -> Environment:
        return resolve("local", self.ready.rest, self.ready.ws)

    async def group(self, limit_cx: int = 100_000) -> str:
        return (await self.rest.groups.create(limit_cx, exchange_index=0)).order_group_id

    async def place(
        self,
        client_order_id: str,
        group_id: str | None = None,
        *,
        yes_price_cc: int = 4_000,
        subaccount: int | None = None,
    ) -> Placed:
        order = PlaceOrder(
            ticker=TICKER, client_order_id=client_order_id, side=Side.YES, count_cx=1_000, yes_price_cc=yes_price_cc,
            exchange_index=0, order_group_id=group_id, subaccount=subaccount,
        )  # fmt: skip
        return await self.rest.orders.place(order)

    def orders(self) -> dict[str, Order]:
        """Return all orders of the ledger, by client order id."""
        account = self.exchange.world.account(OWNER_ACCOUNT)
        return {order.client_order_id: order for order in account.orders.values()}

    def resting(self) -> list[str]:
        return [name for name, order in self.orders().items() if order.status == "resting"]

    def groups(self) -> dict[str, bool]:
        """Return the account's groups, and whether each is triggered."""
        groups = self.exchange.world.entry.groups.of(self.exchange.world.account(OWNER_ACCOUNT))
        return {group.group_id: group.is_triggered for group in groups}

    def arm(self, *faults: AnyFault) -> None:
        self.exchange.faults.add(faults, now_us=self.clock.wall_us())

    def writes(self, after: int = 0) -> list[str]:
        """Return the write requests that reached the exchange, as `METHOD path`, shortened to what they do."""
        lines = self.exchange.ledger.after(after, kind="request", account=OWNER_ACCOUNT)
        requests = [line for line in lines if isinstance(line, RequestLine) and line.method != "GET"]
        return [f"{line.method} {line.path.partition('?')[0].removeprefix('/trade-api/v2')}" for line in requests]

    def last_line(self) -> int:
        lines = self.exchange.ledger.after(0)
        return lines[-1].number if lines else 0


def a_world(now_us: int, **switches: Any) -> World:
    world = World(seed=1, now_us=now_us, switches=Switches(**switches))
    world.series["HAND"] = Series("HAND", "T", "Tests", ("Unit",), "custom", ("S", "https://example.invalid/"))
    world.list_event(Event("HAND-E", "HAND", "Test?", "", "MECNET", now_us, now_us))
    terms = Terms(
        ticker=TICKER, market_id="id-of-it", event_ticker="HAND-E", title="Test?", yes_sub_title="Yes",
        no_sub_title="No", rules_primary="If so.", rules_secondary="", created_us=now_us, open_us=now_us,
        close_us=now_us + HOUR_US, expected_expiration_us=now_us + HOUR_US, latest_expiration_us=now_us + 2 * HOUR_US,
        settlement_timer_s=0, structure="linear_cent",
    )  # fmt: skip
    world.list_market(terms, judge=lambda: "yes", determine_after_us=0)
    return world


@asynccontextmanager
async def ground(
    key_dir: Path, clock: SystemClock, *, world: Callable[..., World] = a_world, **switches: Any
) -> AsyncIterator[Ground]:
    """Run an exchange for as long as the block lasts."""
    exchange = DatedExchange(world(clock.wall_us(), **switches), clock=clock, tier="prestige")
    stop = asyncio.Event()
    ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(exchange, stop, port=0, key_dir=key_dir, announce=ready.set_result))
    address = await asyncio.wait_for(ready, WITHIN_S)
    signer = Signer.from_file("local", address.key_id, Path(address.private_key_path))
    environment = resolve("local", address.rest, address.ws)
    async with Rest(environment, signer, clock, connection=HASTY) as rest:
        yield Ground(exchange, address, signer, rest, clock)
    stop.set()
    await asyncio.wait_for(server, WITHIN_S)


def an_id(epoch: int, counter: int, *, trader: int = 7, installation: int = 12) -> str:
    return Owner(installation, trader, epoch).client_order_id(counter)
