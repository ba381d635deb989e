"""The exchange as a process: REST and WebSocket on one port, control on another, one world behind both."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from feed.exchange import auth
from feed.exchange.auth import KEY_HEADER, Denied, KeyRing
from feed.exchange.control import OWNER, Control
from feed.exchange.faults.control import FaultControl
from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.rest import middleware as fault_middleware
from feed.exchange.incentives.control import IncentiveControl
from feed.exchange.ledger import Ledger
from feed.exchange.ledger import middleware as ledger_middleware
from feed.exchange.rest.incentives import IncentiveReads
from feed.exchange.rest.order_reads import OrderReads
from feed.exchange.rest.orders import OrderWrites
from feed.exchange.rest.portfolio import Portfolio
from feed.exchange.rest.public import BASE, PublicReads
from feed.exchange.stream.commands import Commander
from feed.exchange.stream.socket import PATH, Sockets
from feed.exchange.stream.subscriptions import Hub
from feed.exchange.trading.accounts import Account
from feed.exchange.wire.answers import BadBody, BadParameter, not_found
from feed.exchange.world import World
from kalshimm.errors import KalshimmError, PortInUse
from kalshimm.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
STEP_S = 0.02
SHUTDOWN_S = 0.5


class Ready(msgspec.Struct, frozen=True):
    """What a client needs, printed as one line once both ports answer."""

    rest: str
    ws: str
    control: str
    key_id: str
    private_key_path: str


class LocalExchange:
    """One world, its clock and everybody connected to it."""

    def __init__(self, world: World, *, clock: Clock | None = None) -> None:
        self.world = world
        self.keys = KeyRing()
        self.hub = Hub(world)
        self.commander = Commander(world, self.hub)
        self.sockets = Sockets(self)
        self.faults = FaultPlan(seed=world.seed)
        self.ledger = Ledger()
        self._clock = clock or SystemClock()

    def step(self) -> World:
        """Bring the world to now and publish what happened on the way."""
        self.world.advance(self._clock.wall_us())
        self.flush()
        return self.world

    def flush(self) -> None:
        """Publish what has happened without moving time."""
        happenings = self.world.take()
        self.ledger.record(happenings, at_us=self.world.now_us)
        self.hub.publish(happenings, wall_ms=self._clock.wall_us() // 1_000)
        awake, self.hub.awake = self.hub.awake, set()
        self.sockets.wake(awake)

    def authenticate(self, request: web.Request) -> Account | Denied:
        who = self.keys.authenticate(
            request.headers, method=request.method, path=request.rel_url.raw_path, now_ms=self._clock.wall_us() // 1_000
        )
        return who if isinstance(who, Denied) else self.world.account(who)

    def _asker(self, request: web.Request) -> str:
        return self.keys.owner_of(request.headers.get(KEY_HEADER, ""))

    def application(self) -> web.Application:
        """Return the venue's side: REST and WebSocket."""
        noted = ledger_middleware(self.ledger, self._clock, self._asker)
        faulty = fault_middleware(self.faults, self._clock, base=BASE, asker=self._asker)
        app = web.Application(middlewares=[noted, faulty, _refusals])
        for handlers in (IncentiveReads(self), PublicReads(self), Portfolio(self), OrderReads(self), OrderWrites(self)):
            app.add_routes(handlers.routes())
        app.add_routes([web.get(PATH, self.sockets.handle)])
        return app

    def control_application(self) -> web.Application:
        app = web.Application(middlewares=[_refusals])
        for handlers in (Control(self), FaultControl(self.faults, self._clock), IncentiveControl(self)):
            app.add_routes(handlers.routes())
        return app

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the world moving until stopped."""
        while not stop.is_set():
            self.step()
            await asyncio.sleep(STEP_S)


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except (BadParameter, BadBody) as exc:
        return exc.response()
    except web.HTTPException as exc:
        if exc.status in (404, 405):
            return not_found()
        raise
    return response


async def serve(exchange: LocalExchange, stop: asyncio.Event, *, port: int, key_dir: Path, announce: Any) -> None:
    """Serve until `stop`; `announce` is called with `Ready` once both ports answer.

    Raises:
        PortInUse: Somebody else has the port.
        HomeNotWritable: The keys cannot be kept.
    """
    key, path = auth.own_key(key_dir)
    exchange.world.account(OWNER)
    key_id = exchange.keys.register(key, OWNER)
    runners = [
        web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        for app in (exchange.application(), exchange.control_application())
    ]
    try:
        venue, control = [await _listen(r, p) for r, p in zip(runners, (port, 0), strict=True)]
        exchange.step()
        announce(
            Ready(
                rest=f"http://{HOST}:{venue}{BASE}",
                ws=f"ws://{HOST}:{venue}{PATH}",
                control=f"http://{HOST}:{control}",
                key_id=key_id,
                private_key_path=str(path),
            )
        )
        logger.info("exchange serves", extra={"action": "serving", "port": venue, "control_port": control})
        await exchange.run(stop)
    finally:
        await exchange.sockets.close_all()
        await asyncio.gather(*(runner.cleanup() for runner in runners))


async def _listen(runner: web.AppRunner, port: int) -> int:
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise PortInUse(port) from exc
        raise KalshimmError(
            f"The exchange cannot listen on {HOST}:{port} ({exc.strerror}); choose another --port."
        ) from exc
    address = runner.addresses[0]
    return int(address[1])
