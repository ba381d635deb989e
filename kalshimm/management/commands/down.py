from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshimm.embedded import shutdown
from traders.processes import stop_all


class Command(BaseCommand):
    help = "Stop what `up` runs on this home, or what a killed `up` left running."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--purge", action="store_true", help="then delete the data: database, traders, keys, logs")
        parser.add_argument("--no-input", action="store_true", help="do not ask before deleting")

    def handle(self, *_args: Any, **options: Any) -> None:
        home = settings.KALSHIMM_HOME
        if options["purge"] and not options["no_input"] and sys.stdin.isatty():
            self._ask(f"Delete {shutdown.describe_data(home)}? [y/N] ")
        if not shutdown.stop(home, stop_all, self.stdout.write):
            self.stdout.write(f"Nothing ran on {home}.")
        if options["purge"]:
            described = shutdown.describe_data(home)
            shutdown.purge(home)
            self.stdout.write(f"Deleted {described}.")

    def _ask(self, question: str) -> None:
        self.stdout.write(question, ending="")
        self.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was deleted and nothing was stopped.")
