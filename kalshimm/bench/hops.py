"""The ends of the ways that `bench latency` times, as processes: who sends at due times, who notes what has come.

    python -m kalshimm.bench.hops receiver --fd N        the far end of a socketpair: blocking reads, nothing else
    python -m kalshimm.bench.hops sender --fd N          its near end, sending at due times as the blaster does
    python -m kalshimm.bench.hops reader --ticker T      a trader's own stream reader on the store of the environment
    python -m kalshimm.bench.hops spinner --cpu N        keeps a core awake, at the lowest priority

All but the spinner take a line {"count", "rate"}, say when they are ready, do it once, tell what they saw and wait for
the next line; they end with their input. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from feed.schema import BookDelta
from kalshimm.bench.blaster import due
from kalshimm.errors import KalshimmError
from kalshimm.runtime.resp import Pipe
from kalshimm.runtime.worker import runner
from traders.feedview import StreamReader

MESSAGE = b"x" * 264  # as long as a delta's WebSocket frame
RECEIVE_BYTES = 1 << 16
READ_BLOCK_MS = 500
LOWEST_PRIORITY = 19
AUTOGROUP = Path("/proc/self/autogroup")


class Task(msgspec.Struct, frozen=True):
    """How many messages come or go this time, and at what rate."""

    count: int
    rate: float


class Armed(msgspec.Struct, frozen=True):
    """From now on everything is noticed."""


class Sent(msgspec.Struct, frozen=True):
    """The nth message was due `(n − 1) / rate` after `began_s`."""

    began_s: float


class Seen(msgspec.Struct, frozen=True):
    """When each message had come, in their order."""

    at_s: list[float]


def _send(end: socket.socket, task: Task) -> Sent:
    began_s = time.monotonic()
    for count in due(task.count, task.rate, step_s=0.0):
        end.sendall(MESSAGE * count)
    return Sent(began_s)


def _receive(end: socket.socket, task: Task) -> Seen:
    at_s: list[float] = []
    bytes_seen = 0
    while len(at_s) < task.count:
        received = len(end.recv(RECEIVE_BYTES))
        now_s = time.monotonic()
        if not received:
            raise KalshimmError("The sender is gone.")
        bytes_seen += received
        at_s += [now_s] * (bytes_seen // len(MESSAGE) - len(at_s))
    return Seen(at_s)


class Reader:
    """What a trader runs to follow its market, without the trader."""

    def __init__(self, ticker: str) -> None:
        self._reader = StreamReader(Pipe(os.environ["REDIS_URL"]), trader=1, ticker=ticker, control_id="0-0")

    async def locate(self) -> None:
        await self._reader.locate()

    async def follow(self, task: Task) -> Seen:
        at_s: list[float] = []
        while len(at_s) < task.count:
            batch = await self._reader.read(block_ms=READ_BLOCK_MS, now_s=time.monotonic())
            now_s = time.monotonic()
            at_s += [now_s] * sum(isinstance(event, BookDelta) for event in batch.events)
            if batch.lost:
                raise KalshimmError("The reader was overtaken: entries were trimmed before it read them.")
        return Seen(at_s)


def _tasks() -> Iterator[Task]:
    for line in sys.stdin.buffer:
        yield msgspec.json.decode(line, type=Task)


def _say(what: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def _run_end(role: str, descriptor: int) -> None:
    end = socket.socket(fileno=descriptor)
    for task in _tasks():
        if role == "receiver":
            _say(Armed())
        _say(_send(end, task) if role == "sender" else _receive(end, task))


async def _run_reader(ticker: str) -> None:
    reader = Reader(ticker)
    await reader.locate()
    for task in _tasks():  # blocks the loop while nothing is to be read anyway
        _say(Armed())
        _say(await reader.follow(task))


def _spin(cpu: int) -> None:
    """Burn what nobody else wants of one processor, until the bench is gone."""
    # Linux shares processors out by session first (autogroup): in ours, the spinner would take from what it shall help.
    os.setsid()
    if AUTOGROUP.exists():
        AUTOGROUP.write_text(str(LOWEST_PRIORITY))
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    if hasattr(os, "SCHED_IDLE"):
        # A processor that runs nothing else counts as idle: whoever wakes is put there, as without a spinner.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})
    parent = os.getppid()
    while os.getppid() == parent:
        for _ in range(10_000):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description="One end of a way that is timed.")
    parser.add_argument("role", choices=("receiver", "sender", "reader", "spinner"))
    parser.add_argument("--fd", type=int, default=-1)
    parser.add_argument("--ticker", default="")
    parser.add_argument("--cpu", type=int, default=0)
    options = parser.parse_args()
    if options.role == "spinner":
        _spin(options.cpu)
    elif options.role == "reader":
        with runner() as loop:  # the loop that a trader runs on
            loop.run(_run_reader(options.ticker))
    else:
        _run_end(options.role, options.fd)


if __name__ == "__main__":
    main()
