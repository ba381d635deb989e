"""A private Valkey of one home: started, or found running and reused, and stopped.

It listens on a file in the home, which only its owner opens and which costs less than a port, and on a loopback port,
for homes whose paths or file systems take no such file and for tools that know none. Its password stands in a
configuration file that only its owner reads, never in an argument list. Data is appended to a log, so it survives a
kill; `server.json` tells the next command which process it is.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from kalshimm.embedded import binaries, ports
from kalshimm.embedded.ending import end_process
from kalshimm.errors import HomeNotWritable, NotReachable
from kalshimm.runtime import home
from kalshimm.runtime.process import ProcessIdentity

START_TIMEOUT_S = 60.0  # a long log is read back first
POLL_S = 0.02
ANSWER_TIMEOUT_S = 2.0
OLDEST = (6, 2)
SOCKET_PATH_MAX = 103  # bytes: what macOS takes, Linux takes four more

CONFIGURATION = """\
bind {address}
port {port}
{listen_on_file}
requirepass {password}
dir "{folder}"
logfile "{folder}/server.log"
daemonize no
appendonly {durable}
appendfsync everysec
save ""
"""


class ServerFile(msgspec.Struct, frozen=True):
    """What `server.json` keeps of the process that was started last."""

    identity: ProcessIdentity
    port: int
    password: str
    socket_path: str = ""

    @property
    def url(self) -> str:
        """Where its users look for it: at its file, or at its port where it has none."""
        if self.socket_path:
            return f"unix://:{self.password}@{quote(self.socket_path)}?db=0"
        return self.port_url

    @property
    def port_url(self) -> str:
        return f"redis://:{self.password}@{ports.LOOPBACK}:{self.port}/0"


def start(home_folder: Path, *, durable: bool = True) -> tuple[str, bool]:
    """Return the URL of this home's Valkey and whether it was started for this call or ran already.

    After a crash it comes back with the address and password it had, so that whoever survived finds it again.

    Args:
        durable: False for tests: nothing is written to disk.

    Raises:
        NotReachable: There is no server program, or it does not answer.
        HomeNotWritable: Its data cannot be stored.
    """
    folder = home.folder(home_folder, "valkey")
    known = _known(folder)
    if known is not None and known.identity.lives():
        _wait_until_it_answers(known, folder)
        return known.url, False
    return _start(folder, known, durable=durable).url, True


def stop(home_folder: Path, *, within_s: float) -> bool:
    """Stop this home's Valkey if it runs, with its log written out; return whether it ran."""
    folder = home_folder / "valkey"
    known = _known(folder)
    if known is None or not known.identity.lives():
        return False
    end_process(known.identity, within_s)  # asked, it saves its log and leaves
    (folder / "server.json").unlink(missing_ok=True)
    return True


def lives(home_folder: Path) -> bool:
    """Return whether this home's Valkey runs."""
    known = _known(home_folder / "valkey")
    return known is not None and known.identity.lives()


def _start(folder: Path, crashed: ServerFile | None, *, durable: bool) -> ServerFile:
    program = binaries.valkey()
    port = ports.free_port(preferred=crashed.port if crashed else None)
    password = crashed.password if crashed else secrets.token_urlsafe(24)
    # One that had no file is known by its port.
    socket_path = _socket_path(folder) if crashed is None or crashed.socket_path else ""
    configuration = folder / "valkey.conf"
    text = CONFIGURATION.format(
        address=ports.LOOPBACK,
        port=port,
        listen_on_file=f'unixsocket "{socket_path}"\nunixsocketperm 700' if socket_path else "",
        password=password,
        folder=folder,
        durable="yes" if durable else "no",
    )
    home.write_private(configuration, text.encode())
    try:
        with (folder / "output.log").open("ab") as output:
            process = subprocess.Popen(
                [str(program), str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                start_new_session=True,  # a Ctrl-C on the terminal is not for it
            )
    except OSError as exc:
        raise NotReachable(f"Valkey could not be started ({program}: {exc.strerror}); set REDIS_URL.") from exc
    identity = ProcessIdentity.of(process.pid)
    if identity is None:
        raise NotReachable(f"Valkey ended at once; see {folder / 'server.log'} and {folder / 'output.log'}.")
    started = ServerFile(identity, port, password, socket_path)
    try:
        home.write_private(folder / "server.json", msgspec.json.encode(started))
        _wait_until_it_answers(started, folder)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return started


def _socket_path(folder: Path) -> str:
    """Return where the file is that it listens on; nothing where the system takes no path so long, or no such file."""
    path = folder / "socket"
    if len(str(path).encode()) > SOCKET_PATH_MAX:
        return ""
    try:
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
        path.unlink()
    except OSError:  # a mounted Windows folder, some network file systems
        return ""
    return str(path)


def _wait_until_it_answers(server: ServerFile, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    # Without retries of the client library's own: this loop is the one that waits.
    client = redis.Redis.from_url(
        server.url,
        socket_timeout=ANSWER_TIMEOUT_S,
        socket_connect_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    with client:
        while not _answers(client):
            if not server.identity.lives():
                raise NotReachable(f"Valkey ended while it started; see {folder / 'server.log'}.")
            if time.monotonic() > deadline:
                raise NotReachable(
                    f"Valkey (process {server.identity.pid}, port {server.port}) does not answer; "
                    f"see {folder / 'server.log'}."
                )
            time.sleep(POLL_S)
        _require_version(client)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (RedisError, OSError):  # not up yet, or still reading its log
        return False


def _require_version(client: redis.Redis) -> None:
    version = str(client.info("server")["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise NotReachable(f"Redis {version} is too old, 6.2 or newer is needed; set REDIS_URL.")


def _known(folder: Path) -> ServerFile | None:
    try:
        return msgspec.json.decode((folder / "server.json").read_bytes(), type=ServerFile)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    except OSError as exc:
        raise HomeNotWritable(folder, exc.strerror or str(exc)) from exc
