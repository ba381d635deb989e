"""What the writer decides by values: holes, lag, what a stream may keep, halves."""

from __future__ import annotations

import pytest

from feed.sinks.base import Entry
from feed.writer.lag import Lag, behind, kept
from feed.writer.reading import Chunk, Hole, Item, StreamInfo, hole_before
from feed.writer.watermark import Position


@pytest.mark.parametrize(
    ("position", "info", "hole"),
    [
        pytest.param(Position("5-0", 5), StreamInfo(length=3, added=8), None, id="trimmed up to what was read"),
        pytest.param(Position("5-0", 5), StreamInfo(length=8, added=8), None, id="nothing trimmed yet"),
        pytest.param(Position("5-0", 5), StreamInfo(length=2, added=8), Hole(6, 7), id="one too many"),
        pytest.param(Position("5-0", 5), StreamInfo(length=0, added=8), Hole(6, 9), id="everything gone"),
        pytest.param(Position(), StreamInfo(length=1, added=4), Hole(1, 4), id="before the first read"),
        pytest.param(Position("5-0", None), StreamInfo(length=0, added=8), None, id="nobody counted our entries"),
        pytest.param(Position("5-0", 5), StreamInfo(length=2, added=None), None, id="a store that does not count"),
    ],
)
def test_D6_a_hole_is_what_left_the_stream_beyond_what_was_read(
    position: Position, info: StreamInfo, hole: Hole | None
) -> None:
    assert hole_before(position, info) == hole


def test_the_lag_is_what_is_not_committed_and_the_age_of_the_oldest_of_it() -> None:
    info = StreamInfo(length=8, added=20)
    lag = behind(Position("1-0", 14), info, stream_bytes=4_000, oldest_ms=9_000, now_ms=12_500)
    assert lag == Lag(entries=6, bytes=3_000, age_ms=3_500)


def test_a_quiet_stream_is_not_behind_however_old_its_watermark() -> None:
    info = StreamInfo(length=0, added=20)
    assert behind(Position("1-0", 20), info, stream_bytes=200, oldest_ms=None, now_ms=10**12) == Lag()


@pytest.mark.parametrize(("used", "left"), [(999, None), (1_000, None), (2_000, 45), (100_000, 0)])
def test_a_stream_past_its_bound_keeps_the_newest_that_fit_with_some_room(used: int, left: int | None) -> None:
    assert kept(StreamInfo(length=100, added=100), used, 1_000) == left


def test_halves_keep_order_positions_and_the_hole_before_them() -> None:
    items = [Item(Entry(f"{n}-0", b""), n) for n in range(1, 6)]
    first, second = Chunk(items, Position("5-0", 25), Hole(15, 20), after="0-9").halves()
    assert [item.value for item in first.items + second.items] == [1, 2, 3, 4, 5]
    assert (first.after, first.end, first.hole) == ("0-9", Position("2-0", 22), Hole(15, 20))
    assert (second.after, second.end, second.hole) == ("2-0", Position("5-0", 25), None)
