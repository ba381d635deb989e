"""A private PostgreSQL of one home: started, or found running and reused, and stopped.

As an ordinary user everything lies in `<home>/postgres`. Root cannot run PostgreSQL and another account cannot be
expected to reach root's home, so root's data lies in `/var/lib/kalshimm/<hash of the home>`, owned by that account.
The password stays in the home in both cases: data whose password is gone belonged to a home that was removed.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from kalshimm.embedded import account, binaries, ports
from kalshimm.embedded.account import Account
from kalshimm.errors import HomeNotWritable, NotReachable
from kalshimm.runtime import home

logger = logging.getLogger(__name__)

SYSTEM_STATE = Path("/var/lib/kalshimm")
USER = DATABASE = "kalshimm"
INITDB_TIMEOUT_S = 120.0
START_TIMEOUT_S = 120  # recovery after a crash reads up to max_wal_size
LOCK_LINGERS_S = 10.0  # of a killed server: until its backends have noticed and init has reaped them
PASSING_PROBLEMS = ("already exists", "is still in use", "Address already in use")
RETRY_S = 0.25
CONNECT_TIMEOUT_S = 5

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "max_connections": "200",
    "max_logical_replication_workers": "0",
    # Small machine, much COPY: few checkpoints, WAL in big strides, plans for an SSD, no just-in-time compiler.
    "shared_buffers": "192MB",
    "wal_buffers": "16MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
}
# For databases that are thrown away: nothing survives a power failure.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Server:
    """One home's server: where it lies and who runs it."""

    state: Path
    password_file: Path
    user: Account | None

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def log(self) -> Path:
        return self.state / "server.log"


def of(home_folder: Path) -> Server:
    """Return the description of a home's server, made or not."""
    user = account.for_postgres()
    own = home_folder / "postgres"
    state = own if user is None else SYSTEM_STATE / hashlib.sha256(str(home_folder).encode()).hexdigest()[:16]
    return Server(state, own / "password", user)


def start(home_folder: Path, *, durable: bool = True) -> tuple[str, bool]:
    """Return the URL of this home's database and whether the server was started for it or ran already.

    After a crash it comes back on the port it had, so that whoever survived finds it again.

    Args:
        durable: False for tests, whose data is thrown away.

    Raises:
        NotReachable: No server programs, or the server does not start; the message says why.
        HomeNotWritable: The data cannot be stored.
    """
    server = of(home_folder)
    password = _password(home_folder, server)
    try:
        _make_state(server)
        url = running_url(server, password)
        return (url, False) if url is not None else (_start(server, password, durable=durable), True)
    except subprocess.TimeoutExpired as exc:
        raise NotReachable(f"PostgreSQL did not answer within {exc.timeout:.0f} s; see {server.log}.") from exc
    except OSError as exc:
        raise HomeNotWritable(server.state, exc.strerror or str(exc)) from exc


def stop(home_folder: Path, *, within_s: float) -> bool:
    """Stop this home's server if one runs; return whether one did.

    Past `within_s` its sessions are cut without a checkpoint: nothing committed is lost, the next start recovers.
    """
    server = of(home_folder)
    if not (server.data / "postmaster.pid").exists():
        return False
    return _pg_ctl_stop(server, binaries.postgres(server.user, server.state), within_s=within_s)


def lives(home_folder: Path) -> bool:
    """Return whether the postmaster that this home's data names still runs."""
    pid = _noted_pid(of(home_folder))
    return pid is not None and _is_postmaster(pid)


def purge(home_folder: Path) -> None:
    """Delete the data of a stopped server; the home's own folders are the caller's to delete."""
    server = of(home_folder)
    if server.state.exists():
        shutil.rmtree(server.state)


def running_url(server: Server, password: str) -> str | None:
    """Return the URL of the server that runs on this data, or None.

    The postmaster's file names the port; that our password opens it and that it serves this folder proves it ours.
    """
    port = _noted_port(server)
    if port is None:
        return None
    try:
        with _connect(port, password, dbname="postgres") as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
            if row is None or Path(row[0]) != server.data:
                return None
            _make_database(connection)
    except psycopg.OperationalError:
        return None
    return _url(port, password)


