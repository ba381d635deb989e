"""A recording in turns: the frames that came together, and when.

A frame without a receive time counts as received at its exchange time; one without either with the frame before it, and
the first ones with the first that has a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from feed.kalshi.wire.frames import decode_frame
from feed.recording import RecordedFrame


class Turn(msgspec.Struct):
    """Frames of one connection that were received together, in order.

    Attributes:
        connection: Ordinal of the connection in the recording.
        conn: Its identity, where the recording says it.
        received_us: On the recorder's clock, which nobody may have set; never before the turn before.
    """

    connection: int
    conn: int | None
    received_us: int
    frames: list[bytes]


def turns(recorded: Iterable[RecordedFrame]) -> Iterator[Turn]:
    """Yield the turns of a recording; what its recorder noted for itself is left out."""
    turn: Turn | None = None
    received_us = 0
    for one in recorded:
        if not one.frame:
            continue
        received_us = max(received_us, _received_us(one))
        if turn is not None and not turn.received_us:
            turn.received_us = received_us  # nothing before it has a time
        if turn is not None and (turn.connection, turn.received_us) == (one.connection, received_us):
            turn.frames.append(one.frame)
            continue
        if turn is not None:
            yield turn
        turn = Turn(one.connection, one.conn, received_us, [one.frame])
    if turn is not None:
        yield turn


def _received_us(one: RecordedFrame) -> int:
    if one.recv_us is not None:
        return one.recv_us
    try:
        body: Any = decode_frame(one.frame).msg
    except (msgspec.MsgspecError, UnicodeDecodeError, AttributeError):
        return 0  # damage is for whoever takes the frame in
    time_ms = getattr(body, "ts_ms", None)
    return 0 if time_ms is None else int(time_ms) * 1_000
