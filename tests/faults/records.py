"""What a trader wrote down itself: the journal in its folder, read while it runs and after it died."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import msgspec

from feed.schema import (
    CommandAnswer,
    Decision,
    FillState,
    JournalEntry,
    OrderAnswer,
    OrderIntent,
    OrderSent,
    OrderState,
    StateChange,
)
from traders.journal import read_records

CREATES = ("place", "take")

Body = TypeVar("Body")


class Noted(msgspec.Struct, Generic[Body], frozen=True):
    """A line of the journal: its number, when it was written (wall clock), and what it says."""

    number: int
    at_us: int
    body: Body


class Record:
    """The journal of one trader, all of its lives.

    The file is compacted as it grows, so whoever judges reads it now and then; a line that was missed is a failure.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self.ahead_us = 0  # of the machine's clock, where the row has given its process another
        self.lines: list[JournalEntry] = []
        self.intents: dict[int, Noted[OrderIntent]] = {}
        self.sent: dict[int, Noted[OrderSent]] = {}
        self.answers: dict[int, Noted[OrderAnswer]] = {}
        self.states: dict[str, list[Noted[OrderState]]] = {}
        self.fills: list[Noted[FillState]] = []
        self.decisions: list[Noted[Decision]] = []
        self.changes: list[Noted[StateChange]] = []
        self.commands: dict[str, Noted[CommandAnswer]] = {}
        self.problems: list[str] = []  # of the journal itself: what was written twice

    @property
    def last_number(self) -> int:
        return self.lines[-1].number if self.lines else 0

    def read(self) -> Record:
        """Take in what the file holds and was not read before."""
        if self._path is None or not self._path.exists():
            return self
        status = self._path.stat()
        seen = (status.st_ino, status.st_size)
        if seen != self._seen:
            entries, _ = read_records(self._path.read_bytes())
            self.add(entries)
            self._seen = seen
        return self

    def add(self, entries: list[JournalEntry]) -> None:
        for entry in entries:
            if entry.number <= self.last_number:
                continue
            assert not self.lines or entry.number == self.last_number + 1, (
                f"journal lines {self.last_number + 1} to {entry.number - 1} were compacted away before they were read"
            )
            self.lines.append(entry)
            self._note(entry)

    def _note(self, entry: JournalEntry) -> None:
        number, at_us, body = entry.number, entry.time_us - self.ahead_us, entry.body
        match body:
            case OrderIntent():
                self._once(self.intents, body.number, Noted(number, at_us, body), "intent")
            case OrderSent():
                self._once(self.sent, body.number, Noted(number, at_us, body), "sending of intent")
            case OrderAnswer():
                self.answers.setdefault(body.number, Noted(number, at_us, body))  # of two only the first counts
            case OrderState():
                self.states.setdefault(body.client_order_id, []).append(Noted(number, at_us, body))
            case FillState():
                self.fills.append(Noted(number, at_us, body))
            case Decision():
                self.decisions.append(Noted(number, at_us, body))
            case StateChange():
                self.changes.append(Noted(number, at_us, body))
            case CommandAnswer():
                self.commands[body.command_id] = Noted(number, at_us, body)

    def _once(self, found: dict[int, Noted[Body]], number: int, line: Noted[Body], what: str) -> None:
        if number in found:
            self.problems.append(f"{what} {number} stands twice in the journal, lines {found[number].number} and "
                                 f"{line.number}")  # fmt: skip
        found.setdefault(number, line)

    # ---- what it comes to --------------------------------------------------------------------------------------------

    def creates(self) -> dict[str, Noted[OrderIntent]]:
        """Return the intents that place an order, by client order id."""
        return {line.body.client_order_id: line for line in self.intents.values() if line.body.verb in CREATES}

    def newest(self, client_order_id: str) -> Noted[OrderState] | None:
        """Return what was last written of an order."""
        history = self.states.get(client_order_id)
        return history[-1] if history else None

    @property
    def position_cx(self) -> int:
        """The position after the last fill, as the trader wrote it."""
        return self.fills[-1].body.position_cx if self.fills else 0

    @property
    def state(self) -> str:
        return self.changes[-1].body.state if self.changes else ""


class FollowedRecord(Record):
    """A journal that is followed line by line: what is compacted away is read from the file that it was in."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._followed = path
        self._file: BinaryIO | None = None
        self._whole = 0  # bytes read as whole lines: what a crash tore behind them is cut off by the next life

    def read(self) -> Record:
        if self._file is None and self._followed.exists():
            self._file = self._followed.open("rb")
        while self._file is not None:
            is_newest = self._is_newest(self._file)  # asked first: what is written meanwhile is read the next time
            self._take(self._file)
            if is_newest:
                break
            self._file.close()
            self._file, self._whole = self._followed.open("rb"), 0
        return self

    def _take(self, file: BinaryIO) -> None:
        file.seek(self._whole)
        entries, taken = read_records(file.read())
        self._whole += taken
        self.add(entries)

    def _is_newest(self, file: BinaryIO) -> bool:
        return os.fstat(file.fileno()).st_ino == self._followed.stat().st_ino
