from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from kalshimm.db.version import require_schema
from kalshimm.runtime import worker
from traders.supervisor import supervise


class Command(BaseCommand):
    help = "Run the supervisor, which starts, adopts and stops traders until they are as desired."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        require_schema()
        worker.main(lambda stop: supervise(settings.KALSHIMM_HOME, settings.REDIS_URL, stop), name="supervisor")
