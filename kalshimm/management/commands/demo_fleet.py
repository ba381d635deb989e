from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from traders.services import ensure_demo_fleet


class Command(BaseCommand):
    help = "Fetch the catalogue and create the dry-run demo traders on it, unless any trader exists."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        call_command("refresh_catalog", stdout=self.stderr)
        made = ensure_demo_fleet()
        self.stdout.write(f"made {', '.join(made)}" if made else "nothing made: traders exist, or no market is open")
