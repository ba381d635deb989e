"""Who acts, in the words of the audit log."""

from __future__ import annotations

import getpass
import os


def command_line_actor() -> str:
    """Return who is at the command line."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name
        return f"cli:{os.getuid()}"
