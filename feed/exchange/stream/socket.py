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

import msgspec
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


class Way(msgspec.Struct):
    """How data leaves for one client: the faults on it, and the two ends of its socket."""

    line: Line
    writer: AbstractStreamWriter
    transport: asyncio.Transport


class Sockets:
    """All open WebSockets."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange
        self._ready: dict[Session, asyncio.Event] = {}
        self._open: set[web.WebSocketResponse] = set()
        self._later: set[asyncio.TimerHandle] = set()

    def wake(self, sessions: set[Session]) -> None:
        """Let the writers of sessions with waiting frames run."""
        for session in sessions:
            event = self._ready.get(session)
            if event is not None:
                event.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        key = request[KEY]  # the door has verified it
        account = key.account
        socket = web.WebSocketResponse(max_msg_size=MESSAGE_MAX, compress=False, autoping=False, timeout=CLOSE_S)
        try:
            writer = await socket.prepare(request)
        except ConnectionError:
            return web.Response()  # the client has left meanwhile; it goes nowhere
        if await self._is_closed_at_once(socket, request, account):
            return socket
        transport = request.transport
        if transport is None:
            return socket  # the client left when the handshake was through
        session = self._exchange.hub.open(account, key.subaccount)
        line = Line(self._exchange.faults, account)
        self._ready[session] = asyncio.Event()
        self._open.add(socket)
        logger.info("client connected", extra={"action": "connected", "account": account})
        pong = asyncio.Event()
        works = (self._write(socket, session, Way(line, writer, transport)), self._ping(socket, line, pong))
        tasks = [asyncio.create_task(_guarded(work, transport)) for work in works]
        try:
            await self._read(socket, session, line, pong)
        finally:
            await _end(tasks)
            self._open.discard(socket)
            del self._ready[session]
            self._exchange.hub.close(session)
            logger.info("client gone", extra={"action": "disconnected", "account": account})
        return socket

    async def _is_closed_at_once(self, socket: web.WebSocketResponse, request: web.Request, account: str) -> bool:
        now_us = self._exchange.step().now_us
        fault = self._exchange.faults.of_connection(account=account, now_us=now_us)
        if fault is None:
            return False
        self._exchange.faults.note(fault, at_us=now_us, account=account, what="a new connection")
        await self._close(socket, request.transport, fault.code)
        return True

    async def _close(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None, code: int) -> None:
        if code == ABNORMAL and isinstance(transport, asyncio.Transport):
            transport.abort()
        else:
            await socket.close(code=code)

    async def _read(self, socket: web.WebSocketResponse, session: Session, line: Line, pong: asyncio.Event) -> None:
        async for message in socket:
            if line.is_silent:
                continue
            match message.type:
                case WSMsgType.TEXT:
                    # What happened before the command must be on the wire before its answer.
                    self._exchange.step()
                    self._exchange.commander.handle(session, message.data)
                    self._exchange.flush()
                case WSMsgType.PING:
                    await socket.pong(message.data)
                case WSMsgType.PONG:
                    pong.set()

    async def _write(self, socket: web.WebSocketResponse, session: Session, way: Way) -> None:
        ready = self._ready[session]
        try:
            while True:
                await ready.wait()
                ready.clear()
                while frames := session.take(PIECE_BYTES):
                    if socket.closed or way.transport.is_closing():
                        return
                    if way.line.is_plain:
                        way.transport.write(text_frames(frames))
                    else:
                        await self._carry(socket, session, way, frames)
                    await way.writer.drain()
        except ConnectionError:
            return  # the reader sees the same end and cleans up

    async def _carry(self, socket: web.WebSocketResponse, session: Session, way: Way, frames: list[bytes]) -> None:
        """Send frames as the faults on their way have it."""
        for step in way.line.carry(frames, now_us=self._exchange.world.now_us):
            match step:
                case faulty.Send():
                    way.transport.write(text_frames([step.frame]))
                case faulty.SendLater():
                    self._send_later(way, step)
                case faulty.CutAfter():
                    way.transport.write(text_frames([step.frame])[: step.count])
                    way.transport.close()
                case faulty.CloseWith():
                    await self._close(socket, way.transport, step.code)
                case faulty.EndSubscription():
                    subscription = session.subscriptions.get(step.sid)
                    if subscription is not None:
                        session.kill(subscription, step.code, error_text(step.code))

    def _send_later(self, way: Way, step: faulty.SendLater) -> None:
        def send() -> None:
            self._later.discard(handle)
            if not (way.line.is_silent or way.transport.is_closing()):
                way.transport.write(text_frames([step.frame]))

        handle = asyncio.get_running_loop().call_later(step.delay_ms / 1_000, send)
        self._later.add(handle)

    async def _ping(self, socket: web.WebSocketResponse, line: Line, pong: asyncio.Event) -> None:
        timeout_s = self._exchange.world.switches.pong_timeout_s
        try:
            while True:
                await asyncio.sleep(PING_EVERY_S)
                if line.is_silent or not line.sends_pings:
                    continue
                pong.clear()
                await socket.ping(PING_PAYLOAD)
                if timeout_s is not None and not await set_within(pong, timeout_s):
                    logger.warning("client leaves pings unanswered", extra={"action": "pong_missing"})
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"pong timeout")
                    return
        except ConnectionError:
            return  # the reader sees the same end and cleans up

    async def close_all(self) -> None:
        """Say goodbye to every client, without waiting for those that do not answer."""
        for handle in self._later:
            handle.cancel()
        closing = [
            asyncio.ensure_future(socket.close(code=WSCloseCode.GOING_AWAY, message=b"exchange stops"))
            for socket in self._open
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
