"""Changes of a live order that are asked for and not proven: a cancel, an amend.

    cancel   wanted ──► on its way ──► unknown, refused ──spaced──► on its way … until the order has ended (C13)
    amend    written ──► sent ──► unknown ──► shown by an order as it would make it, or proven never made

Until then both what was before and what will be after count, whichever is worse (C12).
"""

from __future__ import annotations

import msgspec

from traders.core.evidence import Seen
from traders.core.settling import SECOND_US, Misses


class Cancelling(msgspec.Struct, frozen=True):
    """An order shall be canceled, and is not yet as far as anybody knows.

    Attributes:
        number: Of the intent that nobody has answered; 0 without one.
        is_unknown: The last one may have been carried out.
        waits_for_look: The venue says that there is nothing to cancel.
    """

    reason: str
    number: int = 0
    is_unknown: bool = False
    waits_for_look: bool = False


class Amending(msgspec.Struct, frozen=True):
    """A change that the venue may have made, or may yet make.

    Attributes:
        expires_us: None keeps what the order has.
        left_us: The request left until then; None while it is on its way or not sent.
    """

    number: int
    total_cx: int
    expires_us: int | None = None
    is_sent: bool = False
    left_us: int | None = None
    misses: Misses = Misses()

    def is_shown_by(self, seen: Seen) -> bool:
        """Return whether a showing proves that it was made; expiries have whole seconds at the venue."""
        if seen.total_cx != self.total_cx:
            return False
        if self.expires_us is None:
            return True
        return seen.expires_us is not None and abs(seen.expires_us - self.expires_us) < SECOND_US
