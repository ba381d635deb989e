from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from traders import spawner


class Command(BaseCommand):
    help = "Run the spawner, which forks traders from a preloaded process."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        spawner.title()
        spawner.preload()
        from traders import process

        spawner.Spawner(settings.KALSHIMM_HOME, process.main).run()
