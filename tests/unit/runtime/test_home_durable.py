"""What must survive a power cut is on the disk, and so is its name, before anybody goes on."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kalshimm.errors import HomeNotWritable
from kalshimm.runtime.home import installation_number, write_private


class Calls:
    """Notes what is brought to the disk and what is renamed or linked, in order; each may be made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        self.failing: dict[str, OSError] = {}
        for name in ("fsync", "replace", "link"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))

    def _noting(self, name: str, do: Any) -> Any:
        def noting(*args: Any, **options: Any) -> Any:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            call = "sync folder" if is_folder else "sync file" if name == "fsync" else name
            self.made.append(call)
            if call in self.failing:
                raise self.failing[call]
            return do(*args, **options)

        return noting


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


def test_a_durable_file_is_on_the_disk_before_it_is_renamed_and_its_name_after(tmp_path: Path, calls: Calls) -> None:
    write_private(tmp_path / "file", b"new", is_durable=True)
    assert calls.made == ["sync file", "replace", "sync folder"]
    assert (tmp_path / "file").read_bytes() == b"new"


def test_what_need_not_be_durable_does_not_wait_for_the_disk(tmp_path: Path, calls: Calls) -> None:
    write_private(tmp_path / "file", b"new")
    assert calls.made == ["replace"]


def test_the_name_of_an_installation_number_is_on_the_disk_before_an_order_can_carry_it(
    tmp_path: Path, calls: Calls
) -> None:
    installation_number(tmp_path)
    assert calls.made[-2:] == ["link", "sync folder"]


@pytest.mark.parametrize("call", ["sync file", "replace", "sync folder"])
def test_a_disk_that_fails_is_said_and_leaves_one_whole_file(tmp_path: Path, calls: Calls, call: str) -> None:
    path = tmp_path / "file"
    write_private(path, b"old", is_durable=True)
    calls.failing[call] = OSError(errno.EIO, "input/output error")
    with pytest.raises(HomeNotWritable, match="input/output error"):
        write_private(path, b"new", is_durable=True)
    assert [left.name for left in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == (b"new" if call == "sync folder" else b"old")


def test_a_file_system_that_syncs_no_folders_is_good_enough(tmp_path: Path, calls: Calls) -> None:
    calls.failing["sync folder"] = OSError(errno.EINVAL, "invalid argument")
    write_private(tmp_path / "file", b"new", is_durable=True)
    assert (tmp_path / "file").read_bytes() == b"new"
