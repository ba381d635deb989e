"""The local exchange as a process of its own on loopback, for as long as a bench needs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import psutil

from feed.kalshi.signing import Signer
from kalshimm.errors import KalshimmError
from kalshimm.settings import BASE_DIR

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 5.0


class Ready(msgspec.Struct, frozen=True):
    """The line an exchange prints when it serves."""

    rest: str
    ws: str
    key_id: str
    private_key_path: str


class Venue:
    """A running exchange: where it is, how to sign for it, what it has cost."""

    def __init__(self, ready: Ready, pid: int) -> None:
        self.rest = ready.rest
        self.ws = ready.ws
        self.signer = Signer.from_file("local", ready.key_id, Path(ready.private_key_path))
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Return the processor time it has used so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Let it stand still, so that something else can be measured."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.asynccontextmanager
async def running(*options: str) -> AsyncIterator[Venue]:
    """Start the exchange with these options, and stop it at the end.

    Raises:
        KalshimmError: It does not come up in time.
    """
    with tempfile.TemporaryDirectory(prefix="kalshimm-bench-") as home:
        command = (str(BASE_DIR / "manage.py"), "exchange", "--port", "0", *options)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "KALSHIMM_HOME": home},
        )  # fmt: skip
        try:
            yield Venue(await _ready(process), process.pid)
        finally:
            await _stop(process)


async def _ready(process: asyncio.subprocess.Process) -> Ready:
    assert process.stdout is not None, "it was asked for"
    try:
        line = await asyncio.wait_for(process.stdout.readline(), READY_WITHIN_S)
        return msgspec.json.decode(line, type=Ready)
    except (TimeoutError, msgspec.DecodeError) as exc:
        raise KalshimmError("The local exchange did not start; `manage.py exchange` says why.") from exc


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
    except TimeoutError:
        process.kill()
        await process.wait()
