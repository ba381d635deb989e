"""A folder on a disk that keeps only what was brought to it, and what a power cut would leave of it at each moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from traders import journal as journal_module


class Disk:
    """Notes each call that brings something to the disk or renames it, in `calls`.

    `pictures` has, after each, the files as a power cut may leave them: by the names that were brought to the disk, and
    by the newest ones. A file that never was brought there is empty.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.calls: list[str] = []
        self.pictures: list[dict[str, bytes]] = []
        self._held: dict[int, BinaryIO] = {}  # open, so that no number of a file is given twice
        self._kept: dict[int, bytes] = {}
        for path in folder.iterdir():
            self._kept[self._number(path)] = path.read_bytes()
        self._names = self._newest()
        self._fsync, self._replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", self.fsync)
        monkeypatch.setattr(os, "replace", self.replace)
        monkeypatch.setattr(journal_module, "_to_disk", self.fsync)

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        number = os.fstat(descriptor).st_ino
        if number == self.folder.stat().st_ino:
            self._names = self._newest()
            self._note("sync folder")
        for path in self.folder.iterdir():
            if path.stat().st_ino == number:
                self._kept[self._number(path)] = path.read_bytes()
                self._note(f"sync {_plain(path.name)}")

    def replace(self, source: Any, target: Any) -> None:
        self._replace(source, target)
        if Path(target).parent == self.folder:
            self._note(f"rename to {Path(target).name}")

    def _note(self, call: str) -> None:
        self.calls.append(call)
        for names in (self._names, self._newest()):
            self.pictures.append({name: self._kept.get(number, b"") for name, number in names.items()})

    def _newest(self) -> dict[str, int]:
        return {path.name: self._number(path) for path in self.folder.iterdir()}

    def _number(self, path: Path) -> int:
        number = path.stat().st_ino
        if number not in self._held:
            self._held[number] = path.open("rb")
        return number

    def close(self) -> None:
        for file in self._held.values():
            file.close()


def _plain(name: str) -> str:
    """Return the name that a file is about to have: `.journal.x7d` will be `journal`."""
    return name[1:].rpartition(".")[0] if name.startswith(".") else name
