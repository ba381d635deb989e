"""What polls found first: a difference, unless the private channel tells it a moment later."""

from __future__ import annotations

import msgspec

from feed.schema import AccountDifference

GRACE_US = 2_000_000  # a poll may well be faster than the channel by a moment


class _Suspect(msgspec.Struct, frozen=True):
    kind: str
    subject: str
    time_us: int
    detail: str
    found_us: int


class Suspects:
    """Findings of polls that wait for the channel's word."""

    def __init__(self) -> None:
        self._open_since_us: int | None = None
        self._waiting: dict[str, _Suspect] = {}

    def channel_opened(self, now_us: int) -> None:
        self._open_since_us = now_us

    def channel_closed(self) -> None:
        """A channel that is not there can keep nothing to itself."""
        self._open_since_us = None
        self._waiting.clear()

    def found_order(self, order_id: str, time_us: int, detail: str, now_us: int) -> None:
        self._found(_Suspect("order", order_id, time_us, detail, now_us))

    def found_fill(self, order_id: str, trade_id: str, time_us: int, detail: str, now_us: int) -> None:
        self._found(_Suspect("fill", f"{order_id}/{trade_id}", time_us, detail, now_us))

    def told_order(self, order_id: str, time_us: int) -> None:
        suspect = self._waiting.get(order_id)
        if suspect is not None and time_us // 1_000 >= suspect.time_us // 1_000:
            del self._waiting[order_id]

    def told_fill(self, order_id: str, trade_id: str) -> None:
        self._waiting.pop(f"{order_id}/{trade_id}", None)

    def due(self, now_us: int) -> list[AccountDifference]:
        """Return what the channel has kept to itself for longer than the grace, each once."""
        due = [s for s in self._waiting.values() if now_us - s.found_us >= GRACE_US]
        for suspect in due:
            del self._waiting[suspect.subject]
        return [AccountDifference(s.kind, s.subject, s.detail, s.found_us) for s in due]

    def _found(self, suspect: _Suspect) -> None:
        # What happened before the channel was there, it could not tell.
        if self._open_since_us is not None and suspect.time_us > self._open_since_us:
            self._waiting[suspect.subject] = suspect
