"""The intents that nobody has answered yet, and which of them have left: each is sent once at most."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from traders.core.intents import Answered, Intent, Sent


class Call(msgspec.Struct, frozen=True):
    """An intent on its way; `sent_us` None is one that has not left."""

    intent: Intent
    sent_us: int | None = None

    @property
    def left_us(self) -> int:
        """The earliest at which it can have left."""
        return self.intent.written_us if self.sent_us is None else self.sent_us


class Calls:
    """All of them, and the number of the next intent."""

    def __init__(self, first_number: int, open_calls: Iterable[Call] = ()) -> None:
        self.next_number = first_number
        self._open = {call.intent.number: call for call in open_calls}

    def open(self) -> tuple[Call, ...]:
        return tuple(self._open.values())

    def begin(self, intent: Intent) -> None:
        self.know(intent.number)
        self._open[intent.number] = Call(intent)

    def unsent(self, number: int) -> Intent:
        """Return an intent that may be sent.

        Raises:
            ValueError: It was sent, or answered, before, or never wished.
        """
        call = self._open.get(number)
        if call is None or call.sent_us is not None:
            raise ValueError(f"intent {number} is not to be sent, or not again")
        return call.intent

    def mark(self, sent: Sent) -> Intent | None:
        """Note that an intent has left; return it, None when it is not known."""
        call = self._open.get(sent.number)
        if call is None:
            return None
        self._open[sent.number] = replace(call, sent_us=sent.at_us)
        return call.intent

    def end(self, answer: Answered) -> Call | None:
        """Return what an answer is about; None when that was answered before.

        Raises:
            ValueError: Nobody wished it.
        """
        if not 0 < answer.number < self.next_number:
            raise ValueError(f"an answer to intent {answer.number}, which nobody wished")
        return self._open.pop(answer.number, None)

    def know(self, number: int) -> None:
        """Note that a number has been given."""
        self.next_number = max(self.next_number, number + 1)

    def forget(self) -> None:
        """Note that no answers will come: whoever would have had them is gone."""
        self._open.clear()
