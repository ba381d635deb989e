from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshimm.bench.faults import bars, run
from kalshimm.bench.registry import BENCHES
from kalshimm.bench.report import Report, Result, measure
from kalshimm.commandline import EXIT_SIGNALLED
from kalshimm.errors import EXIT_USAGE

T = TypeVar("T")


class Command(BaseCommand):
    help = "Measure one path against its limit or a peer in the same run, rounds alternating."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "benches:\n" + "\n".join(
            f"  {bench.name:<13} {bench.about};\n{'':<16}against {bench.reference}" for bench in BENCHES.values()
        )
        names = (*BENCHES, run.NAME)
        parser.epilog += f"\n  {run.NAME:<13} {run.ABOUT}"
        parser.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
        parser.add_argument("--rounds", type=_rounds, help="how many rounds (a bench's own default)")
        parser.add_argument("--seconds", type=_seconds, help="length of a round (a bench's own default)")
        parser.add_argument("--rate", type=_rate, help="messages a second, where a bench plays at one")
        parser.add_argument(
            "--runs", type=_rounds, default=run.RUNS, help=f"{run.NAME}: samples of each bar ({run.RUNS})"
        )
        parser.add_argument(
            "--only", nargs="+", choices=(*run.MEASURED, *run.OF_SOAK), metavar="BAR", default=(),
            help=f"{run.NAME}: these alone, of {', '.join(run.MEASURED)}",
        )  # fmt: skip
        parser.add_argument(
            "--soak", type=_minutes, default=0, metavar="MINUTES",
            help=f"{run.NAME}: first let everything run for so long, and tell how memory grew and of 429s",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one document on one line")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["name"] == run.NAME:
            self._faults(options)
            return
        bench = BENCHES[options["name"]]
        given = {name: options[name] for name in ("rounds", "seconds", "rate") if options[name] is not None}
        effort = msgspec.structs.replace(bench.default_effort, **given)
        self.stderr.write(f"{bench.name}: {bench.about}; against {bench.reference}")
        report = asyncio.run(_ended_by_signals(measure(bench, effort, self.stderr.write)))
        self.stdout.write(msgspec.json.encode(report).decode() if options["json"] else _table(report))

    def _faults(self, options: dict[str, Any]) -> None:
        self.stderr.write(f"{run.NAME}: {run.ABOUT}")
        if not options["soak"] and (lacks := [name for name in options["only"] if name in run.OF_SOAK]):
            raise CommandError(f"{', '.join(lacks)}: say how long with --soak MINUTES", returncode=EXIT_USAGE)
        work = run.measure(options["runs"], options["only"], self.stderr.write, soak_min=options["soak"])
        document = asyncio.run(_ended_by_signals(work))
        self.stdout.write(msgspec.json.encode(document).decode() if options["json"] else bars.table(document))


async def _ended_by_signals(work: Coroutine[Any, Any, T]) -> T:
    """Measure; SIGTERM and SIGHUP end it as Ctrl-C does, with its processes and stores."""
    measuring = asyncio.create_task(work, name="bench")
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(number)
        measuring.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await measuring
    except asyncio.CancelledError:
        if ended:
            sys.exit(EXIT_SIGNALLED + ended[0])
        raise


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


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 60:
        raise argparse.ArgumentTypeError("more than 0 and at most a day's minutes")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("more than 0 messages a second")
    return value


def _table(report: Report) -> str:
    lines = [_line(one) for one in (report, *report.others)]
    if report.void:
        lines.insert(0, f"VOID: {report.void}")
    for name in report.rounds[0].more:
        lines.append(f"{name}: {', '.join(f'{one.more[name]:,}' for one in report.rounds)}")
    if report.discarded:
        lines.append(f"measured twice: the reference of the first {len(report.discarded)} rounds was not steady")
    lines.append(f"{report.cpus_busy:.2f} processors of the machine were busy")
    return "\n".join(lines)


def _line(one: Result) -> str:
    return (
        f"{one.name}: {_shown(one.figure, one.spread)} {one.unit}\n"
        f"  ÷ {_shown(one.against, one.against_spread)} {one.reference} = {one.ratio:.4g}\n"
        f"  {one.verdict}: {one.judged}, floor {one.floor:,g}, aim {one.aim:,g}"
    )


def _shown(median: float, spread: float) -> str:
    digits = 0 if abs(median) >= 1_000 else 2
    return f"{median:,.{digits}f} (± {spread / 2:.0%})"
