"""The live parts of the overview: rendered into the page, and again by the hub for the sockets."""

from __future__ import annotations

import asyncio

import msgspec
import redis.asyncio as redis_async
from django.db import DatabaseError
from django.template.loader import render_to_string
from django.utils import timezone

from feed.hub import in_own_thread
from traders import queries
from traders.overview import Live, OverviewPage, Stored, remember

TOPIC = "overview"
FRAGMENTS = ("strip", "notice", "kpis", "fleet", "services", "activity")
ROWS_EVERY_S = 1.0
ROWS_MAX_S = 0.8
SILENT_KEPT_US = 15 * 60 * 1_000_000  # how long the page keeps showing what a silent worker last said


def render(page: OverviewPage) -> dict[str, str]:
    """Return each fragment as an out-of-band morph of the element with its name as id."""
    context = {"page": page, "oob": True}
    return {name: render_to_string(f"traders/_{name}.html", context) for name in FRAGMENTS}


class OverviewSource:
    """State for the hub: Redis each turn, the database once a second, and what was last known of the silent."""

    def __init__(self, client: redis_async.Redis) -> None:
        self._client = client
        self._live = Live()
        self._rows = Stored()
        self._rows_due = 0.0
        self._reading: asyncio.Task[Stored] | None = None

    async def fragments(self) -> dict[str, str]:
        now = timezone.now()
        heard = await queries.read_live(self._client)
        now_us = int(now.timestamp() * 1_000_000)
        self._live = Live(
            beats=remember(self._live.beats, heard.beats, now_us=now_us, keep_us=SILENT_KEPT_US),
            feed=self._live.feed if heard.problem else heard.feed,
            problem=heard.problem,
        )
        await self._read_rows()
        # Off the event loop: it is plain computing, and other sockets wait meanwhile.
        return await asyncio.to_thread(render, queries.page(self._rows, self._live, now))

    async def _read_rows(self) -> None:
        """Bring the rows up to date, but do not wait long: the beats matter more than the catalogue."""
        clock = asyncio.get_running_loop().time
        if self._reading is None:
            if clock() < self._rows_due:
                return
            heard = queries.heard_traders(self._live)
            self._reading = asyncio.create_task(in_own_thread(queries.stored, timezone.now(), heard))
        await asyncio.wait({self._reading}, timeout=ROWS_MAX_S)
        if not self._reading.done():
            self._rows = msgspec.structs.replace(self._rows, problem="PostgreSQL is slow to answer.")
            return
        reading, self._reading = self._reading, None
        self._rows_due = clock() + ROWS_EVERY_S
        try:
            self._rows = reading.result()
        except DatabaseError as exc:
            why = str(exc).strip().partition("\n")[0]
            self._rows = msgspec.structs.replace(self._rows, problem=f"PostgreSQL does not answer ({why}).")
