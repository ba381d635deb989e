"""KALSHIMM_HOME: where everything of one installation lies, and who may read it.

secret_key            Django's, made on first use (0600)
installation          the number by which order ids name this installation, made on first use
keys/                 the exchange keys, encrypted (feed.keys); master_key beside it where none is kept elsewhere
run/                  stores.json (addresses and passwords, 0600), locks, one file a process, spawner.sock
log/                  one file a process
valkey/  postgres/    data of the embedded stores (as root PostgreSQL's lies in a system state folder)
exchange/             keys of the local exchange
traders/<id>/         start.json, journal, checkpoint.json, log of one trader
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from kalshimm.errors import HomeNotWritable, KalshimmError

INSTALLATION_BITS = 30  # as many as an order id has room for (markets.core.orderids)
# Some network file systems cannot be asked to: what they name is not ours to bring to a disk.
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP)


class StoreAddresses(msgspec.Struct, frozen=True):
    """Where the stores of a running stack answer; both contain passwords.

    `lasting` stores belong to an `up`, so a command that merely uses them leaves them running.
    """

    database_url: str
    redis_url: str
    lasting: bool = False


class ExchangeAddresses(msgspec.Struct, frozen=True):
    """Where a local exchange answers, from the line that it prints."""

    rest: str
    ws: str


class _RunFile(msgspec.Struct, frozen=True):
    """What `up` keeps of the exchange's process, as far as it matters here."""

    line: str


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


def write_private(path: Path, content: bytes, *, is_durable: bool = False) -> None:
    """Replace `path` in one step with a file only its owner can read.

    Args:
        is_durable: Whether it must be on the disk before it takes the place of the old one, and under its name there
            before this returns.

    Raises:
        HomeNotWritable: It cannot be written; what `path` names afterwards is whole, the old one or this.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                if is_durable:
                    file.flush()
                    os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)  # a full disk must not be filled up further with each try
            raise
        if is_durable:
            sync_folder(path.parent)
    except OSError as exc:
        raise HomeNotWritable(path, exc.strerror or str(exc)) from exc


def sync_folder(path: Path) -> None:
    """Bring to the disk what a folder names: after a power cut a file may else have its old name, or none.

    Raises:
        OSError: It cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def make_once(path: Path, content: bytes) -> None:
    """Write a private file unless another process was first: whoever reads it then reads the same.

    Raises:
        HomeNotWritable: It cannot be written.
    """
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(made, content, is_durable=True)
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(made)
        sync_folder(path.parent)
    except OSError as exc:
        raise HomeNotWritable(path, exc.strerror or str(exc)) from exc
    finally:
        made.unlink()


def secret_key(home: Path) -> str:
    """Return this installation's secret key, making it on first use."""
    path = home / "secret_key"
    if not path.exists():
        folder(home)
        write_private(path, secrets.token_urlsafe(48).encode())
    return path.read_text().strip()


def installation_number(home: Path) -> int:
    """Return the number of 30 bits by which our order ids name this installation, making it at random on first use.

    Raises:
        HomeNotWritable: It cannot be made.
        KalshimmError: The file holds something else.
    """
    path = home / "installation"
    if not path.exists():
        folder(home)
        make_once(path, f"{secrets.randbits(INSTALLATION_BITS)}\n".encode())
    text = path.read_text().strip()
    if not text.isdecimal() or int(text) >> INSTALLATION_BITS:
        raise KalshimmError(
            f"{path} holds no number below 2**{INSTALLATION_BITS}; put it back from a backup: orders at rest name it."
        )
    return int(text)


def running_stores(home: Path) -> StoreAddresses | None:
    """Return the addresses that `up` (or a command that started stores) left, or None."""
    try:
        return msgspec.json.decode(stores_file(home).read_bytes(), type=StoreAddresses)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None  # a file cut by a power failure tells no more than none
    except OSError as exc:
        raise HomeNotWritable(home, exc.strerror or str(exc)) from exc


def running_exchange(home: Path) -> ExchangeAddresses | None:
    """Return the addresses of the local exchange that `up` runs in this home, or None."""
    try:
        run = msgspec.json.decode((home / "run" / "exchange.process.json").read_bytes(), type=_RunFile)
        return msgspec.json.decode(run.line, type=ExchangeAddresses)
    except (OSError, msgspec.DecodeError):
        return None


def stores_file(home: Path) -> Path:
    return home / "run" / "stores.json"
