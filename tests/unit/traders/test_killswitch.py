from __future__ import annotations

from pathlib import Path

import pytest

from kalshimm.errors import HomeNotWritable
from traders.core.kills import ALL, EVENT, Kill, Target
from traders.killswitch import FILE, KillSwitch, release, throw

TARGET = Target(7, "highny", "local", "E")
EVERYTHING = Kill(kind=ALL, by="cli:operator", at_us=1)
OF_EVENT = Kill(kind=EVENT, key="E", by="cli:operator", at_us=2)
OF_OTHER = Kill(kind=EVENT, key="F", by="cli:operator", at_us=2)


def test_without_a_file_nothing_is_killed(tmp_path: Path) -> None:
    assert KillSwitch(tmp_path).kills() == ()
    assert KillSwitch(tmp_path).why(TARGET) == ""


def test_a_kill_is_seen_at_once_by_who_looked_before(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    assert switch.why(TARGET) == ""
    throw(tmp_path, OF_OTHER)
    assert switch.kills() == (OF_OTHER,)
    assert switch.why(TARGET) == ""
    throw(tmp_path, OF_EVENT)
    assert switch.why(TARGET) == "event E was killed by cli:operator"
    assert release(tmp_path, EVENT, "E") == (OF_EVENT,)
    assert switch.why(TARGET) == ""
    assert (tmp_path / FILE).exists(), "the other one stands"


def test_the_last_release_leaves_no_file(tmp_path: Path) -> None:
    throw(tmp_path, EVERYTHING)
    throw(tmp_path, OF_EVENT)
    assert release(tmp_path, ALL) == (EVERYTHING, OF_EVENT)
    assert not (tmp_path / FILE).exists()
    assert release(tmp_path, ALL) == ()


@pytest.mark.parametrize("content", [b"", b"{", b'{"kills": 7}', b'{"kills": [], "version": 99}'])
def test_G10_a_file_that_cannot_be_read_kills_everything(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert "kill.json cannot be read" in KillSwitch(tmp_path).why(TARGET)
    release(tmp_path, ALL)
    assert KillSwitch(tmp_path).why(TARGET) == ""


def test_a_kill_keeps_what_cannot_be_read_a_kill_of_everything(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"{")
    throw(tmp_path, OF_OTHER)
    assert KillSwitch(tmp_path).covering(TARGET) is not None


def test_E3_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(HomeNotWritable):
        throw(tmp_path, EVERYTHING)
