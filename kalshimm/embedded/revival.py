"""Start embedded stores of a running `up` again: `python -m kalshimm.embedded.revival HOME STORE…`.

A process of its own, because a recovery can take minutes in which the launcher must hear a Ctrl-C; ending it frees
the lock it holds. The addresses to come back at are those in the environment, as for every other part.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kalshimm.embedded import stores
from kalshimm.errors import KalshimmError
from kalshimm.runtime.home import StoreAddresses


def main(argv: Sequence[str]) -> int:
    """Revive the named stores; return an exit code, with the reason in one line on stderr."""
    home_folder, *names = argv
    addresses = StoreAddresses(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
    try:
        stores.revive(Path(home_folder), names, addresses)
    except KalshimmError as exc:
        print(exc, file=sys.stderr)  # noqa: T201 - the one line
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
