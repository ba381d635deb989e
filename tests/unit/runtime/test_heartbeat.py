from __future__ import annotations

import logging

import msgspec
import pytest

from kalshimm.runtime.clock import ManualClock
from kalshimm.runtime.heartbeat import BEAT_VERSION, Pulse, beat_key, read_beat


def a_beat(version: int = BEAT_VERSION) -> bytes:
    beat = Pulse(role="gateway", name="local", clock=ManualClock()).snapshot()
    return msgspec.msgpack.encode(msgspec.structs.replace(beat, version=version))


def test_it_reads_what_a_pulse_writes() -> None:
    beat = read_beat(b"kmm:beat:gateway:local", a_beat())
    assert beat is not None
    assert beat_key(beat.role, beat.name) == "kmm:beat:gateway:local"


@pytest.mark.parametrize(
    "value",
    [b"", b"x", msgspec.msgpack.encode([1, "gateway"]), a_beat(version=BEAT_VERSION + 1)],
    ids=["empty", "damaged", "cut", "newer"],
)
def test_a_beat_it_cannot_read_is_none_and_logged_once(value: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    key = b"kmm:beat:unreadable:" + value.hex().encode()
    assert [read_beat(key, value) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert key.decode() in caplog.text
