from __future__ import annotations

import argparse
import asyncio
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandParser

from kalshimm.bench.registry import BENCHES
from kalshimm.bench.report import Bench, Effort, Report, measure

ROUNDS, SECONDS = 5, 4.0


class Command(BaseCommand):
    help = "Measure one path against its limit or a peer in the same run, rounds alternating."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "benches:\n" + "\n".join(
            f"  {bench.name:<10} {bench.about};\n{'':<13}against {bench.reference}" for bench in BENCHES.values()
        )
        parser.add_argument("name", choices=BENCHES, metavar="NAME", help=", ".join(BENCHES))
        parser.add_argument("--rounds", type=_rounds, default=ROUNDS, help=f"how many rounds ({ROUNDS})")
        parser.add_argument("--seconds", type=_seconds, default=SECONDS, help=f"length of a round ({SECONDS:g})")
        parser.add_argument("--json", action="store_true", help="print one document on one line")

    def handle(self, *_args: Any, **options: Any) -> None:
        bench = BENCHES[options["name"]]
        effort = Effort(options["rounds"], options["seconds"])
        self.stderr.write(f"{bench.name}: {bench.about}; against {bench.reference}")
        report = asyncio.run(measure(bench, effort, self.stderr.write))
        self.stdout.write(msgspec.json.encode(report).decode() if options["json"] else _table(bench, report))


def _rounds(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least one round")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError("more than 0 and at most 600 seconds")
    return value


def _table(bench: Bench, report: Report) -> str:
    verdict = "reaches the aim" if report.figure >= report.aim else "above the floor"
    if report.figure < report.floor:
        verdict = "BELOW THE FLOOR"
    lines = [
        f"{report.figure:,.0f} {report.unit}: {verdict} (floor {report.floor:,.0f}, aim {report.aim:,.0f})",
        f"{report.ratio:.2%} of {report.against:,.0f}: {bench.reference}",
    ]
    for name in report.rounds[0].more:
        lines.append(f"{name}: {', '.join(f'{one.more[name]:,}' for one in report.rounds)}")
    lines.append(f"{report.cpus_busy:.2f} processors of the machine were busy")
    return "\n".join(lines)
