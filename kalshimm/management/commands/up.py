from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from kalshimm.embedded import detached
from kalshimm.embedded.console import Console
from kalshimm.embedded.launcher import Launcher
from kalshimm.embedded.processes import STOP_WITHIN_S, Choice
from traders.processes import stop_all


def port(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 65_535:
        raise argparse.ArgumentTypeError("a port is 1 to 65535")
    return value


def speed(text: str) -> float:
    value = float(text)
    if value <= 0:
        raise argparse.ArgumentTypeError("a speed is above 0")
    return value


def seconds(text: str) -> float:
    value = float(text)
    if not STOP_WITHIN_S <= value <= 600:
        raise argparse.ArgumentTypeError(f"{STOP_WITHIN_S:g} to 600 seconds")
    return value


def recording(text: str) -> Path:
    path = Path(text).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text} does not exist")
    return path


class Command(BaseCommand):
    help = "Start the whole platform: stores, exchange, workers, web and a dry-run demo fleet."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--exchange", choices=("local", "demo", "prod"), default=settings.KALSHI_ENV)
        parser.add_argument(
            "--replay", type=recording, nargs="+", metavar="PATH", help="recordings to trade on, from now"
        )
        parser.add_argument("--markets", type=int, help="play the recordings side by side as this many markets")
        parser.add_argument("--speed", type=speed, help="how many times faster than recorded, or than the scenario")
        parser.add_argument("--scenario", metavar="NAME", help="of the local exchange; `exchange --help` lists them")
        parser.add_argument("--port", type=port, default=settings.KALSHIMM_PORT, help="of the web pages")
        parser.add_argument("--detach", action="store_true", help="return once everything is ready")
        parser.add_argument(
            "--stop-within", type=seconds, default=STOP_WITHIN_S, metavar="SECONDS",
            help=f"Ctrl-C or SIGTERM to the last process ({STOP_WITHIN_S:g}); more of it is for traders to drain",
        )  # fmt: skip
        parser.add_argument("--no-demo", action="store_true", help="create no demo traders")

    def handle(self, *_args: Any, **options: Any) -> None:
        local_only = [f"--{name}" for name in ("replay", "markets", "speed", "scenario") if options[name] is not None]
        if options["exchange"] != "local" and local_only:
            raise CommandError(f"{local_only[0]} is for --exchange local only.", returncode=2)
        if options["markets"] is not None and not options["replay"]:
            raise CommandError("--markets goes with --replay.", returncode=2)
        choice = Choice(
            home=settings.KALSHIMM_HOME,
            port=options["port"],
            environment=options["exchange"],
            replay=tuple(options["replay"] or ()),
            markets=options["markets"],
            speed=options["speed"],
            scenario=options["scenario"],
            wants_demo=not options["no_demo"],
            stop_within_s=options["stop_within"],
        )
        if options["detach"]:
            told = detached.start(choice)
            self.stdout.write(f"{told.url} is up, process {told.pid}; log in once with {told.login_url}")
            return
        Launcher(choice, Console(), stop_traders=stop_all).run()
