"""Another wall clock for a whole rig, or one that moves for single processes; monotonic time is left alone.

Python looks for a module `sitecustomize` before it does anything else; ours moves the two functions of `time` that tell
the wall clock. The stores keep the machine's.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULE = """
import os
import time

_BY_NS = int(os.environ["SHIFTED_BY_S"]) * 1_000_000_000
_time_ns = time.time_ns
time.time_ns = lambda: _time_ns() + _BY_NS
time.time = lambda: time.time_ns() / 1e9
"""

MOVING = """
import mmap
import os
import struct
import time

with open(os.environ["CLOCK_FILE"], "rb") as file:
    _ahead = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
_time_ns = time.time_ns
time.time_ns = lambda: _time_ns() + struct.unpack_from("q", _ahead)[0]
time.time = lambda: time.time_ns() / 1e9
"""


class MovingClock:
    """A wall clock for whoever is started with its `settings`: set while they run, as by hand or by a time service."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(MOVING)
        path = folder / "ahead"
        path.write_bytes(bytes(8))
        self._folder, self._path = folder, path
        with path.open("r+b") as file:
            self._ahead = mmap.mmap(file.fileno(), 8)

    def settings(self, before: str = "") -> dict[str, str]:
        """Return environment variables; `before` is what the path of packages was."""
        path = os.pathsep.join(filter(None, [str(self._folder), before]))
        return {"PYTHONPATH": path, "CLOCK_FILE": str(self._path)}

    @property
    def ahead_us(self) -> int:
        ahead_ns: int = struct.unpack_from("q", self._ahead)[0]
        return ahead_ns // 1_000

    def set_ahead(self, seconds: int) -> None:
        """Let it show so much more than the machine's; less where that is negative."""
        struct.pack_into("q", self._ahead, 0, seconds * 1_000_000_000)


@contextmanager
def shifted(by_s: int, folder: Path) -> Iterator[None]:
    """Have the wall clock show another time while this lasts.

    Args:
        folder: For the module; on the path of what is started meanwhile.
    """
    (folder / "sitecustomize.py").write_text(MODULE)
    real, real_ns, by_ns = time.time, time.time_ns, by_s * 1_000_000_000
    kept = {name: os.environ.get(name) for name in ("PYTHONPATH", "SHIFTED_BY_S")}
    os.environ |= {"PYTHONPATH": str(folder), "SHIFTED_BY_S": str(by_s)}
    time.time_ns, time.time = (lambda: real_ns() + by_ns), (lambda: real() + by_s)
    try:
        yield
    finally:
        time.time, time.time_ns = real, real_ns
        for name, value in kept.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
