"""`manage.py exchange`: the local exchange as a process."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from feed.exchange import switches
from feed.exchange.budgets import DEFAULT_TIER, TIERS
from feed.exchange.faults.script import read_file
from feed.exchange.flow.merged import merge_into
from feed.exchange.flow.replayed import replay_into
from feed.exchange.flow.scenarios import SCENARIOS, describe, populate
from feed.exchange.server import LocalExchange, Ready, serve
from feed.exchange.world import World
from feed.recording import read_frames
from kalshimm.errors import ConfigurationError
from kalshimm.runtime import worker
from kalshimm.runtime.clock import SystemClock

MARKETS_MAX = 2_000
SPEED_MIN, SPEED_MAX = 0.001, 1e6


class Command(BaseCommand):
    help = "Run the local exchange: Kalshi's REST and WebSocket over a simulated or recorded market."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=0, help="port of REST and WebSocket; 0 takes a free one")
        parser.add_argument(
            "--key-dir", type=Path, help="where the accounts' keys are kept (default: exchange/ in the home)"
        )
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        open_questions = "switches, for what no document settles (default first)"
        parser.epilog = f"scenarios:\n{describe()}\n\n{open_questions}:\n{switches.describe()}"
        parser.add_argument("--scenario", choices=SCENARIOS, default="demo", help="the simulated world, see below")
        parser.add_argument("--replay", type=Path, nargs="+", default=[], help="recordings to play instead")
        parser.add_argument(
            "--markets", type=int, help="play the recordings side by side as this many markets, not one after the other"
        )
        parser.add_argument(
            "--speed", type=float, default=1.0, help="how much faster recordings play, or the crowd acts"
        )
        parser.add_argument("--tier", choices=TIERS, default=DEFAULT_TIER, help="API usage level of every account")
        parser.add_argument("--seed", type=int, default=1, help="the simulated world's chance")
        parser.add_argument("--faults", type=Path, help="a fault script (JSON): what to do wrong, see the control port")
        parser.add_argument(
            "--keep-frames", type=int, default=0, metavar="N", help="tell the last N frames sent on the control port"
        )
        parser.add_argument(
            "--switch", metavar="NAME=VALUE", action="append", default=[], help="decide an open question, see below"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if not 0 <= options["port"] <= 65_535:
            raise ConfigurationError("--port", f"expected 0 to 65535, found {options['port']}")
        if not SPEED_MIN <= options["speed"] <= SPEED_MAX:
            raise ConfigurationError("--speed", f"expected {SPEED_MIN} to {SPEED_MAX:g}, found {options['speed']}")
        if options["markets"] is not None and not (options["replay"] and 1 <= options["markets"] <= MARKETS_MAX):
            raise ConfigurationError("--markets", f"expected 1 to {MARKETS_MAX}, with --replay")
        for path in options["replay"] if options["markets"] is None else ():
            # Read to its end: a broken recording is better refused now than found out in the middle of the day.
            for _ in read_frames(path):
                pass
        if options["keep_frames"] < 0:
            raise ConfigurationError("--keep-frames", f"expected 0 or more, found {options['keep_frames']}")
        faults = read_file(options["faults"]) if options["faults"] else []
        chosen = switches.read(options["switch"])
        key_dir = options["key_dir"] or settings.KALSHIMM_HOME / "exchange"

        async def run(stop: asyncio.Event) -> None:
            clock = SystemClock()
            world = World(seed=options["seed"], now_us=clock.wall_us(), switches=chosen)
            if options["markets"] is not None:
                merge_into(world, options["replay"], markets=options["markets"], speed=options["speed"])
            elif options["replay"]:
                replay_into(world, options["replay"], speed=options["speed"])
            else:
                populate(world, SCENARIOS[options["scenario"]], speed=options["speed"])
            exchange = LocalExchange(world, clock=clock, tier=options["tier"], keep_frames=options["keep_frames"])
            exchange.faults.add(faults, now_us=clock.wall_us())
            await serve(exchange, stop, port=options["port"], key_dir=key_dir, announce=_print)

        worker.main(run, name="exchange")


def _print(ready: Ready) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
    sys.stdout.flush()
