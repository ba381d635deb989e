"""`manage.py writer`"""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from feed.writer import Writer
from kalshimm.db.version import require_schema
from kalshimm.runtime import worker
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.database import conninfo
from kalshimm.runtime.home import folder
from kalshimm.runtime.locks import exclusive


class Command(BaseCommand):
    help = "Store the streams: market data, journals and logs, each with its watermark."

    def handle(self, *_args: Any, **_options: Any) -> None:
        with exclusive(folder(settings.KALSHIMM_HOME, "run") / "writer.lock", what="The writer of this home"):
            require_schema()
            worker.main(_run, name="writer")


async def _run(stop: asyncio.Event) -> None:
    writer = Writer(
        redis_url=settings.REDIS_URL,
        dsn=conninfo(settings.DATABASES["default"]),
        clock=SystemClock(),
        tape_bytes=settings.KALSHIMM_TAPE_BYTES,
    )
    await writer.run(stop)
