"""Loopback ports."""

from __future__ import annotations

import errno
import random
import socket
import time

from kalshimm.errors import KalshimmError, PortInUse

LOOPBACK = "127.0.0.1"
# Below those that systems give to outgoing connections: one of these could else take the port of a server that has
# just died, and it could not come back.
SERVER_PORTS = range(15_000, 32_000)
ATTEMPTS = 200
POLL_S = 0.02
LINGERS_S = 3.0  # the kernel closes what a killed server listened on, but not at once


def free_port(*, preferred: int | None = None) -> int:
    """Return a loopback port that nobody uses right now, `preferred` if that is one.

    Somebody else may still take it first.
    """
    if preferred is not None and becomes_free(preferred):
        return preferred
    for _ in range(ATTEMPTS):
        port = random.choice(SERVER_PORTS)
        if is_free(port):
            return port
    raise KalshimmError(f"No free port found between {SERVER_PORTS[0]} and {SERVER_PORTS[-1]}.")


def is_free(port: int) -> bool:
    try:
        require_free(port)
    except KalshimmError:
        return False
    return True


def becomes_free(port: int) -> bool:
    """Wait a moment until a server could listen on `port`; return whether one could."""
    deadline = time.monotonic() + LINGERS_S
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def require_free(port: int) -> None:
    """Raise unless a server could listen on `port` now."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections still linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(port) from exc
            raise KalshimmError(f"Port {port} cannot be used ({exc.strerror}); choose another with --port.") from exc
