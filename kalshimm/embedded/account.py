"""Who runs the embedded PostgreSQL: it refuses to be run by root, so root hands it to an existing account."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kalshimm.errors import NotReachable

CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """An unprivileged account of this machine; it must have a passwd entry, or PostgreSQL does not start."""

    name: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)


def for_postgres() -> Account | None:
    """Return the account to run PostgreSQL as when we are root; None means: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise NotReachable(
        f"PostgreSQL cannot be run by root and none of the accounts {', '.join(CANDIDATES)} exists; "
        "run as an ordinary user, or set DATABASE_URL."
    )


def run(
    argv: Sequence[str | Path], account: Account | None, *, timeout_s: float, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a PostgreSQL tool as `account` in plain English, untouched by anybody's PG… variables.

    Args:
        quiet: Send output to nowhere; needed by whatever leaves a server behind, which would keep a pipe open.

    Raises:
        PermissionError: The account cannot reach the program.
        subprocess.TimeoutExpired: It took longer than `timeout_s`.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}
    sink = subprocess.DEVNULL if quiet else subprocess.PIPE
    privileges: dict[str, Any] = {}
    if account is not None:
        privileges = {"user": account.uid, "group": account.gid, "extra_groups": []}
    return subprocess.run(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        stdout=sink,
        stderr=sink,
        text=True,
        timeout=timeout_s,
        cwd="/",
        env=environment,
        check=False,
        **privileges,
    )
