from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from traders import process


class Command(BaseCommand):
    help = "Run one trader: one market, one strategy, from the start file that the supervisor wrote."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", type=int, help="number of the trader, see `traders list`")

    def handle(self, *_args: Any, **options: Any) -> None:
        process.main(settings.KALSHIMM_HOME, options["id"])
