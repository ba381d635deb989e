"""`manage.py replay PATH…`"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from feed.replay import Replay
from kalshimm.errors import ConfigurationError
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.database import conninfo


class Command(BaseCommand):
    help = "Send recorded frames through session, books, streams and writer into the tables, at their recorded times."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="NDJSON, plain, .gz or .zst")
        parser.add_argument("--yes-price", action="store_true", help="No levels are given at Yes prices")
        parser.add_argument("--json", action="store_true", help="accepted for uniformity: the result is always JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        paths: list[Path] = options["paths"]
        for path in paths:
            if not path.is_file():
                raise ConfigurationError("PATH", f"there is no recording {path}")
        with _Bar(paths) as bar:
            replay = Replay(
                redis_url=settings.REDIS_URL,
                dsn=conninfo(settings.DATABASES["default"]),
                clock=SystemClock(),
                use_yes_price=options["yes_price"],
                progress=bar.tell,
            )
            result = asyncio.run(replay.run(paths))
        self.stdout.write(msgspec.json.encode(result).decode())


class _Bar:
    """A bar over the files on a terminal; silent elsewhere."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} files, {task.fields[frames]:,} frames"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task: TaskID | None = None
        self._before, self._file, self._seen = 0, paths[0], 0

    def __enter__(self) -> _Bar:
        self._progress.start()
        self._task = self._progress.add_task("replay", total=len(self._paths), frames=0)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None and self._task is not None:
            self._progress.update(self._task, completed=len(self._paths))
        self._progress.stop()

    def tell(self, path: Path, seen: int) -> None:
        if path != self._file:
            self._before += self._seen
            self._file = path
        self._seen = seen
        assert self._task is not None
        done = self._paths.index(path)
        self._progress.update(self._task, description=path.name, completed=done, frames=self._before + seen)
