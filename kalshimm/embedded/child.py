"""One process of `up` as the launcher sees it: started or adopted, followed, restarted, stopped."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from kalshimm.embedded.ending import end_process, send
from kalshimm.embedded.processes import BASE_DIR, Part, RunFile
from kalshimm.errors import KalshimmError
from kalshimm.runtime import backoff, home
from kalshimm.runtime.process import ProcessIdentity

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0  # alive that long, its earlier deaths are forgotten
READ_BYTES = 256 * 1024
KEEP_LOG_BYTES = 20 * 1024 * 1024  # a bigger log is set aside when its process starts


class LogTail:
    """Reads the lines that are appended to a file from now on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Return the whole lines that came since the last call."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                read = file.read(READ_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(read)
        *whole, self._rest = (self._rest + read).split(b"\n")
        return [line.decode(errors="replace").rstrip() for line in whole]


class Child:
    """A process in its own session, writing to a file: it neither hears our Ctrl-C nor needs us to live."""

    def __init__(self, part: Part, home_folder: Path, say: Callable[[str], None]) -> None:
        self.part = part
        self.home = home_folder
        self.attempts = 0
        self.exit_code = 0  # of its last death; negative for a signal
        self.last_line = ""
        self.identity: ProcessIdentity | None = None
        self.tail = LogTail(home.folder(home_folder, "log") / f"{part.name}.log")
        self._say = say
        self._popen: subprocess.Popen[bytes] | None = None
        self._environment: Mapping[str, str] = {}
        self._digest = ""
        self._since = 0.0
        self._again_at: float | None = None

    def start(self, environment: Mapping[str, str], digest: str) -> None:
        """Start the process, and remember with what for the next time."""
        self._environment, self._digest = environment, digest
        self._set_log_aside()
        try:
            with self.tail.path.open("ab") as log:
                self._popen = subprocess.Popen(
                    self.part.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=BASE_DIR,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as exc:
            raise KalshimmError(f"{self.part.name} could not be started ({exc.strerror or exc}).") from exc
        self._since, self._again_at = time.monotonic(), None
        self.identity = ProcessIdentity.of(self._popen.pid)
        if self.identity is None:  # ended before we could look: `watch` will say how
            self.identity = ProcessIdentity("", self._popen.pid, 0)
        else:
            RunFile(self.part.name, self.identity, self.part.argv, digest).write(self.home)
        self._say(f"started, pid {self._popen.pid}")

    def adopt(self, found: RunFile, environment: Mapping[str, str]) -> None:
        """Take over a process that an earlier `up` started."""
        self._environment, self._digest = environment, found.digest
        self._popen, self.identity = None, found.identity
        self._since = time.monotonic()
        self._say(f"still runs, pid {found.identity.pid}: reused")

    def keep_line(self, line: str) -> None:
        """Keep the line that a later `up` needs to reuse this process."""
        found = RunFile.read(self.home, self.part.name)
        if found is not None and found.identity == self.identity:
            msgspec.structs.replace(found, line=line).write(self.home)

    def watch(self) -> None:
        """Notice its death and start it again when that is due."""
        if self.identity is not None:
            end = self._end()
            if end is not None:
                self._note_death(end)
        elif self._again_at is not None and time.monotonic() >= self._again_at:
            self.start(self._environment, self._digest)

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill its whole session if it takes longer than `grace_s`."""
        self._again_at = None
        if self.identity is not None and self._end() is None:
            self._say(f"stopping, pid {self.identity.pid}")
            if not end_process(self.identity, grace_s, is_alive=lambda: self._end() is None):
                self._say(f"did not stop within {grace_s:.1f} s: killed")
        self.identity = None
        RunFile.path(self.home, self.part.name).unlink(missing_ok=True)

    def _end(self) -> str | None:
        """Return how the process ended, or None while it runs."""
        if self._popen is not None:
            code = self._popen.poll()
            if code is None:
                return None
            self.exit_code = code
            return f"exit {code}" if code >= 0 else signal.Signals(-code).name
        assert self.identity is not None
        return None if self.identity.lives() else "an exit that only its former launcher could see"

    def _note_death(self, end: str) -> None:
        self.attempts = 1 if time.monotonic() - self._since >= STEADY_S else self.attempts + 1
        delay_s = backoff.delay_s(self.attempts, first_s=FIRST_DELAY_S, most_s=LONGEST_DELAY_S, jitter=0.0)
        if self._popen is not None:
            send(self._popen.pid, signal.SIGKILL, whole_session=True)  # what it forked must not outlive it
        self.identity = None
        self._again_at = time.monotonic() + delay_s
        self._say(f"died with {end}, again in {delay_s:g} s (attempt {self.attempts})")

    def _set_log_aside(self) -> None:
        path = self.tail.path
        if path.exists() and path.stat().st_size > KEEP_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
            self.tail = LogTail(path)
