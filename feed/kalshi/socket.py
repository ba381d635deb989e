"""Two thin WebSocket adapters under the same session: `picows` (fast) and `websockets` (portable).

Both deliver whole text frames and tell of pings; neither decides anything. The contract suite runs both.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from typing import Any, Protocol

import picows
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.frames import Frame, Opcode

from feed.kalshi.errors import Disconnected, HandshakeRefused

logger = logging.getLogger(__name__)

MESSAGE_MAX = 64 << 20  # the venue's own limit
HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0


class Handler(Protocol):
    """Whoever takes the frames. Called inside the event loop; must not block."""

    def on_frame(self, data: bytes) -> None:
        """One whole text frame."""
        ...

    def on_turn(self) -> None:
        """All frames are told that one read of the socket brought; there may be none."""
        ...

    def on_ping(self) -> None:
        """The venue pinged (the pong is sent by the adapter)."""
        ...


class Connection(Protocol):
    """An open socket."""

    def send(self, data: bytes) -> None:
        """Queue one text frame. On a closed socket it does nothing: `wait_closed` tells."""
        ...

    async def wait_closed(self) -> str:
        """Wait for the end and return why, in words."""
        ...

    async def close(self) -> None: ...


async def connect(adapter: str, url: str, headers: Mapping[str, str], handler: Handler) -> Connection:
    """Open a WebSocket.

    Args:
        adapter: `picows` or `websockets`.

    Raises:
        HandshakeRefused: The venue answered with another HTTP status.
        Disconnected: Nobody answers, or not in time.
    """
    opener = {"picows": _open_picows, "websockets": _open_websockets}[adapter]
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):  # the TCP connect included
            return await opener(url, headers, handler)
    except (OSError, TimeoutError) as exc:
        raise Disconnected(f"No WebSocket at {url} ({exc or type(exc).__name__}).") from exc


# ---- picows -----------------------------------------------------------------------------------------------------


class _PicowsListener(picows.WSListener):
    def __init__(self, handler: Handler) -> None:
        self._handler, self._on_frame = handler, handler.on_frame
        self._parts: list[bytes] = []
        self.reason = "closed by the venue"

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind is picows.WSMsgType.TEXT and frame.fin:
            self._on_frame(frame.get_payload_as_bytes())
        elif kind in (picows.WSMsgType.TEXT, picows.WSMsgType.CONTINUATION):
            self._fragment(frame)
        elif kind is picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            self._handler.on_ping()
        elif kind is picows.WSMsgType.CLOSE:
            self.reason = f"closed by the venue with code {frame.get_close_code()}"
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        if frame.last_in_buffer:
            self._handler.on_turn()

    def _fragment(self, frame: picows.WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts.clear()
            self._handler.on_frame(whole)


class _PicowsConnection:
    def __init__(self, transport: Any, listener: Any) -> None:
        self._transport, self._listener = transport, listener

    def send(self, data: bytes) -> None:
        if not self._transport.is_disconnected:
            self._transport.send(picows.WSMsgType.TEXT, data)

    async def wait_closed(self) -> str:
        await self._transport.wait_disconnected()
        return str(self._listener.reason)

    async def close(self) -> None:
        self._listener.reason = "closed by us"
        if not self._transport.is_disconnected:
            self._transport.send_close(picows.WSCloseCode.OK)
            self._transport.disconnect()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._transport.wait_disconnected()
        except TimeoutError:
            # Whoever no longer reads, or leaves TLS half closed, would keep us for as long as the system waits.
            self._transport.disconnect(graceful=False)
            await self._transport.wait_disconnected()


async def _open_picows(url: str, headers: Mapping[str, str], handler: Handler) -> Connection:
    try:
        transport, listener = await picows.ws_connect(
            lambda: _PicowsListener(handler),
            url,
            extra_headers=headers,
            enable_auto_pong=False,  # pings are signs of life, so we answer them ourselves
            max_frame_size=MESSAGE_MAX,
            websocket_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        )
    except picows.WSInvalidStatusError as exc:
        status = int(exc.response.status) if exc.response else 0
        raise HandshakeRefused(status, (exc.raw_body or b"").decode(errors="replace")[:200]) from exc
    except picows.WSError as exc:
        raise Disconnected(f"No WebSocket at {url} ({exc}).") from exc
    if listener is None:  # the line was lost before the venue had answered, which picows takes for a success
        raise Disconnected(f"No WebSocket at {url} (closed during the handshake).")
    return _PicowsConnection(transport, listener)


# ---- websockets -------------------------------------------------------------------------------------------------


class _PingAware(ClientConnection):
    """The library answers pings without telling anybody; here the handler hears of them."""

    def __init__(self, handler: Handler, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._handler = handler

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self._handler.on_ping()
        super().process_event(event)


class _WebsocketsConnection:
    def __init__(self, socket: ClientConnection, handler: Handler) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(maxsize=10_000)
        self._reading = asyncio.create_task(self._read(handler), name="websockets-read")
        self._writing = asyncio.create_task(self._write(), name="websockets-write")

    def send(self, data: bytes) -> None:
        if not self._writing.done():
            self._outbox.put_nowait(data)

    async def _read(self, handler: Handler) -> str:
        try:
            while True:
                # Bytes as they came: what is not UTF-8 is for the session to judge, not a reason to hang up.
                handler.on_frame(await self._socket.recv(decode=False))
                self._loop.call_soon(handler.on_turn)  # behind the frames that wait already
        except ConnectionClosed:
            pass  # how it ended stands in the close code below
        return f"closed by the venue with code {self._socket.close_code}"

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send(await self._outbox.get(), text=True)
        except ConnectionClosed:
            return  # the reading side tells why

    async def wait_closed(self) -> str:
        try:
            return await asyncio.shield(self._reading)
        finally:
            self._writing.cancel()

    async def close(self) -> None:
        await self._socket.close()
        await self.wait_closed()


async def _open_websockets(url: str, headers: Mapping[str, str], handler: Handler) -> Connection:
    try:
        socket = await websockets_connect(
            url,
            additional_headers=dict(headers),
            compression=None,
            max_size=MESSAGE_MAX,
            ping_interval=None,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            create_connection=functools.partial(_PingAware, handler),  # type: ignore[arg-type]  # only ever called
            proxy=None,
        )
    except InvalidStatus as exc:
        body = (exc.response.body or b"").decode(errors="replace")[:200]
        raise HandshakeRefused(exc.response.status_code, body) from exc
    except (InvalidHandshake, InvalidMessage) as exc:
        raise Disconnected(f"No WebSocket at {url} ({exc}).") from exc
    return _WebsocketsConnection(socket, handler)
