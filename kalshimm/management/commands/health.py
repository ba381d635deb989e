from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from rich.console import Console
from rich.table import Table

from kalshimm.db.jobs import FailedJob, failed_jobs
from kalshimm.errors import EXIT_FAILED, EXIT_NOT_REACHABLE
from kalshimm.ops import health
from kalshimm.ops.services import EXPECTED_ROLES, NEEDED_ROLES
from kalshimm.runtime import streams
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.heartbeat import Beat, read_beats

UNCLAIMED = "unclaimed_orders"  # as the supervisor counts them


class Service(msgspec.Struct, frozen=True):
    """One line of the answer; what only a beat tells is None without one. Ages in seconds, lag in milliseconds."""

    name: str
    ok: bool
    state: str
    pid: int | None = None
    age_s: float | None = None
    up_s: int | None = None
    lag_ms: int | None = None
    last_event: str | None = None


class Command(BaseCommand):
    help = "Show which services are alive, read from their beats, the stores, and the background jobs of the database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help='print {"ok", "services"} on one line')

    def handle(self, *_args: Any, **options: Any) -> None:
        stores = health.stores()
        services = [Service(name, state == health.OK, state) for name, state in stores.items()]
        is_reachable = all(service.ok for service in services)
        if stores["database"] == health.OK:
            services += failing(failed_jobs(connection) or [])
        if stores["redis"] == health.OK:
            services += beating(asyncio.run(_beats()), SystemClock().wall_us())
        is_ok = all(service.ok for service in services)
        if options["json"]:
            self.stdout.write(msgspec.json.encode({"ok": is_ok, "services": services}).decode())
        else:
            _print(services)
        if not is_ok:
            sys.exit(EXIT_FAILED if is_reachable else EXIT_NOT_REACHABLE)


def failing(jobs: list[FailedJob]) -> list[Service]:
    """Return a service for each background job of the database that failed when it last ran."""
    return [
        Service(
            name=f"{job.name} {job.table}".strip(),
            ok=False,
            state=f"failed {job.failures} times",
            last_event=job.message or "see timescaledb_information.job_errors",
        )
        for job in jobs
    ]


def beating(beats: list[Beat], now_us: int) -> list[Service]:
    """Return a service for each beat, and one for each expected role that is silent.

    Only the silence of a role that trading or storing needs makes the whole not ok.
    """
    heard = {beat.role for beat in beats}
    silent = [Service(role, role not in NEEDED_ROLES, "silent") for role in EXPECTED_ROLES if role not in heard]
    return silent + [_from_beat(beat, now_us) for beat in beats] + _unclaimed(beats)


def _unclaimed(beats: list[Beat]) -> list[Service]:
    """Return a line for orders of ours at rest that nobody watches; none while there are none."""
    count = sum(beat.counters.get(UNCLAIMED, 0) for beat in beats)
    return [Service("orders at rest", False, f"{count} unclaimed", last_event="`traders unclaimed`")] if count else []


def _from_beat(beat: Beat, now_us: int) -> Service:
    return Service(
        name=beat.role if beat.name == beat.role else f"{beat.role} {beat.name}",
        ok=True,
        state=beat.state,
        pid=beat.pid,
        age_s=round((now_us - beat.written_us) / 1_000_000, 1),
        up_s=(now_us - beat.started_us) // 1_000_000,
        lag_ms=beat.lag_ms,
        last_event=beat.last_event,
    )


async def _beats() -> list[Beat]:
    client = streams.connect(settings.REDIS_URL)
    try:
        return await read_beats(client)
    finally:
        await client.aclose()


def _print(services: list[Service]) -> None:
    table = Table("service", "state", "pid", "beat", "up", "lag", "last event", box=None, header_style="bold")
    for service in services:
        table.add_row(
            service.name,
            service.state if service.ok else f"[red]{service.state}[/red]",
            "" if service.pid is None else str(service.pid),
            "" if service.age_s is None else f"{service.age_s} s ago",
            "" if service.up_s is None else f"{service.up_s} s",
            "" if service.lag_ms is None else f"{service.lag_ms} ms",
            service.last_event or "",
        )
    Console().print(table)
