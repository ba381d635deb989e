"""A WebSocket to the venue that is kept up: connect, watch, and connect again with growing pauses.

The owner hears when it opens, of all frames that one read of the socket brought, and when it is over; what to
subscribe and what to believe is the owner's. Neither frame nor ping for 15 s is an end too (B3).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from feed.kalshi import socket
from feed.kalshi.environments import Environment
from feed.kalshi.errors import VenueError
from feed.kalshi.signing import Signer
from feed.schema import CONNECTION_SILENT_MAX_S
from kalshimm.runtime.backoff import delay_s
from kalshimm.runtime.clock import Clock
from kalshimm.runtime.worker import wait_or_stop

logger = logging.getLogger(__name__)

ALERT_ATTEMPTS = 5


Receive = Callable[[list[bytes], int], None]


class Waits(msgspec.Struct, frozen=True):
    """How patient a link is, in seconds.

    reconnect_first_s, reconnect_most_s: The pause before the second attempt, doubling up to the most.
    silent_s: Neither frame nor ping for so long ends a connection.
    steady_s: A connection that lasted this long was a good one: the next attempt comes soon.
    """

    reconnect_first_s: float = 0.5
    reconnect_most_s: float = 30.0
    silent_s: float = CONNECTION_SILENT_MAX_S
    steady_s: float = 10.0

    def scaled(self, percent: int) -> Waits:
        """Return the same waits cut to `percent` of their length."""
        part = percent / 100
        return Waits(*(seconds * part for seconds in msgspec.structs.astuple(self)))


class Owner(Protocol):
    """Whoever uses the link; called inside the event loop."""

    def link_opened(self) -> Receive:
        """Return what takes the frames of each turn, that is of each read, with the wall time (µs) at which it came."""
        ...

    def link_closed(self, reason: str) -> None:
        """The link is down, or did not come up."""
        ...


class Link:
    """One connection at a time.

    Args:
        what: What is lost with it, for the log: `private channels of local`.
        alert: Code of the alert after ALERT_ATTEMPTS failures, once an outage: one may last for hours.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        what: str,
        alert: str,
        environment: Environment,
        signer: Signer | None,
        clock: Clock,
        adapter: str,
        waits: Waits | None = None,
    ) -> None:
        self._waits = waits or Waits()
        self._owner, self._what, self._alert = owner, what, alert
        self._environment, self._signer, self._clock, self._adapter = environment, signer, clock, adapter
        self._connection: socket.Connection | None = None
        self._opened_at: float | None = None
        self._heard_at = clock.monotonic()
        self._receive: Receive = _drop
        self._turn: list[bytes] = []
        self._turn_us = 0
        self._broken: asyncio.Future[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def silent_s(self) -> float:
        """How long neither frame nor ping has come."""
        return self._clock.monotonic() - self._heard_at

    def send(self, frames: list[bytes]) -> None:
        """Queue text frames; without a connection they are nobody's, as they would be on a broken one."""
        if self._connection is not None:
            for frame in frames:
                self._connection.send(frame)

    async def hang_up(self) -> None:
        """End the present connection; another follows."""
        if self._connection is not None:
            await self._connection.close()

    async def run(self, stop: asyncio.Event) -> None:
        attempt = 0
        while not stop.is_set():
            self._opened_at = None
            reason = await self._one_connection(stop)
            self.on_turn()
            if self._broken is not None and self._broken.done():
                self._broken.result()  # raises what a turn ended with
            self._connection, self._receive = None, _drop
            self._owner.link_closed(reason)
            if stop.is_set():
                return
            lasted_s = 0.0 if self._opened_at is None else self._clock.monotonic() - self._opened_at
            attempt = 1 if lasted_s >= self._waits.steady_s else attempt + 1
            first_s, most_s = self._waits.reconnect_first_s, self._waits.reconnect_most_s
            wait = delay_s(attempt, first_s=first_s, most_s=most_s, jitter=random.random())
            fields = {"action": "link_lost"} | ({"alert": self._alert} if attempt == ALERT_ATTEMPTS else {})
            message = "no %s: %s Attempt %d follows in %.2f s."
            logger.warning(message, self._what, reason, attempt, wait, extra=fields)
            await wait_or_stop(stop, wait)

    # ---- socket.Handler ----------------------------------------------------------------------------------------------

    def on_frame(self, data: bytes) -> None:
        if not self._turn:  # look at the clocks once for all frames of a turn
            self._heard_at, self._turn_us = self._clock.monotonic(), self._clock.wall_us()
        self._turn.append(data)

    def on_ping(self) -> None:
        self._heard_at = self._clock.monotonic()

    def on_turn(self) -> None:
        turn, self._turn = self._turn, []
        if not turn:
            return
        try:
            self._receive(turn, self._turn_us)
        except Exception as exc:
            # The adapter would at most hang up, with whatever the turn had brought half taken in.
            if self._broken is None or self._broken.done():
                raise
            self._broken.set_exception(exc)

    # ---- one connection ----------------------------------------------------------------------------------------------

    async def _one_connection(self, stop: asyncio.Event) -> str:
        """Connect and stay until the connection ends or `stop`; return why it ended."""
        self._broken = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._connect(), name="connect")
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                return "stopped."
            await connecting
            return await self._until_closed(stopping)
        except VenueError as exc:
            return str(exc)
        finally:
            connecting.cancel()
            stopping.cancel()

    async def _connect(self) -> None:
        headers: dict[str, str] = {}
        if self._signer is not None:
            wall_ms = self._clock.wall_us() // 1_000
            headers = self._signer.headers("GET", self._environment.ws_url, wall_ms=wall_ms)
        self._connection = await socket.connect(self._adapter, self._environment.ws_url, headers, self)
        self._opened_at = self._heard_at = self._clock.monotonic()
        logger.info("connected to %s", self._environment.ws_url, extra={"action": "link_connected"})
        self.on_turn()  # what came before our first command belongs to no subscription
        self._receive = self._owner.link_opened()

    async def _until_closed(self, stopping: asyncio.Task[bool]) -> str:
        """Wait for the end of the connection, the stop, or its silence; return why it ended."""
        assert self._connection is not None
        assert self._broken is not None
        closed = asyncio.create_task(self._connection.wait_closed(), name="closed")
        ends: set[asyncio.Future[Any]] = {closed, stopping, self._broken}
        try:
            while not closed.done() and not stopping.done() and not self._broken.done():
                left_s = self._waits.silent_s - self.silent_s
                if left_s <= 0:
                    await self._connection.close()
                    return f"silent for {self.silent_s:.0f} s, neither frame nor ping."
                await asyncio.wait(ends, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await self._connection.close()
                return "stopped."
            if self._broken.done():
                await self._connection.close()
                return "a turn failed."
            return closed.result()
        finally:
            closed.cancel()


def _drop(turn: list[bytes], received_us: int) -> None:
    """What comes while no connection is open to its owner is nobody's."""
