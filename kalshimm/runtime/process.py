"""Identity of a process: a pid alone may be somebody else's tomorrow."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import msgspec
import psutil


@functools.cache
def boot_id() -> str:
    """Return an id of this boot of the machine."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.exists():
        return path.read_text().strip()
    return f"booted-{int(psutil.boot_time())}"


START_TOLERANCE_US = 2_000_000  # the kernel's boot time, from which start times count, moves with clock corrections


class ProcessIdentity(msgspec.Struct, frozen=True):
    """A process for sure: boot, pid and start time (microseconds since 1970)."""

    boot_id: str
    pid: int
    started_us: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Return the identity of a living process, or None (a zombie does not live)."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(boot_id(), pid, int(process.create_time() * 1_000_000))
        except psutil.Error:
            return None

    @classmethod
    def own(cls) -> ProcessIdentity:
        identity = cls.of(os.getpid())
        assert identity is not None, "this process lives"
        return identity

    def lives(self) -> bool:
        """Whether exactly this process still runs."""
        now = ProcessIdentity.of(self.pid)
        return (
            now is not None
            and now.boot_id == self.boot_id
            and abs(now.started_us - self.started_us) < START_TOLERANCE_US
        )
