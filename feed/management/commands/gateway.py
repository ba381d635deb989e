"""`manage.py gateway`"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings
from django.core.management.base import BaseCommand

from feed import venue
from feed.gateway import Gateway
from feed.link import Waits
from kalshimm.runtime import worker
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import folder
from kalshimm.runtime.locks import exclusive


class Command(BaseCommand):
    help = "Hold the one public WebSocket to the venue and publish every wanted order book."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--adapter", choices=("picows", "websockets"), default="picows", help="WebSocket library")

    def handle(self, *_args: Any, **options: Any) -> None:
        with exclusive(folder(settings.KALSHIMM_HOME, "run") / "gateway.lock", what="The gateway of this home"):
            worker.main(_build(options["adapter"]), name="gateway")


def _build(adapter: str) -> worker.Run:
    environment, signer = venue.environment(), venue.signer()

    async def run(stop: asyncio.Event) -> None:
        gateway = Gateway(
            environment=environment,
            signer=signer,
            redis_url=settings.REDIS_URL,
            clock=SystemClock(),
            layer=get_channel_layer(),
            adapter=adapter,
            waits=Waits().scaled(settings.KALSHIMM_WAITS_PERCENT),
        )
        await gateway.run(stop)

    return run
