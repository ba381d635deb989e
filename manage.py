#!/usr/bin/env python
"""Operate kalshimm from the command line."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshimm.settings")
    from kalshimm.commandline import execute

    execute(sys.argv)


if __name__ == "__main__":
    main()
