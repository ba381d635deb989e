"""Forks traders from one preloaded, frozen process: a trader then costs milliseconds and little memory.

Single-threaded on purpose: no event loop, no thread, no database or Redis connection, no socket but its own, because
a fork copies them all. It knows nothing of trading. A trader is forked twice and belongs to init, so that neither the
spawner's nor the supervisor's end touches it.

    request (one JSON line)     answer (one JSON line)
    {"ping": true}              {"pid", "answered", "spawned", "frozen"}
    {"spawn": 7}                {"pid": 4711}   it has written process.json, so whoever looks finds it
                                {"ended": "…"}  it was forked, and ended before that
                                {"error": "…"}  it was not forked, or has not begun in time
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import msgspec
import setproctitle

from kalshimm.errors import EXIT_FAILED, KalshimmError, NotReachable
from kalshimm.runtime.home import folder
from kalshimm.runtime.locks import exclusive
from traders.processes import trader_folder

logger = logging.getLogger(__name__)

SOCKET_PATH_MOST = 100  # the kernel's limit is 108 bytes on Linux, 104 on macOS
ACCEPT_S = 0.5  # how soon a stop is noticed
CLIENT_S = 2.0
BEGIN_S = 1.5  # shorter than a client waits for the answer
REQUEST_BYTES = 4_096
LOG_BYTES_MOST = 5_000_000  # an older log is kept once, as log.1


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ping: bool = False
    spawn: int | None = None


class SocketPathTooLong(KalshimmError):
    """The kernel does not take socket paths of any length."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The spawner's socket {path} is {len(bytes(path))} bytes long, the most is {SOCKET_PATH_MOST}; "
            "set KALSHIMM_HOME to a shorter path."
        )


def socket_path(home: Path) -> Path:
    """Return where the spawner of this home listens.

    Raises:
        SocketPathTooLong: The kernel would not take it.
    """
    path = home / "run" / "spawner.sock"
    if len(bytes(path)) > SOCKET_PATH_MOST:
        raise SocketPathTooLong(path)
    return path


def preload() -> None:
    """Import and set up everything a trader needs, then freeze it, so that children share the pages."""
    import django

    django.setup()
    importlib.import_module("traders.process")
    with contextlib.suppress(ImportError):  # not on every platform; the worker imports it only when it starts
        importlib.import_module("uvloop")
    gc.collect()
    gc.freeze()


class Spawner:
    """Listens on the home's socket and forks traders.

    Args:
        main: What a child runs: `main(home, trader, begun)`; it calls `begun` once process.json says who it is.
    """

    def __init__(self, home: Path, main: Callable[[Path, int, Callable[[], None]], None]) -> None:
        self._home = home
        self._main = main
        self._answered = 0
        self._spawned = 0
        self._stopping = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; living traders stay.

        Raises:
            AlreadyRunning: This home has a spawner.
            SocketPathTooLong: The home lies too deep.
        """
        path = socket_path(self._home)
        with exclusive(folder(self._home, "run") / "spawner.lock", what="The spawner of this home"):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            with _listen(path) as listener:
                logger.info("spawner listens on %s", path, extra={"action": "spawner_ready"})
                self._serve(listener)
            path.unlink(missing_ok=True)
        logger.info("spawner stopped; its traders go on", extra={"action": "spawner_stop"})

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._stopping = True

    def _serve(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(CLIENT_S)
        self._answered += 1
        try:
            answer = self._handle(_read_line(client))
            client.sendall(msgspec.json.encode(answer) + b"\n")
        except OSError as exc:
            logger.warning("a client of the spawner went away: %s", exc, extra={"action": "spawner_client"})

    def _handle(self, line: bytes) -> dict[str, int | str]:
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.MsgspecError as exc:
            return {"error": f"not a request: {exc}"}
        if request.spawn is None:
            return {
                "pid": os.getpid(),
                "answered": self._answered,
                "spawned": self._spawned,
                "frozen": gc.get_freeze_count(),
            }
        try:
            pid = self._spawn(request.spawn)
        except (OSError, KalshimmError) as exc:
            return {"error": f"trader {request.spawn} was not started: {exc}"}
        if not pid:
            return {"ended": "it ended before it began; see its log"}
        self._spawned += 1
        logger.info("forked trader %s as process %s", request.spawn, pid, extra={"action": "spawn"})
        return {"pid": pid}

    def _spawn(self, trader: int) -> int:
        """Fork a trader twice, wait until it has begun and return its pid; 0 when it ended before."""
        path = trader_folder(self._home, trader)
        read_end, write_end = os.pipe()
        middle = os.fork()
        if middle == 0:
            self._leave_home(trader, path, write_end)
        os.close(write_end)
        os.waitpid(middle, 0)
        with os.fdopen(read_end, "rb", buffering=0) as pipe:
            if not select.select([pipe], [], [], BEGIN_S)[0]:
                raise TimeoutError(f"it has not begun within {BEGIN_S} s; see its log")
            return int(pipe.read(REQUEST_BYTES) or 0)

    def _leave_home(self, trader: int, path: Path, pipe: int) -> None:
        """Become the trader in a grandchild; never return into the spawner's code."""
        code = EXIT_FAILED
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            _detach(path / "log", keep=pipe)
            code = _exit_code(lambda: self._main(self._home, trader, lambda: _tell_pid(pipe)))
        except BaseException:  # noqa: BLE001 - the top of a process: whatever it was, it is written down and ends here
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)


def _tell_pid(pipe: int) -> None:
    try:
        os.write(pipe, str(os.getpid()).encode())
    except BrokenPipeError:
        pass  # the spawner has given up waiting: whoever looks for this trader finds its process.json
    finally:
        os.close(pipe)


def _exit_code(main: Callable[[], None]) -> int:
    try:
        main()
    except KalshimmError as exc:
        logger.error("%s", exc)
        return exc.exit_code
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else EXIT_FAILED
    return 0


def _detach(log: Path, *, keep: int) -> None:
    """Let go of all that belongs to the spawner, but of the descriptor `keep`: files, signals, gathered log records."""
    from kalshimm.runtime.logs import queue_handler

    if log.exists() and log.stat().st_size > LOG_BYTES_MOST:
        log.replace(log.with_suffix(".1"))
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    queue_handler.take()


def _listen(path: Path) -> socket.socket:
    """Return the listening socket; one that a killed spawner left is replaced (we hold the lock).

    It gets its name once it listens: whoever sees it is answered.
    """
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(unnamed))
    finally:
        os.umask(before)
    listener.listen(16)
    listener.settimeout(ACCEPT_S)
    unnamed.replace(path)
    return listener


def _read_line(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < REQUEST_BYTES:
        part = client.recv(REQUEST_BYTES)
        if not part:
            break
        line += part
    return line


def ask(home: Path, request: Request) -> dict[str, int | str]:
    """Ask the spawner of a home and return its answer.

    Raises:
        NotReachable: No spawner answers on this home's socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(CLIENT_S)
        try:
            client.connect(str(socket_path(home)))
            client.sendall(msgspec.json.encode(request) + b"\n")
            line = _read_line(client)
            return msgspec.json.decode(line, type=dict[str, int | str])
        except (OSError, msgspec.MsgspecError) as exc:
            raise NotReachable(f"The spawner does not answer ({exc}); start it with `manage.py spawner`.") from exc


def title() -> None:
    setproctitle.setproctitle("manage.py spawner")
