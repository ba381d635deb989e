"""Another wall clock for a whole rig: this process and every one that it starts, with monotonic time left alone.

Python looks for a module `sitecustomize` before it does anything else; ours moves the two functions of `time` that tell
the wall clock. The stores keep the machine's.
"""

from __future__ import annotations

import os
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
