"""`up --detach`: the launcher in the background, its output in a file."""

from __future__ import annotations

import signal
import subprocess
import time

import msgspec

from kalshimm.embedded import launcher, processes
from kalshimm.embedded.launcher import Announcement
from kalshimm.embedded.processes import Choice
from kalshimm.errors import AlreadyRunning, KalshimmError
from kalshimm.runtime import home

POLL_S = 0.1
WITHIN_S = launcher.READY_WITHIN_S + 60.0
STOP_WITHIN_S = 15.0


class StartFailed(KalshimmError):
    """The launcher in the background gave up; leaves with its exit code."""

    def __init__(self, last_line: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(last_line)


def start(choice: Choice) -> Announcement:
    """Start `up` in the background and return what it announces when everything is ready.

    Raises:
        KalshimmError: What kept it from getting ready; nothing is left running.
    """
    launcher.preflight(choice)
    lock = launcher.lock_of(choice.home)
    if not lock.try_acquire():
        raise AlreadyRunning(f"KALSHIMM_HOME {choice.home}", lock.read_pid())
    lock.release()
    announcement = launcher.announcement_path(choice.home)
    announcement.unlink(missing_ok=True)
    log = home.folder(choice.home, "log") / "up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            processes.manage("up", *processes.arguments(choice)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=processes.BASE_DIR,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + WITHIN_S
        while not announcement.exists():
            code = process.poll()
            if code is not None:
                *_, last = ["up ended without a word", *log.read_text(errors="replace").split("\n")[:-1]]
                raise StartFailed(f"{last} (see {log})", code if code > 0 else 1)
            if time.monotonic() > deadline:
                raise KalshimmError(f"Not ready within {WITHIN_S:.0f} s; see {log}.")
            time.sleep(POLL_S)
    except BaseException:
        _stop(process)
        raise
    return msgspec.json.decode(announcement.read_bytes(), type=Announcement)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    process.wait(STOP_WITHIN_S)
