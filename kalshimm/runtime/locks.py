"""Advisory file locks: released by the kernel however their holder ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from kalshimm.errors import AlreadyRunning, HomeNotWritable, NotReachable

try:
    import fcntl
except ImportError as exc:  # pragma: no cover - Windows
    raise NotReachable(
        "The embedded stores and `up` run on Linux and macOS only; "
        "set DATABASE_URL and REDIS_URL and start the workers one by one, or use WSL."
    ) from exc

POLL_S = 0.05


class FileLock:
    """A lock on one file, held by this process (and not by its children) until `release` or its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Take the lock if it is free, or change how it is held; return whether it is ours now."""
        if self._descriptor is None:
            self._descriptor = self._open()
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def write(self, text: str) -> None:
        """Replace what the file says about its holder."""
        assert self._descriptor is not None, "only a holder writes"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def read_pid(self) -> int | None:
        """Return the pid that the last holder wrote, or None."""
        try:
            return int(self.path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    @contextlib.contextmanager
    def held(self, *, within_s: float) -> Iterator[None]:
        """Hold the lock alone, waiting for it at most `within_s`."""
        deadline = time.monotonic() + within_s
        while not self.try_acquire():
            if time.monotonic() > deadline:
                raise NotReachable(f"{self.path} has been locked by another command for {within_s:.0f} s; try again.")
            time.sleep(POLL_S)
        try:
            yield
        finally:
            self.release()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise HomeNotWritable(self.path, exc.strerror or str(exc)) from exc


@contextlib.contextmanager
def exclusive(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock file `path` for the time of the block; the kernel frees it however the process ends.

    Args:
        what: What is locked, in words, for the message.

    Raises:
        AlreadyRunning: Somebody else holds it.
    """
    lock = FileLock(path)
    if not lock.try_acquire():
        raise AlreadyRunning(what, lock.read_pid())
    try:
        lock.write(str(os.getpid()))
        yield
    finally:
        lock.release()
