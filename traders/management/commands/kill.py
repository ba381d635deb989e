"""`manage.py kill`, for `manage.py help`: the command itself runs before Django is loaded (traders.killcommand)."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from traders.killcommand import add_arguments


class Command(BaseCommand):
    help = "Stop trading: nothing new leaves, what rests is canceled, and the exchange is asked for proof."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *_args: Any, **_options: Any) -> None:
        raise AssertionError("kalshimm.commandline hands it over before")
