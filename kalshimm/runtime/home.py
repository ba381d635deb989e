"""KALSHIMM_HOME: where everything of one installation lies, and who may read it.

secret_key            Django's, made on first use (0600)
run/                  stores.json (addresses and passwords, 0600), locks, one file a process, spawner.sock
log/                  one file a process
valkey/  postgres/    data of the embedded stores (as root PostgreSQL's lies in a system state folder)
exchange/             keys of the local exchange
traders/<id>/         start.json, journal, checkpoint.json, log of one trader
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from kalshimm.errors import HomeNotWritable


class StoreAddresses(msgspec.Struct, frozen=True):
    """Where the stores of a running stack answer; both contain passwords.

    `lasting` stores belong to an `up`, so a command that merely uses them leaves them running.
    """

    database_url: str
    redis_url: str
    lasting: bool = False


def locate(base: Path) -> Path:
    """Return KALSHIMM_HOME as an absolute path: the variable, else `.kalshimm` beside manage.py."""
    return Path(os.environ.get("KALSHIMM_HOME") or base / ".kalshimm").expanduser().absolute()


def folder(home: Path, *parts: str) -> Path:
    """Return a folder of the home, made private (0700) where it is missing.

    Raises:
        HomeNotWritable: It cannot be made or written.
    """
    path = home.joinpath(*parts)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)  # parents=True would leave the home itself readable to all
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise HomeNotWritable(home, exc.strerror or str(exc)) from exc
    if not os.access(path, os.W_OK | os.X_OK):
        raise HomeNotWritable(home, "permission denied")
    return path


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` in one step with a file only its owner can read."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError as exc:
        raise HomeNotWritable(path, exc.strerror or str(exc)) from exc


def secret_key(home: Path) -> str:
    """Return this installation's secret key, making it on first use."""
    path = home / "secret_key"
    if not path.exists():
        folder(home)
        write_private(path, secrets.token_urlsafe(48).encode())
    return path.read_text().strip()


def running_stores(home: Path) -> StoreAddresses | None:
    """Return the addresses that `up` (or a command that started stores) left, or None."""
    try:
        return msgspec.json.decode(stores_file(home).read_bytes(), type=StoreAddresses)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None  # a file cut by a power failure tells no more than none
    except OSError as exc:
        raise HomeNotWritable(home, exc.strerror or str(exc)) from exc


def stores_file(home: Path) -> Path:
    return home / "run" / "stores.json"
