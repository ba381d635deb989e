"""A database and a Valkey for one bench: thrown away at its end, with the product's own tables in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import sql

from kalshimm import env
from kalshimm.embedded import postgres, stores, valkey
from kalshimm.errors import KalshimmError, StoreSilent
from kalshimm.settings import BASE_DIR

MIGRATE_WITHIN_S = 120.0


class Scratch(msgspec.Struct, frozen=True):
    """Where they are."""

    database_url: str
    redis_url: str


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """Yield an empty, migrated database and an empty Valkey.

    The database lies in the server of DATABASE_URL if that is given, beside the installation's own, else in a server of
    a throw-away home, durable as the installation's are.

    Raises:
        KalshimmError: The database cannot be made.
    """
    home = Path(tempfile.mkdtemp(prefix="kalshimm-bench-"))
    try:
        with contextlib.ExitStack() as stack:
            given = env.secret("DATABASE_URL")
            if given:
                redis_url, _ = valkey.start(home)
                stack.callback(valkey.stop, home, within_s=stores.STOP_VALKEY_S)
                server_url = given
            else:
                with _variable("REDIS_URL", None):
                    in_use = stores.ensure(home)
                stack.callback(in_use.release)
                server_url, redis_url = in_use.addresses.database_url, in_use.addresses.redis_url
            yield Scratch(stack.enter_context(_database(server_url, home, redis_url)), redis_url)
    finally:
        postgres.purge(home)
        shutil.rmtree(home)


@contextlib.contextmanager
def _variable(name: str, value: str | None) -> Iterator[None]:
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _database(server_url: str, home: Path, redis_url: str) -> Iterator[str]:
    name = f"kalshimm_bench_{uuid.uuid4().hex[:8]}"
    try:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.OperationalError as exc:
        raise StoreSilent("PostgreSQL", exc) from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise KalshimmError(
            f"The bench needs a database of its own, and may not make one ({exc.diag.message_primary}); "
            "give DATABASE_URL a role with CREATEDB, or unset it for an embedded server."
        ) from exc
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    try:
        _migrate(url, redis_url, home)
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrate(url: str, redis_url: str, home: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BASE_DIR / "manage.py"), "migrate", "--verbosity", "0"],
        env=os.environ | {"DATABASE_URL": url, "REDIS_URL": redis_url, "KALSHIMM_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MIGRATE_WITHIN_S,
        check=False,
    )
    if done.returncode != 0:
        raise KalshimmError(f"The bench's database could not be migrated: {done.stderr.strip()[-500:]}")
