"""End processes that lead their own sessions: asked first, killed when they do not listen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from kalshimm.embedded.processes import RunFile
from kalshimm.runtime.process import ProcessIdentity

StopTraders = Callable[[Path, float], list[int]]  # home and seconds → pids that had to be killed
KILLED_WAIT_S = 2.0
POLL_S = 0.02


def end_process(identity: ProcessIdentity, grace_s: float, is_alive: Callable[[], bool] | None = None) -> bool:
    """End a process that leads its own session; return False if it had to be killed.

    Args:
        is_alive: How to look; a parent passes its own, which also takes the exit status.
    """
    is_alive = is_alive or identity.lives
    send(identity.pid, signal.SIGTERM, whole_session=False)
    if _wait_until_gone(is_alive, grace_s):
        return True
    send(identity.pid, signal.SIGKILL, whole_session=True)
    _wait_until_gone(is_alive, KILLED_WAIT_S)
    return False


def end_left_over(
    home_folder: Path, grace_s: Callable[[], float], stop_traders: StopTraders, say: Callable[[str, str], None]
) -> bool:
    """End the processes that run files name, the youngest first, then the traders; return whether any was there.

    Args:
        grace_s: Asked each time how long the next one may take.
        say: Told a name and what happens to it.
    """
    living = RunFile.all_living(home_folder)
    for found in reversed(living):
        say(found.name, f"stopping, pid {found.identity.pid}")
        end_process(found.identity, grace_s())
        RunFile.path(home_folder, found.name).unlink(missing_ok=True)
    seconds = grace_s()
    for pid in stop_traders(home_folder, seconds):
        say("traders", f"pid {pid} did not stop within {seconds:.1f} s: killed")
    return bool(living)


def _wait_until_gone(is_alive: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def send(pid: int, number: signal.Signals, *, whole_session: bool) -> None:
    """Signal a process or the session it leads; one that has just ended is as good."""
    try:
        if whole_session:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended by itself in this moment
