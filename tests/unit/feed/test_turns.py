from __future__ import annotations

import json

from feed.recording import RecordedFrame
from feed.turns import turns


def line(number: int, recv_us: int | None, connection: int = 0, frame: bytes = b"{}") -> RecordedFrame:
    return RecordedFrame(number, recv_us, connection, frame)


def timed(number: int, time_ms: int) -> RecordedFrame:
    body = {"market_ticker": "M", "price_dollars": "0.4000", "delta_fp": "1.00", "side": "yes", "ts_ms": time_ms}
    return line(number, None, frame=json.dumps({"type": "orderbook_delta", "sid": 1, "msg": body}).encode())


def cut(*lines: RecordedFrame) -> list[tuple[int, int, int]]:
    """Return connection, time and number of frames of each turn."""
    return [(turn.connection, turn.received_us, len(turn.frames)) for turn in turns(lines)]


def test_frames_that_came_together_are_one_turn() -> None:
    assert cut(line(1, 5), line(2, 5), line(3, 6)) == [(0, 5, 2), (0, 6, 1)]


def test_what_the_recorder_noted_for_itself_is_left_out() -> None:
    assert cut(line(1, 5), line(2, 9, frame=b""), line(3, 5)) == [(0, 5, 2)]


def test_another_connection_is_another_turn() -> None:
    assert cut(line(1, 5), line(2, 5, connection=1)) == [(0, 5, 1), (1, 5, 1)]


def test_a_recorders_clock_that_steps_back_stands_still() -> None:
    assert cut(line(1, 5), line(2, 3), line(3, 6)) == [(0, 5, 2), (0, 6, 1)]


def test_without_receive_times_frames_count_as_received_at_their_exchange_time() -> None:
    assert cut(timed(1, 7), timed(2, 8)) == [(0, 7_000, 1), (0, 8_000, 1)]


def test_frames_before_the_first_that_has_a_time_come_with_it() -> None:
    assert cut(line(1, None), line(2, None, frame=b"no frame"), timed(3, 7)) == [(0, 7_000, 3)]


def test_a_connection_without_any_time_ends_when_the_next_begins() -> None:
    assert cut(line(1, None), line(2, 5, connection=1)) == [(0, 5, 1), (1, 5, 1)]
