"""Named points at which a test lets a process die as `kill -9` would.

`KALSHIMM_CRASH=writer.before_commit` ends the process when it first comes to that point, `…:7` when it comes to it
for the seventh time. Without the variable a point does nothing; nobody sets it but tests.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "KALSHIMM_CRASH"

_name, _, _times = os.environ.get(VARIABLE, "").partition(":")
_left = int(_times or 1)


def point(name: str) -> None:
    """Die here if the environment says so."""
    global _left  # noqa: PLW0603 - one process dies once
    if name != _name:
        return
    _left -= 1
    if _left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
