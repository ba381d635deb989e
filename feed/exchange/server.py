"""The exchange as a process: REST and WebSocket on one port, control on another, one world behind both."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from feed.exchange import keyfiles
from feed.exchange.auth import KEY_HEADER, ApiKey, Denied, KeyRing
from feed.exchange.budgets import DEFAULT_TIER
from feed.exchange.catalog import SHARDS
from feed.exchange.control import Control
from feed.exchange.faults.control import FaultControl, hand_log
from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.rest import middleware as fault_middleware
from feed.exchange.incentives.control import IncentiveControl
from feed.exchange.ledger import Ledger
from feed.exchange.ledger import middleware as ledger_middleware
from feed.exchange.life_control import LifeControl
from feed.exchange.members import Members
from feed.exchange.readmodel import ReadModel
from feed.exchange.rest.account import AccountPages
from feed.exchange.rest.archive import Archive
from feed.exchange.rest.catalogue import CatalogueReads
from feed.exchange.rest.door import Door
from feed.exchange.rest.history import HistoryReads
from feed.exchange.rest.incentives import IncentiveReads
from feed.exchange.rest.milestones import MilestoneReads
from feed.exchange.rest.money import Money
from feed.exchange.rest.order_groups import OrderGroupHandlers
from feed.exchange.rest.order_reads import OrderReads
from feed.exchange.rest.orders import OrderWrites
from feed.exchange.rest.portfolio import Portfolio
from feed.exchange.rest.public import BASE, ExchangeReads
from feed.exchange.rest.tape import TapeReads
from feed.exchange.stream.commands import Commander
from feed.exchange.stream.framelog import FrameLog
from feed.exchange.stream.hub import Hub
from feed.exchange.stream.socket import PATH, Sockets
from feed.exchange.trading.accounts import Account
from feed.exchange.wire.answers import BadBody, BadParameter, nested, not_found
from feed.exchange.world import World
from kalshimm.errors import KalshimmError, PortInUse
from kalshimm.runtime.clock import Clock, SystemClock

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
STEP_S = 0.02
STEP_MAX_S = 0.05  # how long the world may keep the loop before the sockets have their turn
ACTIONS_AT_ONCE = 200
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

    def __init__(
        self, world: World, *, clock: Clock | None = None, tier: str = DEFAULT_TIER, keep_frames: int = 0
    ) -> None:
        """Open an exchange around a world.

        Args:
            tier: Every new member's API usage level.
            keep_frames: How many of the frames sent the control port still tells.
        """
        self.world = world
        self.keys = KeyRing(window_ms=world.switches.clock_window_ms)
        self.members = Members(shards=SHARDS, tier=tier, anonymous_per_s=world.switches.anonymous_reads_per_s)
        self.hub = Hub(world)
        self.faults = FaultPlan(seed=world.seed)
        self.reads = ReadModel(world, self._fault_lag_ms)
        self.commander = Commander(world, self.hub, self.faults)
        self.frames = FrameLog(kept=keep_frames)
        self.sockets = Sockets(self)
        self.ledger = Ledger()
        self._clock = clock or SystemClock()

    def step(self) -> World:
        """Bring the world to now and publish what happened on the way.

        With more to do than time allows, the world's time falls behind instead of everybody waiting for it.
        """
        self._follow()
        return self.world

    def _follow(self) -> bool:
        """Step towards now for a bounded time; return whether it was reached."""
        now_us, until_s = self._clock.wall_us(), self._clock.monotonic() + STEP_MAX_S
        while not (done := self.world.advance(now_us, most=ACTIONS_AT_ONCE)) and self._clock.monotonic() < until_s:
            self.flush()
        self.flush()
        return done

    def flush(self) -> None:
        """Publish what has happened without moving time."""
        self.reads.capture()
        happenings = self.world.take()
        self.ledger.record(happenings, at_us=self.world.now_us)
        self.hub.publish(happenings, wall_ms=self._clock.wall_us() // 1_000)
        awake, self.hub.awake = self.hub.awake, set()
        self.sockets.wake(awake)

    def now_us(self) -> int:
        return self._clock.wall_us()

    def _fault_lag_ms(self) -> int:
        lag = self.faults.of_reads(self._clock.wall_us())
        return lag.lag_ms if lag else 0

    def as_read(self, account: Account, what: str) -> Account:
        """Return an account as reads see it; `what` names the read in the log of faults, should one be at work."""
        lag = self.faults.of_reads(self._clock.wall_us())
        if lag is not None:
            self.faults.note(lag, at_us=self._clock.wall_us(), account=account.name, what=what)
        return self.reads.of(account)

    def verify(self, request: web.Request) -> ApiKey | Denied:
        """Return the key a request is signed with, or why it is not."""
        path, now_ms = request.raw_path.partition("?")[0], self._clock.wall_us() // 1_000
        return self.keys.authenticate(request.headers, method=request.method, path=path, now_ms=now_ms)

    def _asker(self, request: web.Request) -> str:
        return self.keys.owner_of(request.headers.get(KEY_HEADER, ""))

    def application(self) -> web.Application:
        """Return the venue's side: REST and WebSocket."""
        noted = ledger_middleware(self.ledger, self._clock, self._asker)
        faulty = fault_middleware(self.faults, self._clock, base=BASE, asker=self._asker)
        # Twice: the ledger and the faults read bodies too, and a body may be too large to read.
        app = web.Application(middlewares=[_refusals, noted, faulty, _refusals, Door(self).middleware])
        pages = (
            IncentiveReads(self),
            ExchangeReads(self),
            TapeReads(self),
            CatalogueReads(self),
            MilestoneReads(self),
            HistoryReads(self),
            AccountPages(self),
            Portfolio(self),
            Money(self),
            Archive(self),
            OrderReads(self),
            OrderWrites(self),
            OrderGroupHandlers(self),
        )
        for handlers in pages:
            app.add_routes(handlers.routes())
        app.add_routes([web.get(PATH, self.sockets.handle)])
        return app

    def control_application(self) -> web.Application:
        app = web.Application(middlewares=[hand_log(self.faults, self._clock), _refusals])
        for handlers in (
            Control(self),
            LifeControl(self),
            FaultControl(self.faults, self._clock),
            IncentiveControl(self),
        ):
            app.add_routes(handlers.routes())
        return app

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the world moving until stopped."""
        while not stop.is_set():
            began_s = self._clock.monotonic()
            done = self._follow()
            # Even with work left everybody else gets a turn.
            await asyncio.sleep(max(0.0, STEP_S - (self._clock.monotonic() - began_s)) if done else 0)


@web.middleware
async def _refusals(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except (BadParameter, BadBody) as exc:
        return exc.response()
    except web.HTTPException as exc:
        # aiohttp's own refusals (a body too large, no WebSocket handshake) are texts; the venue speaks JSON.
        return not_found() if exc.status in (404, 405) else nested(exc.status, exc.reason.lower().replace(" ", "_"))
    return response


async def serve(exchange: LocalExchange, stop: asyncio.Event, *, port: int, key_dir: Path, announce: Any) -> None:
    """Serve until `stop`; `announce` is called with `Ready` once both ports answer.

    Raises:
        PortInUse: Somebody else has the port.
        HomeNotWritable: The keys cannot be kept.
    """
    opened = keyfiles.open_keys(key_dir)
    for path, key in opened:
        exchange.world.account(key.account)
        exchange.keys.register(key.public, key.account, name=path.stem, scopes=key.scopes)
    announced_path, announced_key = opened[0]
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
                key_id=announced_key.key_id,
                private_key_path=str(announced_path),
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
