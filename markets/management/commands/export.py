"""`manage.py export KIND…`"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from kalshimm.errors import ConfigurationError
from markets import export
from markets.exportkinds import KINDS
from markets.models import Market

SETTLED_AFTER = timedelta(minutes=1)  # what happened may come late; younger rows may still be on their way


class Command(BaseCommand):
    help = "Export history to CSV or Parquet, in parts; the same command again goes on where it was interrupted."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
        which = parser.add_argument_group("which markets (one of them)")
        which.add_argument("--market", action="append", default=[], metavar="TICKER", help="may be repeated")
        which.add_argument("--event", metavar="TICKER", help="every market of an event of the catalogue")
        which.add_argument("--series", metavar="TICKER", help="every market of a series of the catalogue")
        which.add_argument("--all", action="store_true", help="every market")
        parser.add_argument(
            "--from", dest="since", type=_time, metavar="TIME", help="ISO, UTC unless it says otherwise"
        )
        parser.add_argument(
            "--to",
            dest="until",
            type=_time,
            metavar="TIME",
            help="not included; if left out a minute ago, or before the newest that is stored",
        )
        parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
        parser.add_argument(
            "--out", type=Path, required=True, metavar="DIR", help="folder of the parts and export.json"
        )
        parser.add_argument("--rows-a-part", type=_positive, default=export.ROWS_A_PART, metavar="N")
        parser.add_argument("--json", action="store_true", help="print one JSON document on one line")

    def handle(self, *_args: Any, **options: Any) -> None:
        began = time.monotonic()
        out: Path = options["out"]
        request = export.Request(
            kinds=tuple(dict.fromkeys(options["kinds"])),
            markets=_markets(options),
            since=options["since"],
            until=_until(options["until"], out),
            format=options["format"],
            rows_a_part=options["rows_a_part"],
        )
        if request.since and request.since >= request.until:
            raise ConfigurationError("--from", f"must lie before --to ({request.until.isoformat()})")
        with _Bars(request.kinds) as bars:
            manifest = export.run(request, out, progress=bars.tell)
        rows = {kind: sum(part.rows for part in manifest.of(kind)) for kind in request.kinds}
        if options["json"]:
            seconds = round(time.monotonic() - began, 3)
            done = {"out": str(out), "format": request.format, "until": request.until, "rows": rows}
            done |= {"files": [part.file for part in manifest.parts], "seconds": seconds}
            self.stdout.write(msgspec.json.encode(done).decode())
            return
        told = ", ".join(f"{count:,} {kind}" for kind, count in rows.items())
        self.stdout.write(f"{told} in {len(manifest.parts)} files in {out}.")


def _markets(options: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the tickers that the options select, None for all of them."""
    given = [name for name in ("market", "event", "series", "all") if options[name]]
    if len(given) != 1:
        raise ConfigurationError("--market", "say which markets with one of --market, --event, --series and --all")
    if options["all"]:
        return None
    if options["market"]:
        return tuple(sorted(set(options["market"])))
    name = given[0]
    where = {"event": "event_id", "series": "event__series_id"}[name]
    found = Market.objects.filter(**{where: options[name]}).order_by("ticker").values_list("ticker", flat=True)
    known = export.known_markets(found)
    if not known:
        raise ConfigurationError(f"--{name}", f"history holds no market of {options[name]}")
    return known


def _until(asked: datetime | None, out: Path) -> datetime:
    """Return the end that was asked for, else that of the export begun in `out`, else a minute before what is stored.

    Raises:
        ConfigurationError: The writer has not stored all of what was asked for.
    """
    if asked is None and (out / export.MANIFEST).exists():
        return export.read_manifest(out).request.until
    now, stored_until = datetime.now(UTC), export.stored_until()
    if asked is None:
        return min(now, stored_until or now).replace(microsecond=0) - SETTLED_AFTER
    if stored_until is not None and asked > stored_until:
        behind = f"{stored_until.isoformat(timespec='seconds')}, {(now - stored_until).total_seconds():,.0f} s ago"
        raise ConfigurationError("--to", f"history is stored up to {behind}; wait for the writer, or ask for less")
    return asked


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO time such as 2026-11-20T12:00:00Z") from None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(text)


class _Bars:
    """A bar a kind on a terminal; silent elsewhere. A kind is measured by how far its times have come."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {
            kind: self._progress.add_task(kind, total=1.0, start=False, rows=0, rate=0.0) for kind in kinds
        }
        self._began: dict[str, tuple[float, int]] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, kind: str, rows: int, share: float) -> None:
        task = self._tasks[kind]
        if kind not in self._began:
            self._began[kind] = (time.monotonic(), rows)
            self._progress.start_task(task)
        since, before = self._began[kind]
        rate = (rows - before) / max(time.monotonic() - since, 0.001)
        self._progress.update(task, completed=share, rows=rows, rate=rate)
