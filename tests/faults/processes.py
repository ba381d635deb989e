"""Real processes for fault rows: started, frozen, killed and stopped by the pid noted here, nothing else."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from kalshimm.embedded import valkey
from kalshimm.runtime.process import ProcessIdentity
from tests.faults.log import FaultLog

ROOT = Path(__file__).resolve().parents[2]
END_S = 20.0
POLL_S = 0.01


class Worker:
    """One `manage.py …` process; what it says goes to `<folder>/<name>.log`.

    Args:
        argv: Behind `manage.py`.
        settings: Environment variables on top of the test's own.
    """

    stdin = subprocess.DEVNULL

    def __init__(self, name: str, argv: list[str], settings: dict[str, str], *, folder: Path, log: FaultLog) -> None:
        self.name, self.argv, self.settings = name, argv, settings
        self.log_path = folder / f"{name}.log"
        self.says_to: Path | None = None  # instead, for rows about where logs go
        self.through: tuple[str, ...] = ()  # a command that becomes this one, in another surrounding
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._output: IO[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """With what its last life ended; None while it runs, or before it ever did."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it; what an earlier life wrote stays in the log."""
        assert not self.is_running, f"{self.name} runs already"
        with (self.says_to or self.log_path).open("a") as output:
            self._process = subprocess.Popen(
                [*self.through, *self.command()],
                env=os.environ | self.settings,
                stdin=self.stdin,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        """Return what is run."""
        return [sys.executable, str(ROOT / "manage.py"), *self.argv]

    def first_line(self) -> str:
        """Return the next line of its standard output; empty when it ended without one."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def kill(self) -> None:
        """End it as a crash does."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(END_S)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT, is_fault=False)

    def allow_file_bytes(self, most: int) -> None:
        """Have every write to a file beyond so many bytes fail from now, as on a full disk; Linux only."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        self._log.note("store", f"no file of {self.name} may grow beyond {most} bytes")

    def terminate(self) -> None:
        """Ask it to end, as anybody with a shell may, and do not wait."""
        self._signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ask it to end, and return its exit code; a frozen one is thawed first."""
        if self.is_running:
            self._signal(signal.SIGTERM, is_fault=False)
            self._signal(signal.SIGCONT, is_fault=False)
        return self.wait()

    def wait(self, within_s: float = END_S) -> int:
        assert self._process is not None
        return self._process.wait(within_s)

    def begin_close(self) -> None:
        """Ask it to end without waiting for it, so that several may end at once."""
        if self._process is not None and self.is_running:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it whatever state it is in."""
        if self._process is None:
            return
        if self.is_running:
            self.begin_close()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def output(self) -> str:
        return self.log_path.read_text() if self.log_path.exists() else ""

    def _signal(self, number: signal.Signals, *, is_fault: bool = True) -> None:
        assert self._process is not None
        assert self.is_running, f"{self.name} does not run: {self.output()[-2_000:]}"
        self._process.send_signal(number)
        if is_fault:
            self._log.note("process", f"{number.name} to {self.name} (pid {self._process.pid})")


@contextmanager
def starved(worker: Worker, log: FaultLog, *, stopped_s: float, running_s: float) -> Iterator[None]:
    """Give a process its share of a core in rare slices, as a machine does that has none to spare."""
    pid, is_over = worker.pid, threading.Event()

    def deal() -> None:
        while not is_over.is_set() and worker.is_running:
            os.kill(pid, signal.SIGSTOP)
            is_over.wait(stopped_s)
            os.kill(pid, signal.SIGCONT)
            is_over.wait(running_s)

    log.note("process", f"{worker.name} has the core for {running_s} s, then not for {stopped_s} s, again and again")
    dealing = threading.Thread(target=deal, name=f"starve-{worker.name}", daemon=True)
    dealing.start()
    try:
        yield
    finally:
        is_over.set()
        dealing.join(END_S)


@contextmanager
def crowded(worker: Worker, log: FaultLog, *, spinners: int) -> Iterator[None]:
    """Let others want the cores at all times, and give a process of low priority what they leave."""
    nice = [sys.executable, "-c", "import os; os.nice(19)\nwhile True: pass"]
    crowd = [subprocess.Popen(nice, stdin=subprocess.DEVNULL) for _ in range(spinners)]
    os.sched_setscheduler(worker.pid, os.SCHED_IDLE, os.sched_param(0))
    log.note("process", f"{spinners} processes spin, and {worker.name} has the lowest priority there is")
    try:
        yield
    finally:
        for one in crowd:
            one.kill()
            one.wait()


class PrivateValkey:
    """A Valkey of one home, with its append-only file on; killed and started again at the same address."""

    def __init__(self, home: Path, log: FaultLog) -> None:
        self.home, self._log = home, log
        valkey.start(home)
        self.url = self._noted().port_url  # where a tap can stand before it

    def kill(self) -> None:
        """End it as a crash does; its files stay."""
        identity: ProcessIdentity = self._noted().identity
        assert identity.lives(), "it runs"
        os.kill(identity.pid, signal.SIGKILL)
        while identity.lives():
            time.sleep(POLL_S)
        self._log.note("store", f"SIGKILL to valkey (pid {identity.pid})")

    def start(self, *, empty: bool = False) -> None:
        """Start it again where it was, with what its append-only file holds, or with nothing."""
        if empty:
            for path in sorted((self.home / "valkey" / "appendonlydir").glob("*")):
                path.unlink()
            self._log.note("store", "valkey starts empty")
        valkey.start(self.home)
        assert self._noted().port_url == self.url, "the same address"

    def _noted(self) -> valkey.ServerFile:
        return msgspec.json.decode((self.home / "valkey" / "server.json").read_bytes(), type=valkey.ServerFile)

    def close(self) -> None:
        valkey.stop(self.home, within_s=5)
