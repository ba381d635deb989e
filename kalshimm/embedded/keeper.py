"""Looks after the embedded stores of a running `up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from kalshimm.embedded import postgres, valkey
from kalshimm.embedded.ending import send
from kalshimm.embedded.processes import BASE_DIR
from kalshimm.embedded.stores import Stores

AGAIN_AFTER_S = 5.0
STOP_WAIT_S = 0.5


class StoreKeeper:
    """Has stores that died started again: at their old addresses, with their data, and without waiting for it.

    Args:
        say: Told a name, what happens to it, and whether that is trouble.
    """

    def __init__(self, stores: Stores, say: Callable[[str, str, bool], None]) -> None:
        self._home = stores.home
        self._embedded = stores.embedded
        self._say = say
        self._wanted: list[str] = []
        self._revival: subprocess.Popen[str] | None = None
        self._again_at = 0.0
        self._trouble = ""

    def look(self) -> None:
        """Notice a death or the end of an attempt; an attempt that fails is told once and made again."""
        if self._revival is None:
            self._begin()
        elif self._revival.poll() is not None:
            self._conclude(self._revival)

    def stop(self) -> None:
        """Give up an attempt that is under way; what it started already is stopped with the stores."""
        if self._revival is None:
            return
        try:
            self._revival.communicate(timeout=STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            send(self._revival.pid, signal.SIGKILL, whole_session=True)
            self._revival.communicate()
        self._revival = None

    def _begin(self) -> None:
        if time.monotonic() < self._again_at:
            return
        alive = {"postgres": postgres.lives, "valkey": valkey.lives}
        for name in self._embedded:
            if name not in self._wanted and not alive[name](self._home):
                self._wanted.append(name)
                self._say(name, "died, starting it again", True)
        if self._wanted:
            self._revival = subprocess.Popen(
                [sys.executable, "-m", "kalshimm.embedded.revival", str(self._home), *self._wanted],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                cwd=BASE_DIR,
                env=os.environ,
                start_new_session=True,
            )

    def _conclude(self, revival: subprocess.Popen[str]) -> None:
        self._revival = None
        _, said = revival.communicate()
        if revival.returncode == 0:
            for name in self._wanted:
                self._say(name, "runs again", False)
            self._wanted, self._trouble = [], ""
            return
        self._again_at = time.monotonic() + AGAIN_AFTER_S
        trouble = (said.splitlines() or [f"the attempt ended with exit {revival.returncode}"])[-1]
        if trouble != self._trouble:
            self._trouble = trouble
            self._say(" and ".join(self._wanted), trouble, True)
