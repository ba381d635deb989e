"""`manage.py rewards`: incentive cases in, results out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from markets.reward_cases import BadCases, recompute


class Command(BaseCommand):
    help = "Compute what orders earn in each incentive case of a JSON document, and print it with the results."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="a document of cases; - reads standard input")
        parser.add_argument("--json", action="store_true", help="the output is JSON either way")

    def handle(self, *_args: Any, **options: Any) -> None:
        sys.set_int_max_str_digits(0)  # exact fractions of a fine grid run to thousands of digits
        document = recompute(_read(options["file"]))
        sys.stdout.buffer.write(document + b"\n")
        sys.stdout.flush()


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as exc:
        raise BadCases(file, f"cannot be read ({exc.strerror})") from exc
