"""`manage.py desk`"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from feed import venue
from feed.desk import Desk
from kalshimm.runtime import worker
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.home import folder, installation_number
from kalshimm.runtime.locks import exclusive
from markets.core.orderids import is_ours


class Command(BaseCommand):
    help = "Keep the truth of each account: private channels and polls onto its stream. Never places an order."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--adapter", choices=("picows", "websockets"), default="picows", help="WebSocket library")

    def handle(self, *_args: Any, **options: Any) -> None:
        with exclusive(folder(settings.KALSHIMM_HOME, "run") / "desk.lock", what="The account desk of this home"):
            worker.main(_build(options["adapter"]), name="desk")


def _build(adapter: str) -> worker.Run:
    environment, accounts = venue.environment(), venue.readers()
    installation = installation_number(settings.KALSHIMM_HOME)

    async def run(stop: asyncio.Event) -> None:
        desk = Desk(
            environment=environment,
            accounts=accounts,
            redis_url=settings.REDIS_URL,
            clock=SystemClock(),
            adapter=adapter,
            is_ours=lambda client_order_id: is_ours(client_order_id, installation),
        )
        await desk.run(stop)

    return run