def _noted_pid(server: Server) -> int | None:
    try:
        return int((server.data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _is_postmaster(pid: int) -> bool:
    """Return whether a PostgreSQL lives under this pid, and not a zombie or somebody who got the number later."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.name().startswith("postgres")
    except psutil.Error:
        return False


def _disown_lock_file(server: Server) -> None:
    """Let a new postmaster past the lock file of a dead one.

    PostgreSQL takes any living pid in it for a running server: a zombie that nobody reaps, or another process that
    got the number after a restart of the machine. Only the pid is exchanged, for one that was just reaped; the rest
    of the file still makes it check that no old backend holds the shared memory.
    """
    pid = _noted_pid(server)
    if pid is None or not psutil.pid_exists(pid) or _is_postmaster(pid):
        return
    reaped = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    reaped.wait()
    path = server.data / "postmaster.pid"
    first, rest = path.read_text().split("\n", 1)
    logger.info("the lock file of PostgreSQL names process %s, which is none; taken as left over", first)
    path.write_text(f"{reaped.pid}\n{rest}")  # in place: it keeps its owner and mode


def _noted_port(server: Server) -> int | None:
    """Return the port in the postmaster's file; None without a server, or with one that is only starting."""
    try:
        return int((server.data / "postmaster.pid").read_text().splitlines()[3])
    except (OSError, ValueError, IndexError):
        return None


def _pg_ctl_stop(server: Server, programs: Path, *, within_s: float) -> bool:
    """Stop the server, in the end without a checkpoint; return whether there was one to stop."""
    for mode in ("fast", "immediate"):
        patience = str(max(1, round(within_s)))
        argv = [str(programs / "pg_ctl"), "-D", str(server.data), "-m", mode, "-w", "-t", patience, "stop"]
        if account.run(argv, server.user, timeout_s=within_s + 5).returncode == 0:
            return True
    return False


def _start(server: Server, password: str, *, durable: bool) -> str:
    programs = binaries.postgres(server.user, server.state)
    if not server.data.exists():
        _initdb(server, programs, password)
    _require_version(server, programs)
    settings = SETTINGS if durable else SETTINGS | NOT_DURABLE
    try:
        return _start_patiently(server, programs, password, settings)
    except BaseException:
        # Also after a Ctrl-C or a timeout of pg_ctl, whose server may be on its way up.
        _pg_ctl_stop(server, programs, within_s=5.0)
        raise


def _start_patiently(server: Server, programs: Path, password: str, settings: dict[str, str]) -> str:
    deadline = time.monotonic() + LOCK_LINGERS_S
    while True:
        _disown_lock_file(server)
        problem = _try_start(server, programs, settings)
        url = running_url(server, password)
        if url is not None:
            return url
        can_pass = any(words in problem for words in PASSING_PROBLEMS)
        if not can_pass or time.monotonic() > deadline:
            raise NotReachable(f"PostgreSQL did not start: {problem or 'it refuses our password'}; see {server.log}.")
        time.sleep(RETRY_S)


def _try_start(server: Server, programs: Path, settings: dict[str, str]) -> str:
    """Start the server on a free port; return "" or what its log says against it."""
    seen = server.log.stat().st_size if server.log.exists() else 0
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    options += f" -c port={ports.free_port(preferred=_noted_port(server))}"
    argv = [str(programs / "pg_ctl"), "-D", str(server.data), "-w", "-t", str(START_TIMEOUT_S), "-l", str(server.log)]
    done = account.run([*argv, "-o", options, "start"], server.user, timeout_s=START_TIMEOUT_S + 10, quiet=True)
    if done.returncode == 0:
        return ""
    written = server.log.read_bytes()[seen:].decode(errors="replace") if server.log.exists() else ""
    complaints = re.findall(r"^.*?(?:FATAL|ERROR|PANIC|LOG):\s+(.*)$", written, re.MULTILINE)
    fatal = re.findall(r"^.*?(?:FATAL|PANIC):\s+(.*)$", written, re.MULTILINE)
    return str((fatal or complaints or [f"pg_ctl ended with exit {done.returncode}"])[0])


def _initdb(server: Server, programs: Path, password: str) -> None:
    """Make the cluster aside and move it into place, so that an interrupted one is never taken for whole."""
    making = server.state / "data-new"
    if making.exists():
        shutil.rmtree(making)
    password_file = server.state / "password-once"
    home.write_private(password_file, password.encode())
    if server.user is not None:
        server.user.own(password_file)
    try:
        done = account.run(
            [
                programs / "initdb",
                *("-D", making, "-U", USER, f"--pwfile={password_file}"),
                *("--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8"),
                "--no-sync",
            ],
            server.user,
            timeout_s=INITDB_TIMEOUT_S,
        )
    finally:
        password_file.unlink()
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise NotReachable(f"PostgreSQL's initdb failed in {server.state} ({reason}).")
    making.rename(server.data)


def _require_version(server: Server, programs: Path) -> None:
    """Raise unless the data was made by the programs' major version: PostgreSQL opens no other."""
    made_by = int((server.data / "PG_VERSION").read_text())
    version = binaries.postgres_version(programs, server.user)
    if made_by != version:
        raise NotReachable(
            f"The data in {server.data} is of PostgreSQL {made_by}, but PostgreSQL {version} was found; install "
            f"version {made_by}, or begin anew with `manage.py down --purge`."
        )


def _password(home_folder: Path, server: Server) -> str:
    """Return the database password of this home, making it on first use."""
    if server.password_file.exists():
        try:
            return server.password_file.read_text().strip()
        except OSError as exc:
            raise HomeNotWritable(home_folder, exc.strerror or str(exc)) from exc
    home.folder(home_folder, "postgres")
    _set_aside(server)
    password = secrets.token_urlsafe(24)
    home.write_private(server.password_file, password.encode())
    return password


def _set_aside(server: Server) -> None:
    """Keep data of a removed home out of the way: its password went with the home, and deleting it is not ours."""
    if not server.data.exists():
        return
    if (server.data / "postmaster.pid").exists():
        _pg_ctl_stop(server, binaries.postgres(server.user, server.state), within_s=10.0)
    kept = server.state / f"data-of-removed-home-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    server.data.rename(kept)
    logger.warning("the data of a removed home was kept as %s; delete it when nobody misses it", kept)


def _make_state(server: Server) -> None:
    if server.user is None:
        home.folder(server.state)
        return
    # Passable for the account; what lies inside is private to it.
    server.state.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    server.state.mkdir(mode=0o700, exist_ok=True)
    server.user.own(server.state)


def _connect(port: int, password: str, *, dbname: str) -> psycopg.Connection[tuple[str]]:
    return psycopg.connect(
        host=ports.LOOPBACK,
        port=port,
        user=USER,
        password=password,
        dbname=dbname,
        connect_timeout=CONNECT_TIMEOUT_S,
        autocommit=True,
    )


def _make_database(connection: psycopg.Connection[tuple[str]]) -> None:
    found = connection.execute("SELECT datname FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
    if found is None:
        connection.execute(f"CREATE DATABASE {DATABASE}")


def _url(port: int, password: str) -> str:
    return f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{port}/{DATABASE}"
