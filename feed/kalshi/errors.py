"""What the venue, or the way to it, can answer with.

KalshimmError
└── VenueError
    ├── Disconnected(reason)          the socket is gone; reconnect and ask again
    ├── HandshakeRefused(status)      the WebSocket upgrade got an HTTP answer instead
    ├── ProtocolViolation             a frame that no part of the documents explains
    ├── RequestRefused(status, code)  a REST answer outside 2xx, in any of the venue's body shapes
    │   ├── Unauthorized              401, 403
    │   └── RateLimited               429
    └── BadKey                        the private key file is unusable
"""

from __future__ import annotations

from kalshimm.errors import EXIT_NOT_REACHABLE, KalshimmError


class VenueError(KalshimmError):
    """Something between us and the venue failed."""


class Disconnected(VenueError):
    """The connection ended; nothing on it can be trusted any more."""

    exit_code = EXIT_NOT_REACHABLE


class HandshakeRefused(VenueError):
    """The venue answered the WebSocket handshake with an HTTP status."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        super().__init__(f"The WebSocket handshake was answered with HTTP {status}: {body or 'no body'}.")


class ProtocolViolation(VenueError):
    """The venue answered what no document explains."""


class RequestRefused(VenueError):
    """A request was answered outside 2xx.

    Args:
        status: HTTP status.
        code: The venue's code, or "" where its body has none.
        message: Its text, shortened.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"The exchange answered HTTP {status} {code}: {message}".rstrip(": ") + ".")


class Unauthorized(RequestRefused):
    """Key, signature, clock or scope is wrong."""


class RateLimited(RequestRefused):
    """Too many requests; the venue sends no retry time."""


class BadKey(VenueError):
    """A private key cannot be read or is of a kind the venue does not take."""
