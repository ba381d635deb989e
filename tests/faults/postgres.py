"""A PostgreSQL of one test, which may be stopped, broken and filled; and a disk that is soon full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import psycopg
import pytest

from kalshimm.embedded import account, binaries, postgres
from kalshimm.embedded.account import Account
from tests.faults.processes import ROOT

WITHIN_S = 60.0
MIGRATE_S = 120.0


class PrivatePostgres:
    """A durable server of a home of its own, with the product's tables in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url, _ = postgres.start(home)
        self._server = postgres.of(home)
        settings = {"DATABASE_URL": self.url, "KALSHIMM_HOME": str(home)}
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=MIGRATE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    @property
    def user(self) -> Account | None:
        """Whose processes the server's are; None for our own."""
        return self._server.user

    @property
    def data(self) -> Path:
        return self._server.data

    def restart(self, mode: str) -> None:
        """Stop it in mode fast or immediate and start it again with the same options, port included."""
        programs = binaries.postgres(self._server.user, self._server.state)
        argv = [programs / "pg_ctl", "-D", self._server.data, "-m", mode, "-w", "-l", self._server.log, "restart"]
        done = account.run(argv, self._server.user, timeout_s=WITHIN_S, quiet=True)
        assert done.returncode == 0, self._server.log.read_text()[-2_000:]

    def move_table(self, table: str, disk: Path) -> None:
        """Put a table and its indexes onto another disk."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")  # type: ignore[arg-type]
            admin.execute(f"ALTER TABLE {table} SET TABLESPACE small")  # type: ignore[arg-type]
            admin.execute(f"ALTER INDEX {table}_pkey SET TABLESPACE small")  # type: ignore[arg-type]

    def move_back(self, table: str) -> None:
        """Undo `move_table`, before its disk goes."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(f"ALTER TABLE {table} SET TABLESPACE pg_default")  # type: ignore[arg-type]
            admin.execute(f"ALTER INDEX {table}_pkey SET TABLESPACE pg_default")  # type: ignore[arg-type]
            admin.execute("DROP TABLESPACE small")

    def close(self) -> None:
        postgres.stop(self.home, within_s=10)
        postgres.purge(self.home)


class SmallDisk:
    """A file system in memory of a few MiB, which can be made larger. Needs root, as mounts do."""

    def __init__(self, path: Path, *, megabytes: int, owner: Account | None) -> None:
        self.path, self._megabytes, self._owner = path, megabytes, owner

    def __enter__(self) -> Self:
        self.path.mkdir()
        if self._owner is not None:
            for parent in self.path.parents:  # its account must be able to come here
                if parent.stat().st_uid == os.getuid() and parent != Path("/"):
                    parent.chmod(parent.stat().st_mode | 0o011)
        options = self._options(self._megabytes)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)], check=False)
        if mounted.returncode != 0:
            reason = "this machine does not let us mount a small file system"
            pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
        return self

    def __exit__(self, *_exc: object) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)

    def grow(self, *, megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,{self._options(megabytes)}", str(self.path)], check=True)

    def _options(self, megabytes: int) -> str:
        owner = "" if self._owner is None else f",uid={self._owner.uid},gid={self._owner.gid}"
        return f"size={megabytes}m,mode=700{owner}"
