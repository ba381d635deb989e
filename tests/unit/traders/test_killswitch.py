from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from kalshimm.errors import HomeNotWritable
from traders.core.kills import ALL, EVENT, Kill, Target
from traders.killswitch import FILE, KillSwitch, forget_released, release, throw

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


def test_what_was_released_stops_nobody_and_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    throw(tmp_path, EVERYTHING)
    throw(tmp_path, OF_EVENT)
    assert release(tmp_path, ALL) == (EVERYTHING, OF_EVENT)
    switch = KillSwitch(tmp_path)
    assert (switch.why(TARGET), switch.kills(), switch.released()) == ("", (), (EVERYTHING, OF_EVENT))
    assert release(tmp_path, ALL) == ()
    forget_released(tmp_path, [EVERYTHING])
    assert switch.released() == (OF_EVENT,)
    forget_released(tmp_path, [EVERYTHING, OF_EVENT])
    assert not (tmp_path / FILE).exists()


def test_E3_a_read_that_failed_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    throw(tmp_path, OF_OTHER)
    switch = KillSwitch(tmp_path)

    def no_more_files(_path: Path) -> bytes:
        raise OSError(24, "too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", no_more_files)
        assert "too many open files" in switch.why(TARGET)
    assert switch.kills() == (OF_OTHER,)


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


def test_E3_what_cannot_be_read_for_a_moment_is_not_made_a_kill_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    throw(tmp_path, OF_OTHER)

    def fails(_path: Path) -> bytes:
        raise OSError(5, "input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", fails)
        with pytest.raises(HomeNotWritable, match="input/output error"):
            forget_released(tmp_path, [])
    assert KillSwitch(tmp_path).kills() == (OF_OTHER,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_kill_by_root_can_be_read_by_those_who_trade() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are root's alone
        home = Path(name)
        os.chown(home, 65_534, 65_534)
        throw(home, OF_EVENT)
        files = [home / FILE, home / "run", home / "run" / "kill.lock"]
        assert {path.stat().st_uid for path in files} == {65_534}
        assert os.geteuid() == 0
        release(home, ALL)
        assert (home / FILE).stat().st_uid == 65_534
