"""`manage.py refresh_catalog`"""

from __future__ import annotations

import argparse
from typing import Any

import msgspec
from django.core.management.base import BaseCommand

from feed import catalog


class Command(BaseCommand):
    help = "Read series, events, markets and incentive programs from the venue into the database."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        counts = catalog.refresh()
        if options["json"]:
            self.stdout.write(msgspec.json.encode(counts).decode())
            return
        self.stdout.write(
            f"{counts.series} new series, {counts.events} events, {counts.markets} markets, {counts.programs} programs."
        )
