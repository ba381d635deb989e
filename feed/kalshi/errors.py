"""What the venue, or the way to it, can answer with.

KalshimmError
├── OutcomeUnknown                       a write left and nothing proves what became of it (kalshimm.errors)
└── VenueError
    ├── Disconnected(reason)             no answer; of a read nothing is learnt, the socket is gone
    │   └── NeverSent                    no connection was had, so nothing left us: a write was not done
    ├── HeldBack(reason, wait_s)         our own token budget says not now; nothing was sent
    ├── HandshakeRefused(status)         the WebSocket upgrade got an HTTP answer instead
    ├── ProtocolViolation                an answer or frame that no part of the documents explains
    ├── RequestRefused(status, code)     the venue said no, in any of its body shapes: it was not done
    │   ├── InvalidRequest               400: we asked wrongly
    │   ├── OrderRejected                the engine declined this order as it stands; the code says why
    │   ├── Unauthorized                 401: key, signature or clock
    │   ├── Forbidden                    403: the key may not
    │   ├── NotFound                     404: unknown, or already gone
    │   ├── Conflict                     409
    │   │   ├── AlreadyExists            that id was used before: proof that the first one arrived
    │   │   └── Paused                   market or exchange does not trade now
    │   ├── Retired                      410: the endpoint is no more
    │   └── RateLimited                  429
    └── BadKey                           the private key is unusable
        └── WrongEnvironment             the key belongs to another environment than the address
"""

from __future__ import annotations

from kalshimm.errors import EXIT_NOT_REACHABLE, EXIT_USAGE, KalshimmError


class VenueError(KalshimmError):
    """Something between us and the venue failed."""


class Disconnected(VenueError):
    """The connection ended or gave no answer; nothing on it can be trusted any more."""

    exit_code = EXIT_NOT_REACHABLE


class NeverSent(Disconnected):
    """No connection could be made, which proves that the request never left."""


class HeldBack(VenueError):
    """The token budget does not allow the request now; nothing was sent.

    Args:
        reason: Stable code of the limiter.
        wait_s: After which asking again may help; None when it never will as it stands.
        fits: How many items of a batch would be let through.
    """

    def __init__(self, asked: str, reason: str, wait_s: float | None, fits: int) -> None:
        self.reason, self.wait_s, self.fits = reason, wait_s, fits
        super().__init__(f"The token budget holds back to {asked} ({reason}); nothing was sent.")


class HandshakeRefused(VenueError):
    """The venue answered the WebSocket handshake with an HTTP status."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        super().__init__(f"The WebSocket handshake was answered with HTTP {status}: {body or 'no body'}.")


class ProtocolViolation(VenueError):
    """The venue answered what no document explains."""


class RequestRefused(VenueError):
    """The venue said no: what was asked has not been done.

    Args:
        status: HTTP status, or None for one item of a batch.
        code: The venue's code, or "" where its body has none.
        message: Its text, shortened.
    """

    def __init__(self, status: int | None, code: str, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        what = " ".join(part for part in (f"HTTP {status}" if status else "", code) if part) or "no"
        super().__init__(f"The exchange answered {what}: {message}".rstrip(": ") + ".")


class InvalidRequest(RequestRefused):
    """We asked for something that makes no sense to the venue; the same request will be refused again."""


class OrderRejected(RequestRefused):
    """The engine declined an order as it stands: its price, its size, the balance, a crossing post-only."""


class Unauthorized(RequestRefused):
    """Key, signature or clock is wrong."""


class Forbidden(RequestRefused):
    """The key lacks the scope, or belongs to another subaccount."""


class NotFound(RequestRefused):
    """Unknown to the venue, or already done with: an order that has ended answers so too."""


class Conflict(RequestRefused):
    """The state of something at the venue stands against it."""


class AlreadyExists(Conflict):
    """The id was used before, which proves that an order with it existed."""


class Paused(Conflict):
    """Trading is paused, at the exchange or in this market."""


class Retired(RequestRefused):
    """The endpoint is no more."""


class RateLimited(RequestRefused):
    """Too many requests; the venue sends no retry time."""


class BadKey(VenueError):
    """A private key cannot be read or is of a kind the venue does not take."""


class WrongEnvironment(BadKey):
    """A key was about to sign a request to another environment than its own."""

    exit_code = EXIT_USAGE
