"""Loopback ports."""

from __future__ import annotations

import errno
import socket

from kalshimm.errors import KalshimmError, PortInUse

LOOPBACK = "127.0.0.1"


def free_port(*, preferred: int | None = None) -> int:
    """Return a loopback port that nobody uses right now, `preferred` if that is one.

    Somebody else may still take it first.
    """
    if preferred is not None and is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    try:
        require_free(port)
    except KalshimmError:
        return False
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
