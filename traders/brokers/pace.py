"""How fast requests of one kind may leave after some were held back: by our token budget, a 429, or for want of a way.

    free ──held──► waiting until a time; meanwhile so many as fit (a batch that was too large is split)
      ▲               │
      └── went ◄──────┘

A value that each answer makes a new one of. Nothing that was held back was done.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from feed.kalshi.errors import HeldBack, NeverSent, RateLimited
from kalshimm.runtime.backoff import delay_s
from traders.brokers.answers import NOT_REACHABLE, RATE_LIMITED

SECOND_US = 1_000_000
AT_ONCE_MOST = 20  # orders of one batch
NEVER_FITS_S = 1.0  # the budget says that it never will: it may learn of a larger one
LIMITED_FIRST_S, LIMITED_MOST_S = 0.1, 2.0
AWAY_FIRST_S, AWAY_MOST_S = 0.25, 5.0

Held = HeldBack | RateLimited | NeverSent


class Pace(msgspec.Struct, frozen=True):
    """One kind of requests.

    Attributes:
        until_us: Nothing but what fits leaves before.
        fits: So many may.
        most: So many in one batch.
        tries: Failures in a row that no budget explains.
        code: Why it waits.
    """

    until_us: int = 0
    fits: int = 0
    most: int = AT_ONCE_MOST
    tries: int = 0
    code: str = ""

    def why(self, now_us: int) -> str:
        """Return why nothing may leave now; empty when something may."""
        return "" if self.room(now_us) else f"{self.code}: held back a moment ago"

    def room(self, now_us: int) -> int:
        """Return how many may leave now."""
        return self.most if now_us >= self.until_us else self.fits

    def took(self, count: int, now_us: int) -> Pace:
        """Return it once so many have left, of those for which there was room."""
        return self if now_us >= self.until_us else replace(self, fits=self.fits - count)

    def went(self) -> Pace:
        """Return it once the venue has answered."""
        return replace(self, tries=0, most=AT_ONCE_MOST)

    def put_off(self, code: str, now_us: int) -> Pace:
        """Return it after something of ours kept a request from leaving: for a second none does."""
        return replace(self, until_us=now_us + SECOND_US, fits=0, code=code)

    def held(self, exc: Held, count: int, now_us: int, *, jitter: float) -> Pace:
        """Return it after `count` at once were held back.

        Args:
            jitter: 0..1; spreads those who were held back together.
        """
        if isinstance(exc, HeldBack):
            wait_s = NEVER_FITS_S if exc.wait_s is None else exc.wait_s
            fits = min(exc.fits, count - 1)  # all of them did not
            return replace(self, until_us=now_us + round(wait_s * SECOND_US), fits=fits, code=exc.reason)
        tries = self.tries + 1
        if isinstance(exc, RateLimited):
            wait_s = delay_s(tries, first_s=LIMITED_FIRST_S, most_s=LIMITED_MOST_S, jitter=jitter)
            code, most = RATE_LIMITED, max(1, count // 2)
        else:
            wait_s = delay_s(tries, first_s=AWAY_FIRST_S, most_s=AWAY_MOST_S, jitter=jitter)
            code, most = NOT_REACHABLE, self.most
        until_us = now_us + round(wait_s * SECOND_US)
        return replace(self, until_us=until_us, fits=0, most=most, tries=tries, code=code)
