from __future__ import annotations

from pathlib import Path

from kalshimm.runtime.locks import exclusive
from kalshimm.runtime.process import ProcessIdentity
from traders.processes import Ended, Running, forget, read_ended, read_running, write_ended, write_running


def a_process(path: Path) -> None:
    identity = ProcessIdentity("boot", 1, 1)
    write_running(path, Running(identity, "instance"))
    write_ended(path, Ended(identity, "instance", 1, "failed", "boom"))


def test_the_traces_of_an_ended_process_are_removed(tmp_path: Path) -> None:
    a_process(tmp_path)
    assert forget(tmp_path)
    assert (read_running(tmp_path), read_ended(tmp_path)) == (None, None)


def test_the_traces_of_a_process_that_has_begun_meanwhile_are_its_own(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", what="Trader 1"):
        a_process(tmp_path)
        assert not forget(tmp_path)
        assert read_running(tmp_path) is not None
