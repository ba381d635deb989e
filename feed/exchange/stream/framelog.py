"""What every client was sent, frame by frame, before any fault touched it: the truth by which feeds are judged.

Off unless asked for: a busy exchange sends tens of thousands of frames a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec


class SentFrame(msgspec.Struct, frozen=True):
    """One frame on its way to a client: connections are counted from 1, `at_us` is when it left the exchange."""

    number: int
    connection: int
    account: str
    at_us: int
    frame: msgspec.Raw


class FramesGone(LookupError):
    """Frames were asked for that are forgotten; `oldest` is the number of the first still there."""

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        super().__init__(f"frames before number {oldest} are gone")


class FrameLog:
    """The newest frames of all connections.

    Args:
        kept: How many; with 0 nothing is kept.
    """

    def __init__(self, *, kept: int = 0) -> None:
        self.is_on = kept > 0
        self._frames: deque[SentFrame] = deque(maxlen=kept)
        self._last_number = 0

    def note(self, frames: Iterable[bytes], *, connection: int, account: str, at_us: int) -> None:
        for frame in frames:
            self._last_number += 1
            self._frames.append(SentFrame(self._last_number, connection, account, at_us, msgspec.Raw(frame)))

    def after(self, number: int, *, account: str | None = None) -> list[SentFrame]:
        """Return the frames behind frame `number`, oldest first; those of one account if given.

        Raises:
            FramesGone: Some of them are forgotten.
        """
        oldest = self._frames[0].number if self._frames else self._last_number + 1
        if number + 1 < oldest:
            raise FramesGone(oldest)
        # From the newest backwards: whoever follows asks for the last few of very many.
        found: list[SentFrame] = []
        for sent in reversed(self._frames):
            if sent.number <= number:
                break
            if account in (None, sent.account):
                found.append(sent)
        return found[::-1]
