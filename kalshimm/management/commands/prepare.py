from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from kalshimm.db.version import require_known
from kalshimm.ops.logins import first_administrator, login_url


class Command(BaseCommand):
    help = (
        "Migrate the database, bring its storage to the plan, make the first administrator, and print a link that logs "
        "them in once."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.KALSHIMM_PORT, help="of the web pages")

    def handle(self, *_args: Any, **options: Any) -> None:
        require_known()  # before anything of a newer version is taken for ours
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stderr)
        call_command("storage", verbosity=0, stdout=self.stderr, stderr=self.stderr)
        self.stdout.write(login_url(first_administrator(), port=options["port"]))
