"""`manage.py record MARKET…`"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, connection

from feed.recorder import ROTATE_BYTES, Recorder
from feed.tapefile import SUFFIX
from kalshimm.errors import ConfigurationError, StoreSilent
from kalshimm.runtime import worker
from kalshimm.runtime.clock import SystemClock
from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.worker import wait_or_stop
from markets.models import Market

TELL_EVERY_S = 5.0
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Command(BaseCommand):
    help = (
        "Keep the full streams of chosen markets as compressed files, with gaps marked; `replay`, and `up --replay`, "
        "play them. Needs a running gateway. A book begins with the next snapshot on the tape."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("markets", nargs="*", metavar="MARKET", help="tickers")
        parser.add_argument(
            "--series", action="append", default=[], metavar="TICKER", help="every open market of it, new ones too"
        )
        parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=f"folder of the files (*{SUFFIX})")
        parser.add_argument("--for", dest="duration", type=_duration, metavar="DURATION", help="90s, 15m, 8h, 7d")
        parser.add_argument(
            "--rotate-mb", type=_positive, default=ROTATE_BYTES >> 20, metavar="N",
            help="begin another file after so much; each hour begins one too",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one JSON document on one line at the end")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not (options["markets"] or options["series"]):
            raise ConfigurationError("MARKET", "name at least one market, or a --series")
        out: Path = options["out"]
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError("--out", f"{out} cannot be made ({exc.strerror})") from exc
        recorder = Recorder(
            redis_url=settings.REDIS_URL,
            clock=SystemClock(),
            markets=sync_to_async(lambda: _markets(options["markets"], options["series"])),
            folder=out,
            holder=f"record-{os.getpid()}",
            rotate_bytes=options["rotate_mb"] << 20,
        )
        with exclusive(out / ".record.lock", what=f"A recording into {out}"):
            worker.main(lambda stop: self._record(recorder, stop, options["duration"]), name="record")
        done = recorder.done
        if options["json"]:
            self.stdout.write(msgspec.json.encode(done).decode())
            return
        self.stdout.write(f"{_told(recorder)}: {', '.join(done.files)}.")

    async def _record(self, recorder: Recorder, stop: asyncio.Event, duration: timedelta | None) -> None:
        over = asyncio.Event()

        async def end_in_time() -> None:
            if duration is not None:
                await wait_or_stop(stop, duration.total_seconds())
                stop.set()

        async def record() -> None:
            try:
                await recorder.run(stop)
            finally:
                over.set()
                stop.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(record(), name="recorder")
            tasks.create_task(_tell_until(over, recorder), name="tell")
            tasks.create_task(end_in_time(), name="end")


async def _tell_until(over: asyncio.Event, recorder: Recorder) -> None:
    """Say each few seconds how far it is, and once more at the end."""
    is_over = False
    while not is_over:
        is_over = await wait_or_stop(over, TELL_EVERY_S)
        print(_told(recorder), file=sys.stderr, flush=True)  # noqa: T201 - progress


def _told(recorder: Recorder) -> str:
    done = recorder.done
    where = f"{done.bytes:,} bytes in {len(done.files)} files"
    return f"{done.rows:,} rows of {done.markets} markets, {done.gaps} gaps, {where}"


def _markets(tickers: list[str], series: list[str]) -> frozenset[str]:
    """Return the tickers to record: the named, and the open ones of the series.

    Raises:
        StoreSilent: The database does not answer; it is connected anew when asked again.
    """
    try:
        return frozenset([*tickers, *_open_markets(series)])
    except (OperationalError, InterfaceError) as exc:
        connection.close()
        raise StoreSilent("PostgreSQL", exc) from exc


def _open_markets(series: list[str]) -> Iterator[str]:
    for name in series:
        of_series = Market.objects.filter(event__series_id=name)
        if not of_series.exists():
            raise ConfigurationError("--series", f"the catalogue has no market of {name}; run refresh_catalog")
        yield from of_series.filter(close_time__gt=datetime.now(UTC)).values_list("ticker", flat=True)


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 15m, 8h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number, at least 1")
    return int(text)
