"""Tells that a process has ended the moment it does, so that nobody has to wait for the next look.

Only a hint: who lives is what the launcher says. Without pid handles (not Linux), and for what has none here, it tells
nothing, and the next look finds out.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from kalshimm.runtime.process import ProcessIdentity


class Deaths:
    """Watches processes from the event loop; `seen` is set when one of them ends, and cleared by who heeds it."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()
        self._handles: dict[ProcessIdentity, int] = {}

    def watch(self, processes: Iterable[ProcessIdentity]) -> None:
        """Watch these processes from now on, and no others."""
        wanted = set(processes)
        for process in self._handles.keys() - wanted:
            self._let_go(process)
        for process in wanted - self._handles.keys():
            self._watch(process)

    def close(self) -> None:
        self.watch(())

    def _watch(self, process: ProcessIdentity) -> None:
        try:
            handle = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            return
        self._handles[process] = handle
        asyncio.get_running_loop().add_reader(handle, self._ended, process)

    def _ended(self, process: ProcessIdentity) -> None:
        self._let_go(process)
        self.seen.set()

    def _let_go(self, process: ProcessIdentity) -> None:
        handle = self._handles.pop(process)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
