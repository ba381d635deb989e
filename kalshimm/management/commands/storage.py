"""`manage.py storage`"""

from __future__ import annotations

from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.template.defaultfilters import filesizeformat
from rich.console import Console
from rich.table import Column, Table

from kalshimm.db.steps import Step
from kalshimm.db.storage import Report, Storage

HELP = (
    "Bring the database to the plan: on TimescaleDB hypertables, columnstore, retention and continuous aggregates; on "
    "plain PostgreSQL the same views over the rows, while celery deletes what is older than the retention. "
    "A second run changes nothing. After a change of KALSHIMM_RETENTION_…_DAYS (0 keeps for ever) run it again."
)


class Command(BaseCommand):
    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="compute aggregates whose definition has changed anew; what no row shows any more is then lost",
        )
        parser.add_argument("--json", action="store_true", help='print {"server", "tables"} on one line')

    def handle(self, *_args: Any, **options: Any) -> None:
        is_quiet = options["verbosity"] == 0
        report = Storage(connection).apply(rebuild=options["rebuild"], say=_nothing if is_quiet else self._say)
        if options["json"]:
            self.stdout.write(msgspec.json.encode(report).decode())
        elif not is_quiet:
            _print(report)
        for table in report.tables:
            if table.is_outdated:
                self.stderr.write(f"{table.name} is computed by an older definition; see `manage.py storage --help`.")

    def _say(self, step: Step) -> None:
        self.stderr.write(f"{step.subject}: {step.words}")


def _nothing(_step: Step) -> None:
    """Say nothing."""


def _print(report: Report) -> None:
    table = Table(report.server, "is a", "kept", Column("size", justify="right"), box=None, header_style="bold")
    for kept in report.tables:
        size = "" if kept.bytes is None else filesizeformat(kept.bytes).replace("\xa0", " ")
        table.add_row(kept.name, kept.kind, f"{kept.kept_days} days" if kept.kept_days else "for ever", size)
    console = Console()
    console.print(table)
    console.print(f"{report.changes} changes." if report.changes else "Nothing had to be changed.")
