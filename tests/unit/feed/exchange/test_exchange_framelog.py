from __future__ import annotations

import pytest

from feed.exchange.stream.framelog import FrameLog, FramesGone


def test_frames_are_numbered_over_all_connections() -> None:
    log = FrameLog(kept=10)
    log.note([b'"a"', b'"b"'], connection=1, account="owner", at_us=5)
    log.note([b'"c"'], connection=2, account="second", at_us=6)
    assert [(s.number, s.connection, bytes(s.frame)) for s in log.after(0)] == [
        (1, 1, b'"a"'),
        (2, 1, b'"b"'),
        (3, 2, b'"c"'),
    ]
    assert [s.number for s in log.after(1, account="owner")] == [2]


def test_forgotten_frames_are_not_left_out_silently() -> None:
    log = FrameLog(kept=2)
    log.note([b"1", b"2", b"3"], connection=1, account="owner", at_us=0)
    assert [s.number for s in log.after(1)] == [2, 3]
    with pytest.raises(FramesGone, match="number 2"):
        log.after(0)


def test_an_exchange_that_keeps_no_frames_says_so() -> None:
    assert not FrameLog().is_on
