from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from feed.recording import connection_identity, identity, read_frames
from kalshimm.errors import BadRecording

SNAPSHOT = '{"type":"orderbook_snapshot","sid":2,"seq":1,"msg":{"market_ticker":"M-1"}}'
SUBSCRIBED = '{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":2}}'


def envelope(event_type: str, payload: dict[str, object], *, seq: int | None = None, recv_ns: int = 5_000_000) -> str:
    line = {"event_type": event_type, "payload_json": payload, "sequence_number": seq, "local_recv_ns": recv_ns}
    return json.dumps(line, separators=(",", ":"))


def subscribed(channel: str, sid: int) -> str:
    return envelope("ws_subscribed", {"type": "subscribed", "id": 1, "msg": {"channel": channel, "sid": sid}})


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_it_reads_wire_frames_and_skips_blank_lines(tmp_path: Path) -> None:
    frames = list(read_frames(write(tmp_path / "a.ndjson", SUBSCRIBED, "", SNAPSHOT)))
    assert [(f.line, f.recv_us, f.connection, f.frame.decode()) for f in frames] == [
        (1, None, 0, SUBSCRIBED),
        (3, None, 0, SNAPSHOT),
    ]


def test_it_reads_text_frames_with_their_receive_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"recv_ts_ns": 7_000, "raw": SNAPSHOT}))
    (frame,) = read_frames(path)
    assert (frame.recv_us, frame.frame.decode()) == (7, SNAPSHOT)


def test_it_turns_an_envelope_back_into_its_wire_frame(tmp_path: Path) -> None:
    body = {"market_ticker": "M-1", "delta_fp": "-2.00"}
    path = write(tmp_path / "a", subscribed("orderbook_delta", 2), envelope("orderbook_delta", body, seq=9))
    frame = list(read_frames(path))[-1]
    assert json.loads(frame.frame) == {"type": "orderbook_delta", "sid": 2, "seq": 9, "msg": body}
    assert frame.recv_us == 5_000


def test_a_frame_without_a_number_gets_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a", subscribed("ticker", 1), envelope("ticker", {"market_ticker": "M-1"}))
    assert "seq" not in json.loads(list(read_frames(path))[-1].frame)


def test_each_connect_of_the_recorder_is_a_connection(tmp_path: Path) -> None:
    connected = envelope("ws_connected", {"market_ticker": "M-1"})
    path = write(tmp_path / "a", connected, subscribed("ticker", 1), connected, subscribed("ticker", 1))
    frames = list(read_frames(path))
    assert [f.connection for f in frames] == [0, 0, 1, 1]
    assert frames[0].event == {"event_type": "ws_connected", "market_ticker": "M-1"}


def test_a_sid_confirmed_again_means_a_new_connection(tmp_path: Path) -> None:
    path = write(tmp_path / "a", SUBSCRIBED, SNAPSHOT, SUBSCRIBED, SNAPSHOT)
    assert [f.connection for f in read_frames(path)] == [0, 0, 1, 1]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_it_reads_the_same_whatever_the_compression(tmp_path: Path, suffix: str) -> None:
    plain = (SUBSCRIBED + "\n" + SNAPSHOT + "\n").encode()
    packed = {"": plain, ".gz": gzip.compress(plain), ".zst": zstandard.compress(plain)}
    path = tmp_path / f"a.ndjson{suffix}"
    path.write_bytes(packed[suffix])
    assert [f.line for f in read_frames(path)] == [1, 2]
    reference = tmp_path / "reference"
    reference.write_bytes(plain)
    assert identity(path) == identity(reference)


def test_it_reads_several_zstd_frames_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    path.write_bytes(zstandard.compress(f"{SUBSCRIBED}\n".encode()) + zstandard.compress(f"{SNAPSHOT}\n".encode()))
    assert len(list(read_frames(path))) == 2


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_cut_file_is_refused(tmp_path: Path, suffix: str, pack: object) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pack(f"{SUBSCRIBED}\n{SNAPSHOT}\n".encode() * 50)[:-9])  # type: ignore[operator]
    with pytest.raises(BadRecording, match="cut short or damaged"):
        list(read_frames(path))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"type":"orderbook_sn', "expected one JSON object a line"),
        ("[1]", "expected one JSON object a line"),
        ('{"a":1}', "neither a wire frame"),
        ('{"type":"brand_new"}', "unknown frame type 'brand_new'"),
        ('{"raw":"{"}', "`raw` is no wire frame"),
        (envelope("brand_new", {}), "unknown event type 'brand_new'"),
        (envelope("ticker", {}), "before its channel was subscribed"),
        ('{"type":"subscribed","sid":1,"msg":{}}', "does not hold what its kind of line does"),
        ('{"event_type":"ws_connected"}', "does not hold what its kind of line does"),
        ('{"event_type":"watch_market","payload_json":[1]}', "does not hold what its kind of line does"),
    ],
)
def test_a_line_that_means_nothing_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = write(tmp_path / "a", SUBSCRIBED, line)
    with pytest.raises(BadRecording, match=problem) as caught:
        list(read_frames(path))
    assert caught.value.line == 2


def test_a_file_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="cannot be read"):
        list(read_frames(tmp_path / "nothing"))


def test_connections_of_a_recording_differ_and_repeat() -> None:
    assert connection_identity(1, 0) == connection_identity(1, 0)
    assert connection_identity(1, 0) != connection_identity(1, 1)
    assert 0 <= connection_identity(1, 0) < 2**63
