from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshimm.ops.logins import first_administrator, login_url


class Command(BaseCommand):
    help = "Print a link that logs an administrator in once, making the first administrator if there is none."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="whom to log in (default: the first administrator)")
        parser.add_argument("--port", type=int, default=settings.KALSHIMM_PORT, help="of the web pages")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = self._named(options["user"]) if options["user"] else first_administrator()
        self.stdout.write(login_url(user, port=options["port"]))

    def _named(self, name: str) -> User:
        user = get_user_model().objects.filter(username=name, is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {name!r}.")
        return user
