from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed import schema
from feed.kalshi import events
from feed.kalshi.session import Session
from feed.recording import RecordedFrame, identity, read_frames
from feed.tapefile import OPEN_SUFFIX, SUFFIX, TapeFile, WireFrames
from kalshimm.errors import BadRecording

US = 1_795_337_400_000_000
HEAD = (US, int(schema.TimeSource.EXCHANGE), "M-1")
ROWS: list[schema.TapeRow] = [
    schema.GapRow(US, int(schema.TimeSource.RECEIVED), "", "connection began", 0, 0, 0),
    schema.SnapshotRow(US, int(schema.TimeSource.SENDING), "M-1", 1, [(4_200, 1_000)], []),
    schema.DeltaRow(*HEAD, 5, 1, 5_511, -250),
    schema.TickerRow(*HEAD, 1 << 62, 4_200, None, 4_300, 0, 5, None, 700, 800),
    schema.TradeRow(*HEAD, "t-1", 4_200, 300, 1, False),
    schema.LifecycleRow(*HEAD, "activated", b'{"event_type":"activated"}'),
    schema.GapRow(*HEAD, "sequence gap", 1, 6, 9),
    schema.DeltaRow(*HEAD, 9, 0, 4_200, 100),
    schema.MalformedRow(US, 2, "", "bad", b"\xff{"),
]

times = st.integers(1, 1 << 52)
prices, counts = st.integers(1, 9_999), st.integers(1, 1 << 40)
levels = st.dictionaries(prices, counts, max_size=5).map(lambda d: list(d.items()))
heads = st.tuples(times, st.integers(0, 3), st.text(max_size=8))
a_row = st.one_of(
    st.builds(lambda h, *r: schema.DeltaRow(*h, *r), heads, counts, st.integers(0, 1), prices, st.integers(-999, 999)),
    st.builds(lambda h, *r: schema.SnapshotRow(*h, *r), heads, counts, levels, levels, st.booleans()),
    st.builds(lambda h, *r: schema.GapRow(*h, *r), heads, st.text(max_size=20), counts, counts, counts),
    st.builds(lambda h, *r: schema.MalformedRow(*h, *r), heads, st.text(max_size=20), st.binary(max_size=20)),
)


def recorded(folder: Path, rows: list[schema.TapeRow], *, flush_each: int = 0, end: str = "stopped") -> Path:
    file = TapeFile(folder, "tape", ["M-1"])
    for number, row in enumerate(rows):
        file.write(77, US + number, row)
        if flush_each and number % flush_each == 0:
            file.flush()
    file.flush()
    if end:
        file.finish(end)
    return file.path if end else file.path.with_name("tape" + OPEN_SUFFIX)


def rows_of(path: Path) -> list[RecordedFrame]:
    return [frame for frame in read_frames(path) if frame.row is not None]


@given(rows=st.lists(a_row, max_size=20), flush_each=st.integers(0, 5))
def test_what_was_written_is_read_back(
    rows: list[schema.TapeRow], flush_each: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = recorded(tmp_path_factory.mktemp("tape"), rows, flush_each=flush_each)
    found = rows_of(path)
    assert [(f.row, f.conn, f.recv_us) for f in found] == [(row, 77, US + n) for n, row in enumerate(rows)]


def test_a_file_has_its_own_name_only_when_it_is_whole(tmp_path: Path) -> None:
    file = TapeFile(tmp_path, "tape", ["M-1"])
    assert [p.name for p in tmp_path.iterdir()] == ["tape" + OPEN_SUFFIX]
    file.finish("stopped")
    assert [p.name for p in tmp_path.iterdir()] == ["tape" + SUFFIX]
    assert TapeFile(tmp_path, "tape", []).path.name == "tape-2" + SUFFIX


def read_until_it_breaks(path: Path) -> tuple[list[schema.TapeRow], str]:
    """Return the rows before the break, and what is said of it."""
    rows: list[schema.TapeRow] = []
    try:
        for frame in read_frames(path):
            if frame.row is not None:
                rows.append(frame.row)
    except BadRecording as exc:
        return rows, str(exc)
    return rows, ""


def test_a_file_that_nobody_finished_gives_what_was_flushed_and_says_so(tmp_path: Path) -> None:
    rows, problem = read_until_it_breaks(recorded(tmp_path, ROWS, end=""))
    assert rows == ROWS
    assert "has no last line: its recorder was cut off. What is here is whole." in problem


@pytest.mark.parametrize("left_out", [1, 7, 20])
def test_a_file_cut_within_its_last_piece_gives_all_pieces_before(tmp_path: Path, left_out: int) -> None:
    path = recorded(tmp_path, ROWS, flush_each=1, end="")
    path.write_bytes(path.read_bytes()[:-left_out])
    rows, problem = read_until_it_breaks(path)
    assert rows == ROWS[:-1]
    assert "is cut short" in problem


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"kalshimm_tape":2,"markets":[]}\n')
    with pytest.raises(BadRecording, match="line 1: is of version 2; this program reads 1"):
        list(read_frames(path))


def test_connections_are_counted_in_the_order_they_came(tmp_path: Path) -> None:
    file = TapeFile(tmp_path, "tape", [])
    for conn in (9, 9, 4, 9):
        file.write(conn, US, ROWS[2])
    file.finish("stopped")
    assert [frame.connection for frame in rows_of(file.path)] == [0, 0, 1, 0]
    assert identity(file.path) == identity(file.path)


def test_its_frames_tell_a_session_the_same_as_the_venue_did(tmp_path: Path) -> None:
    session = Session(adopt=True)
    told = [
        event
        for line in rows_of(recorded(tmp_path, ROWS))
        if line.frame
        for event in session.receive(line.frame)
    ]  # fmt: skip
    snapshot, delta, ticker, trade, lifecycle, gap, later = told
    assert isinstance(snapshot, events.BookSnapshot)
    assert (snapshot.yes, snapshot.no, snapshot.sending_ms) == ([(4_200, 1_000)], [], US // 1_000)
    assert isinstance(delta, events.BookDelta)
    assert (delta.ticker, delta.side, delta.price_cc, delta.delta_cx, delta.time_ms) == (
        "M-1",
        1,
        5_511,
        -250,
        US // 1_000,
    )
    assert isinstance(ticker, events.TickerEvent)
    assert (ticker.last_yes_price_cc, ticker.yes_bid_cc, ticker.yes_ask_cc) == (4_200, None, 4_300)
    assert (ticker.yes_bid_cx, ticker.volume_cx, ticker.open_interest_cx) == (0, 700, 800)
    assert isinstance(trade, events.TradeEvent)
    assert (trade.trade_id, trade.yes_price_cc, trade.count_cx, trade.taker_side) == ("t-1", 4_200, 300, 1)
    assert isinstance(lifecycle, events.LifecycleEvent)
    assert isinstance(gap, events.Gap)
    assert isinstance(later, events.BookDelta)


def test_a_row_that_never_was_a_frame_gives_none() -> None:
    frames = WireFrames()
    assert [frames.of(row) for row in (ROWS[0], ROWS[-1])] == [b"", b""]
