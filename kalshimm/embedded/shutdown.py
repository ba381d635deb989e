"""`manage.py down`: stop what `up` runs, or what a killed `up` left, and delete the data when asked."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from kalshimm.embedded import launcher, postgres, stores
from kalshimm.embedded.ending import StopTraders, end_left_over
from kalshimm.errors import HomeNotWritable, KalshimmError
from kalshimm.runtime.process import ProcessIdentity

UP_STOPS_WITHIN_S = 20.0
POLL_S = 0.05
GRACE_S = 2.0
# Made by us and by nobody else; a home may be a folder that holds other things too.
OWN_NAMES = (
    "secret_key",
    "run",
    "log",
    "valkey",
    "postgres",
    "exchange",
    "traders",
    "static",
    "keys",
    "kill.json",
    "installation",
    "master_key",
)


def stop(home_folder: Path, stop_traders: StopTraders, say: Callable[[str], None]) -> bool:
    """Stop everything of this home; return whether anything ran.

    Raises:
        KalshimmError: The running `up` did not stop.
    """
    if not (home_folder / "run").is_dir():
        return False
    lock = launcher.lock_of(home_folder)
    if not lock.try_acquire():
        _ask_up(home_folder, lock.read_pid(), say)
        return True
    try:
        return _stop_left_over(home_folder, stop_traders, say)
    finally:
        lock.release()


def purge(home_folder: Path) -> None:
    """Delete what kalshimm keeps for this home; the folder itself too, if nothing else is in it."""
    try:
        postgres.purge(home_folder)
        for name in OWN_NAMES:
            path = home_folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if home_folder.is_dir() and not any(home_folder.iterdir()):
            home_folder.rmdir()
    except OSError as exc:
        raise HomeNotWritable(home_folder, exc.strerror or str(exc)) from exc


def _ask_up(home_folder: Path, pid: int | None, say: Callable[[str], None]) -> None:
    if pid is None:
        raise KalshimmError(
            f"An `up` runs on {home_folder}, but its lock does not say as which process; stop it there."
        )
    say(f"asking the running up to stop, pid {pid}")
    identity = ProcessIdentity.of(pid)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it is just leaving
    except PermissionError as exc:
        raise KalshimmError(f"Process {pid}, which runs `up`, belongs to somebody else; stop it there.") from exc
    deadline = time.monotonic() + UP_STOPS_WITHIN_S
    lock = launcher.lock_of(home_folder)
    # Its lock is free a moment before it is gone.
    while not lock.try_acquire() or (identity is not None and identity.lives()):
        if time.monotonic() > deadline:
            raise KalshimmError(
                f"Process {pid} did not stop within {UP_STOPS_WITHIN_S:.0f} s; end it and run this again."
            )
        time.sleep(POLL_S)
    lock.release()
    say("stopped")


def _stop_left_over(home_folder: Path, stop_traders: StopTraders, say: Callable[[str], None]) -> bool:
    found = end_left_over(home_folder, lambda: GRACE_S, stop_traders, lambda name, text: say(f"{name} {text}"))
    launcher.announcement_path(home_folder).unlink(missing_ok=True)
    stopped = stores.stop_left_over(home_folder)
    if stopped:
        say(f"stopped {' and '.join(stopped)}")
    return found or bool(stopped)


def describe_data(home_folder: Path) -> str:
    """Return in words what `purge` would delete."""
    state = postgres.of(home_folder).state
    present = [name for name in OWN_NAMES if (home_folder / name).exists()]
    elsewhere = f" and {state}" if state.exists() and not state.is_relative_to(home_folder) else ""
    return f"{', '.join(present) or 'nothing'} in {home_folder}{elsewhere}"
