from __future__ import annotations

import subprocess
import sys

import msgspec

from kalshimm.runtime.process import ProcessIdentity


def test_this_process_lives() -> None:
    assert ProcessIdentity.own().lives()


def test_A8_a_pid_with_another_start_is_another_process() -> None:
    own = ProcessIdentity.own()
    assert not msgspec.structs.replace(own, started_us=own.started_us - 60_000_000).lives()


def test_E7_a_pid_of_another_boot_is_another_process() -> None:
    assert not msgspec.structs.replace(ProcessIdentity.own(), boot_id="another").lives()


def test_an_ended_process_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(child.pid)
    assert identity is not None
    assert identity.lives()
    child.communicate()
    assert not identity.lives()
