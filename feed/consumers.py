"""The sockets of pages that move by themselves: news only, commands are ordinary requests."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError
from django.http import HttpRequest

from feed.hub import Hub, Slot, in_own_thread
from kalshimm.runtime.worker import set_within

logger = logging.getLogger(__name__)

# The server under us sends only 1000 and 4xxx; static/js/app.js knows these.
CLOSE_LOGGED_OUT = 4401  # the page offers the login instead of coming back
CLOSE_TOO_SLOW = 4408  # the page reconnects and starts from the full state
CLOSE_FAILED = 4500  # likewise
TAKE_MAX_S = 2.0
SESSION_EVERY_S = 60.0
SESSION_ANSWER_S = 5.0


class TopicConsumer(AsyncWebsocketConsumer):
    """Sends one topic's fragments to one page.

    The page answers each message it has shown with any text. One message is under way at a time, so a page that
    cannot keep up gets fewer and newer ones; one that has not answered for `take_max_s` is cut off. (The server's
    own send never blocks: it would buffer for ever.)
    """

    channel_layer_alias = "none"  # the hub listens for all sockets of this process

    def __init__(self, *, hub: Hub, take_max_s: float = TAKE_MAX_S, session_every_s: float = SESSION_EVERY_S) -> None:
        super().__init__()
        self._hub, self._take_max_s, self._session_every_s = hub, take_max_s, session_every_s
        self._taken = asyncio.Event()
        self._slot: Slot | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()  # a close code is only seen by a page whose handshake succeeded
        if not self.scope["user"].is_authenticated:
            await self.close(code=CLOSE_LOGGED_OUT)
            return
        self._slot = self._hub.join()
        self._task = asyncio.create_task(self._serve(self._slot), name=f"socket {self._hub.topic}")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self._taken.set()

    async def disconnect(self, code: int) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._slot is not None:
            self._hub.leave(self._slot)

    async def _serve(self, slot: Slot) -> None:
        """Push until the page is too slow or logged out; either ends the connection."""
        parts = [asyncio.create_task(self._push(slot)), asyncio.create_task(self._guard())]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            await self.close(code=done.pop().result())
        except Exception:
            logger.exception("socket failed", extra={"action": "socket_failed"})
            await self.close(code=CLOSE_FAILED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _push(self, slot: Slot) -> int:
        """Send what is new, each time waiting for the page to have shown it; return the close code."""
        while True:
            html = await slot.take()
            self._taken.clear()
            await self.send(text_data=html)
            if not await set_within(self._taken, self._take_max_s):
                return CLOSE_TOO_SLOW

    async def _guard(self) -> int:
        """Look at the session again and again, for a cookie proves nothing after a logout; return the close code."""
        while True:
            await asyncio.sleep(self._session_every_s)
            if not await self._is_logged_in():
                return CLOSE_LOGGED_OUT

    async def _is_logged_in(self) -> bool:
        """Return whether the session still stands; while the database cannot tell, it does."""
        try:
            async with asyncio.timeout(SESSION_ANSWER_S):
                return await in_own_thread(_stands, self.scope["session"].session_key)
        except (DatabaseError, TimeoutError) as exc:
            logger.warning("session not checked: %s", exc, extra={"action": "session_unchecked"})
            return True


def _stands(session_key: str | None) -> bool:
    """Return whether a session belongs to an active user, asking the database anew."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return get_user(request).is_authenticated
