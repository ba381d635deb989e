"""What `up` prints: one line a fact, with the name of the process in front, in colour on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

NAME_WIDTH = 10
COLOURS = (36, 35, 34, 32, 33, 96, 95, 94, 92)  # the terminal's own palette; red is kept for trouble
BOLD, DIM, RED = 1, 2, 31


class Console:
    """Prints for people; when nobody can read any more (`is_broken`) it goes quiet."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colours = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._order: list[str] = []
        self.is_broken = False

    def say(self, name: str, text: str, *, trouble: bool = False) -> None:
        """Print a change of state."""
        self._print(f"{self._name(name)} {self._paint(RED if trouble else BOLD, text)}")

    def relay(self, name: str, line: str) -> None:
        """Print a line that a process wrote."""
        self._print(f"{self._name(name)} {self._paint(DIM, '|')} {line}")

    def table(self, rows: Sequence[tuple[str, str, str]]) -> None:
        """Print (name, state, detail) rows in columns."""
        width = max(len(state) for _, state, _ in rows)
        self._print("")
        for name, state, detail in rows:
            self._print(f"  {self._name(name)} {state:<{width}}  {detail}".rstrip())
        self._print("")

    def plain(self, text: str) -> None:
        self._print(text)

    def _name(self, name: str) -> str:
        if name not in self._order:
            self._order.append(name)
        return self._paint(COLOURS[self._order.index(name) % len(COLOURS)], f"{name:<{NAME_WIDTH}}")

    def _paint(self, colour: int, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours else text

    def _print(self, text: str) -> None:
        if self.is_broken:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (BrokenPipeError, OSError):  # the terminal or the pipe behind us is gone
            self.is_broken = True
