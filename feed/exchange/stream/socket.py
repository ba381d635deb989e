"""The WebSocket endpoint: a thin adapter between aiohttp and a session.

aiohttp sends one frame a call, which is most of the work at thousands of frames a second. So the handshake, pings,
closing and everything that comes in are aiohttp's, and data goes out in pieces of many frames, written to the
transport at once and waited for as it fills.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from feed.exchange.faults import stream as faulty
from feed.exchange.faults.script import ABNORMAL
from feed.exchange.faults.stream import Line
from feed.exchange.rest.signed import KEY
from feed.exchange.stream.framing import text_frames
from feed.exchange.stream.parameters import error_text
from kalshimm.runtime.worker import set_within

if TYPE_CHECKING:
    from feed.exchange.server import LocalExchange
    from feed.exchange.stream.subscriptions import Session

logger = logging.getLogger(__name__)

PATH = "/trade-api/ws/v2"
PING_EVERY_S = 10.0
PING_PAYLOAD = b"heartbeat"
CLOSE_S = 0.5
MESSAGE_MAX = 64 * 1024 * 1024
PIECE_BYTES = 256 * 1024  # written at once; what waits beyond counts against the subscription's buffer


class Client:
    """One connection: its session, the faults on its way, and the two ends of its socket."""

    def __init__(
        self, socket: web.WebSocketResponse, session: Session, line: Line, writer: AbstractStreamWriter,
        transport: asyncio.Transport, *, number: int,
    ) -> None:  # fmt: skip
        self.socket = socket
        self.session = session
        self.line = line
        self.writer = writer
        self.transport = transport
        self.number = number
        self.has_frames = asyncio.Event()
        self.has_ponged = asyncio.Event()

    async def close(self, code: int) -> None:
        if code == ABNORMAL:
            self.transport.abort()
        else:
            await self.socket.close(code=code)


class Sockets:
    """All open WebSockets."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange
        self._clients: dict[Session, Client] = {}
        self._later: set[asyncio.TimerHandle] = set()
        self._opened = 0

    def of(self, account: str = "") -> list[Client]:
        """Return the clients of an account, or all."""
        return [client for client in self._clients.values() if account in ("", client.session.account)]

    def wake(self, sessions: set[Session]) -> None:
        """Let the writers of sessions with waiting frames run."""
        for session in sessions:
            client = self._clients.get(session)
            if client is not None:
                client.has_frames.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request[KEY]  # the door has verified it
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_MAX, compress=False, autoping=False, timeout=CLOSE_S)
        try:
            writer = await socket.prepare(request)
        except ConnectionError:
            return web.Response()  # the client has left meanwhile; it goes nowhere
        transport = request.transport
        if transport is None:
            return socket  # the client left when the handshake was through
        session = self._exchange.hub.open(key.account, key.subaccount)
        self._opened += 1
        line = Line(self._exchange.faults, key.account)
        client = Client(socket, session, line, writer, transport, number=self._opened)
        self._clients[session] = client
        told = {"account": key.account}
        logger.info("client connected", extra={"action": "connected", **told})
        works = (self._write(client), self._ping(client))
        tasks = [asyncio.create_task(_guarded(work, transport)) for work in works]
        try:
            await self._close_at_once(client)
            await self._read(client)
        finally:
            await _end(tasks)
            del self._clients[session]
            self._exchange.hub.close(session)
            logger.info("client gone", extra={"action": "disconnected", **told})
        return socket

    async def _close_at_once(self, client: Client) -> None:
        now_us, account = self._exchange.step().now_us, client.session.account
        fault = self._exchange.faults.of_connection(account=account, now_us=now_us)
        if fault is not None:
            self._exchange.faults.note(fault, at_us=now_us, account=account, what="a new connection")
            await client.close(fault.code)

    async def _read(self, client: Client) -> None:
        async for message in client.socket:
            if client.line.is_silent:
                continue
            match message.type:
                case WSMsgType.TEXT:
                    # What happened before the command must be on the wire before its answer.
                    self._exchange.step()
                    self._exchange.commander.handle(client.session, message.data)
                    self._exchange.flush()
                case WSMsgType.PING:
                    await client.socket.pong(message.data)
                case WSMsgType.PONG:
                    client.has_ponged.set()

    async def _write(self, client: Client) -> None:
        try:
            while True:
                await client.has_frames.wait()
                client.has_frames.clear()
                while frames := client.session.take(PIECE_BYTES):
                    if client.socket.closed or client.transport.is_closing():
                        return
                    self._note(client, frames)
                    if client.line.is_plain:
                        client.transport.write(text_frames(frames))
                    else:
                        await self._carry(client, frames)
                    await client.writer.drain()
        except ConnectionError:
            return  # the reader sees the same end and cleans up

    def _note(self, client: Client, frames: list[bytes]) -> None:
        log = self._exchange.frames
        if log.is_on:
            at_us = self._exchange.now_us()
            log.note(frames, connection=client.number, account=client.session.account, at_us=at_us)

    async def _carry(self, client: Client, frames: list[bytes]) -> None:
        """Send frames as the faults on their way have it."""
        session, transport = client.session, client.transport
        for step in client.line.carry(frames, now_us=self._exchange.world.now_us):
            match step:
                case faulty.Send():
                    transport.write(text_frames([step.frame]))
                case faulty.SendLater():
                    self._send_later(client, step)
                case faulty.CutAfter():
                    transport.write(text_frames([step.frame])[: step.count])
                    transport.close()
                case faulty.CloseWith():
                    await client.close(step.code)
                case faulty.SendSnapshot():
                    subscription = session.subscriptions.get(step.sid)
                    if subscription is not None:
                        self._exchange.hub.send_snapshot(subscription, step.ticker)
                case faulty.EndSubscription():
                    subscription = session.subscriptions.get(step.sid)
                    if subscription is not None:
                        session.kill(subscription, step.code, error_text(step.code))

    def _send_later(self, client: Client, step: faulty.SendLater) -> None:
        def send() -> None:
            self._later.discard(handle)
            if not (client.line.is_silent or client.transport.is_closing()):
                client.transport.write(text_frames([step.frame]))

        handle = asyncio.get_running_loop().call_later(step.delay_ms / 1_000, send)
        self._later.add(handle)

    async def _ping(self, client: Client) -> None:
        timeout_s = self._exchange.world.switches.pong_timeout_s
        try:
            while True:
                await asyncio.sleep(PING_EVERY_S)
                if client.line.is_silent or not client.line.sends_pings:
                    continue
                client.has_ponged.clear()
                await client.socket.ping(PING_PAYLOAD)
                is_late = timeout_s is not None and not await set_within(client.has_ponged, timeout_s)
                if is_late and not client.line.is_silent:  # a silent line takes no pongs in either
                    logger.warning("client leaves pings unanswered", extra={"action": "pong_missing"})
                    await client.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"pong timeout")
                    return
        except ConnectionError:
            return  # the reader sees the same end and cleans up

    async def close_all(self) -> None:
        """Say goodbye to every client, without waiting for those that do not answer."""
        for handle in self._later:
            handle.cancel()
        closing = [
            asyncio.ensure_future(client.socket.close(code=WSCloseCode.GOING_AWAY, message=b"exchange stops"))
            for client in self.of()
        ]
        if not closing:
            return
        _, unanswered = await asyncio.wait(closing, timeout=CLOSE_S)
        for close in unanswered:
            close.cancel()


async def _guarded(work: Coroutine[Any, Any, None], transport: asyncio.Transport) -> None:
    """Do one part of a connection; if it fails, end the connection: one that only reads must not live on."""
    try:
        await work
    except Exception:
        logger.exception("a connection's task failed", extra={"action": "connection_failed"})
        transport.abort()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel the tasks of a connection that is over, and wait until they are."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
