"""Invariant 8: no secret leaks. Secrets are known here by their text, and looked for wherever anybody might read.

A secret's own files are no leak, nor is the environment of a process that was given it to work with.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

PART_BYTES = 24  # so much of a secret's text in one place is no accident
TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
"""


def parts_of_pem(path: Path) -> set[bytes]:
    """Return what of a private key's body can be found by: one part of each of its lines."""
    lines = path.read_bytes().splitlines()
    return {line[:PART_BYTES] for line in lines if not line.startswith(b"-----") and len(line) >= PART_BYTES}


def forms_of(secret: bytes) -> set[bytes]:
    """Return a secret as it is, and as text that might stand for it."""
    return {secret, base64.b64encode(secret)[:PART_BYTES], secret.hex().encode()}


class Hunt:
    """Looks for parts of secrets.

    Args:
        secrets: Parts to be found, by the name of what they are of.
    """

    def __init__(self, secrets: dict[str, set[bytes]]) -> None:
        self._secrets = secrets
        self.places = 0

    def _in(self, text: bytes, place: str) -> list[str]:
        self.places += 1
        return [
            f"I8 {name} stands in {place}" for name, parts in self._secrets.items() if any(p in text for p in parts)
        ]

    def files(self, folder: Path, *, own: Iterable[Path]) -> list[str]:
        """Look through every file below a folder but those that are the secrets'."""
        spared = set(own)
        found = [path for path in folder.rglob("*") if path.is_file() and spared.isdisjoint((path, *path.parents))]
        return [problem for path in found for problem in self._in(path.read_bytes(), str(path.relative_to(folder)))]

    def tables(self, database_url: str) -> list[str]:
        """Look through every row of every table, as text."""
        problems = []
        with psycopg.connect(database_url) as connection:
            for schema, table in connection.execute(TABLES).fetchall():
                name = sql.Identifier(schema, table)
                with connection.cursor().copy(
                    sql.SQL("COPY (SELECT t::text FROM {} t) TO STDOUT").format(name)
                ) as rows:
                    problems += self._in(b"".join(map(bytes, rows)), f"table {table}")
        return problems

    def processes(self, pids: Iterable[int]) -> list[str]:
        """Look through the arguments and the environment of processes."""
        problems = []
        for pid in pids:
            process = psutil.Process(pid)
            words = [*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())]
            problems += self._in("\0".join(words).encode(), f"arguments or environment of {process.cmdline()[:4]}")
        return problems
