"""Named points at which a test lets a process die as `kill -9` would, or stand still as `kill -STOP` would.

`KALSHIMM_CRASH=writer.before_commit` ends the process when it first comes to that point, `…:7` when it comes to it
for the seventh time, and `…:1:STOP` stops it there until somebody continues it. Without the variable a point does
nothing; nobody sets it but tests. A forked process has it from the one that forked it.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "KALSHIMM_CRASH"
KILL, STOP = "KILL", "STOP"

_name, _times, _signal = (*os.environ.get(VARIABLE, "").split(":"), "", "")[:3]
_left = int(_times or 1)


def point(name: str) -> None:
    """Die here, or stand still, if the environment says so."""
    global _left  # noqa: PLW0603 - one process dies once
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.Signals[f"SIG{_signal or KILL}"])
